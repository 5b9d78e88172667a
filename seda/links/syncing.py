"""Looks at accounts whose time has come: renews the token, reads the summary, stages it.

No transaction is open while a provider is asked. An account is leased for the time of a look; a
process that dies leaves a lease, after which another one looks again. What a refresh gave is stored
before the next request, since the provider may have voided what was there before; so what seals it
is at hand before it is asked for.
"""

import json
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from pydantic import SecretStr

from seda.database.regions import RegionalDatabase
from seda.errors import LostSecretError, SedaError
from seda.links.connector import Connector, LinkError, Provider, Sealer, Summary, Tokens, Trouble
from seda.links.summaries import staged

LEASE = timedelta(minutes=5)
_LONGEST_PASS = timedelta(minutes=3)
_LOCKED_IN_A_ROW = 3
"""Tokens that did not open, after which it is the vault's trouble and not theirs."""
INTERVAL = timedelta(days=1)
"""Between two looks at an account that answers."""
MOST = 50
FIRST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(hours=6)

_CLAIM = """
    update seda.linked_accounts l set leased_until = %(until)s
    where l.id in (
        select d.id from seda.linked_accounts d join seda.users u on u.id = d.user_id
        where d.next_sync_at <= %(now)s and (d.leased_until is null or d.leased_until <= %(now)s)
          and d.refresh_token_encrypted is not null and d.provider = any (%(providers)s)
          and u.deleted_at is null and not exists (
              select from seda.provider_imports i where i.user_id = d.user_id
                and i.provider = d.provider and i.staged is not null)
        order by d.next_sync_at limit %(most)s for update of d skip locked)
    returning l.user_id, l.provider, l.refresh_token_encrypted, l.marks, l.attempts
"""
_DUE = """
    select count(*) from seda.linked_accounts d join seda.users u on u.id = d.user_id
    where d.next_sync_at <= %(now)s and (d.leased_until is null or d.leased_until <= %(now)s)
      and d.refresh_token_encrypted is not null and d.provider = any (%(providers)s)
      and u.deleted_at is null
"""
# Whoever linked again meanwhile has another token, which stays. The same token under another key is
# the same: of a sealed value a rotation leaves the end as it was.
_END = 32
_SAME = """
    user_id = %(user)s and provider = %(provider)s and %(end)s = substring(
        refresh_token_encrypted from octet_length(refresh_token_encrypted) - 31)
"""
_RENEW = """
    update seda.linked_accounts set refresh_token_encrypted = %(after)s where {same}
""".replace("{same}", _SAME)
_SUCCEED = """
    with found as (
        update seda.linked_accounts
        set marks = %(marks)s, last_synced_at = %(now)s, next_sync_at = %(next)s,
            leased_until = null, attempts = 0, problem = null
        where {same}
        returning user_id, provider
    )
    insert into seda.provider_imports (user_id, provider, staged, staged_at)
    select user_id, provider, %(staged)s, %(now)s from found
    on conflict (user_id, provider) do update
    set staged = excluded.staged, staged_at = excluded.staged_at
""".replace("{same}", _SAME)
_FAIL = """
    update seda.linked_accounts
    set state = case when %(problem)s = 'revoked' then 'revoked' else 'waiting' end,
        problem = %(problem)s, attempts = attempts + 1, leased_until = null,
        next_sync_at = %(next)s,
        refresh_token_encrypted = case when %(problem)s = 'revoked' then null
            else refresh_token_encrypted end
    where {same}
""".replace("{same}", _SAME)


_logger = logging.getLogger("seda.links")


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a pass did: accounts that were read, and those that gave nothing, by trouble."""

    read: int = 0
    troubles: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Account:
    user_id: UUID
    provider: Provider
    token: bytes
    marks: dict[str, Any]
    attempts: int

    @property
    def place(self) -> dict[str, str]:
        return link_place(self.user_id, self.provider)


def link_place(user_id: UUID, provider: str) -> dict[str, str]:
    """Where the vault finds an account's refresh token: the same before the row is there."""
    row = f"{user_id}/{provider}"
    return {"table": "linked_accounts", "column": "refresh_token_encrypted", "row": row}


def due_accounts(
    database: RegionalDatabase, connectors: Mapping[Provider, Connector], now: datetime
) -> int:
    """How many accounts' time has come."""
    with database.transaction() as connection:
        values = {"now": now, "providers": list(map(str, connectors))}
        row = connection.execute(_DUE, values).fetchone()
    return int(row[0]) if row else 0


def sync_due(
    database: RegionalDatabase,
    connectors: Mapping[Provider, Connector],
    sealer: Sealer,
    *,
    now: datetime,
    most: int = MOST,
    seconds: Callable[[], float] = time.monotonic,
) -> SyncReport:
    """Look at up to `most` accounts whose time has come, one after the other.

    A provider that has no requests left for us is not asked again in this pass: its other accounts
    wait as long. An account whose look fails in a way that nobody thought of waits, too, and keeps
    no other one waiting. The pass ends where the vault opens nothing, and before the leases do:
    what it did not come to is looked at when they have.
    """
    until = seconds() + _LONGEST_PASS.total_seconds()
    values = {
        "now": now, "until": now + LEASE, "most": most, "providers": list(map(str, connectors)),
    }  # fmt: skip
    with database.transaction() as connection:
        claimed = connection.execute(_CLAIM, values).fetchall()
    read, locked, troubles = 0, 0, dict[str, int]()
    limited: dict[Provider, LinkError] = {}
    for user, name, token, marks, attempts in claimed:
        if seconds() > until or locked == _LOCKED_IN_A_ROW:
            break
        account = _Account(user, Provider(name), bytes(token), marks, attempts)
        problem = limited.get(account.provider)
        if problem is None:
            problem = _look(database, account, connectors[account.provider], sealer, now)
        else:
            _fail(database, account, account.token, problem, now)
        locked = locked + 1 if problem and problem.trouble is Trouble.LOCKED else 0
        if problem is None:
            read += 1
            continue
        troubles[problem.trouble] = troubles.get(problem.trouble, 0) + 1
        if problem.trouble is Trouble.RATE_LIMITED:
            limited[account.provider] = problem
    return SyncReport(read, troubles)


def next_attempt(problem: LinkError, attempts: int, now: datetime) -> datetime:
    """When to try again: as long as was asked for, else twice as long each time, up to six hours.

    A tenth of chance on top, so that accounts that failed together do not come back together.
    """
    wait = problem.retry_after or min(FIRST_WAIT * 2 ** min(attempts, 12), LONGEST_WAIT)
    return now + wait * (1 + 0.1 * random.random())


def _look(
    database: RegionalDatabase, account: _Account, connector: Connector, sealer: Sealer,
    now: datetime,
) -> LinkError | None:  # fmt: skip
    """Reads one account; what went wrong, if anything did."""
    token = account.token
    try:
        secret, seal = _opened(sealer, account)
        tokens = connector.refresh(secret)
        token = _keep(database, account, tokens, seal, sealer)
        summary = connector.summary(tokens.access, account.marks)
        _succeed(database, account, token, summary, now)
    except LinkError as problem:
        told = problem
    except psycopg.OperationalError:
        raise  # the database's trouble is nobody's account's
    except Exception as problem:
        # The type alone: a message may quote what the provider said.
        _logger.error("a linked account could not be read: %s", type(problem).__name__)
        told = LinkError(account.provider, Trouble.UNREADABLE)
    else:
        return None
    _fail(database, account, token, told, now)
    return told


def _opened(sealer: Sealer, account: _Account) -> tuple[SecretStr, Callable[[SecretStr], bytes]]:
    """The account's token, and what seals the next one."""
    try:
        return sealer.unseal(account.token, **account.place), sealer.sealing(**account.place)
    except LostSecretError:
        trouble = Trouble.REVOKED  # copied, damaged, or its key is destroyed: only a new link helps
    except SedaError:
        trouble = Trouble.LOCKED
    raise LinkError(account.provider, trouble)


def _keep(
    database: RegionalDatabase, account: _Account, tokens: Tokens,
    seal: Callable[[SecretStr], bytes], sealer: Sealer,
) -> bytes:  # fmt: skip
    """The sealed token that counts from now on, stored; wrapped anew where its key is old."""
    sealed = seal(tokens.refresh) if tokens.refresh else _rewrapped(sealer, account)
    if sealed == account.token:
        return sealed
    with database.transaction() as connection:
        values = {"after": sealed, **_same(account, account.token)}
        connection.execute(_RENEW, values)
    return sealed


def _rewrapped(sealer: Sealer, account: _Account) -> bytes:
    try:
        if not sealer.is_current(account.token):
            return sealer.rewrap(account.token, **account.place)
    except SedaError:
        pass  # it was opened a moment ago, and can be wrapped again any other time
    return account.token


def _succeed(
    database: RegionalDatabase, account: _Account, token: bytes, summary: Summary, now: datetime
) -> None:
    values = {
        **_same(account, token), "now": now, "next": now + INTERVAL,
        "marks": json.dumps(dict(summary.marks)), "staged": json.dumps(staged(summary)),
    }  # fmt: skip
    with database.transaction() as connection:
        connection.execute(_SUCCEED, values)


def _fail(
    database: RegionalDatabase, account: _Account, token: bytes, problem: LinkError, now: datetime
) -> None:
    revoked = problem.trouble is Trouble.REVOKED
    later = None if revoked else next_attempt(problem, account.attempts, now)
    values = {**_same(account, token), "problem": str(problem.trouble), "next": later}
    with database.transaction() as connection:
        connection.execute(_FAIL, values)


def _same(account: _Account, token: bytes) -> dict[str, Any]:
    end = token[-_END:]
    return {"user": account.user_id, "provider": str(account.provider), "end": end}
