"""The breakers' rows: one per provider and region, shared by every worker, and their log.

Called inside the caller's transaction; the row is locked while it is decided on, so that two
workers cannot both be the probe or both log one transition.
"""

import logging
from dataclasses import dataclass
from datetime import datetime

import psycopg

from seda.embeddings.breaker import (
    Breaker,
    BreakerPolicy,
    CallWindow,
    Outcome,
    Pass,
    Phase,
    ask,
    hear,
    transition,
)

log = logging.getLogger(__name__)

_LOAD = """
    select phase, since, unhealthy_since, probe_at, probes from seda.circuit_breakers
    where provider = %s for update"""
_SAVE = """
    insert into seda.circuit_breakers (provider, phase, since, unhealthy_since, probe_at, probes)
    values (%s, %s, %s, %s, %s, %s)
    on conflict (provider) do update set phase = excluded.phase, since = excluded.since,
        unhealthy_since = excluded.unhealthy_since, probe_at = excluded.probe_at,
        probes = excluded.probes"""
_LOG = """
    insert into seda.circuit_breaker_transitions
        (provider, from_phase, to_phase, reason, happened_at) values (%s, %s, %s, %s, %s)"""
# `refused` says something about our request, and nothing about the provider.
_WINDOW = """
    select count(*), count(*) filter (where outcome <> 'ok'),
           coalesce(percentile_disc(0.95) within group (order by latency_seconds), 0)
    from seda.embedding_spend
    where provider = %s and answered_at >= greatest(%s, %s) and answered_at <= %s
      and outcome <> 'refused'"""


def load_breaker(connection: psycopg.Connection, provider: str, *, now: datetime) -> Breaker:
    """The provider's breaker, locked until the transaction ends; fresh where there is none."""
    row = connection.execute(_LOAD, [provider]).fetchone()
    if row is None:
        _save(connection, provider, Breaker.fresh(now))
        return Breaker.fresh(now)
    return Breaker(Phase(row[0]), *row[1:])


def ask_breaker(
    connection: psycopg.Connection, provider: str, policy: BreakerPolicy, *, now: datetime
) -> tuple[Breaker, Pass]:
    """Whether a request may go to the provider."""
    before = load_breaker(connection, provider, now=now)
    after, answer = ask(before, now, policy)
    _keep(connection, provider, before, after, f"open for {policy.open_for}", now)
    return after, answer


def tell_breaker(
    connection: psycopg.Connection,
    provider: str,
    policy: BreakerPolicy,
    *,
    ok: bool,
    seconds: float,
    was_probe: bool,
    now: datetime,
) -> Breaker:
    """Let the breaker hear how a request ended, after it was noted in the ledger."""
    before = load_breaker(connection, provider, now=now)
    window = _window(connection, provider, before, policy, now)
    after, reason = hear(before, Outcome(ok, seconds, was_probe), window, now, policy)
    _keep(connection, provider, before, after, reason, now)
    return after


@dataclass(frozen=True, slots=True)
class LoggedTransition:
    """One line of a breaker's log."""

    provider: str
    before: Phase
    after: Phase
    reason: str
    happened_at: datetime


def breakers(connection: psycopg.Connection) -> dict[str, Breaker]:
    """Every provider's breaker as it is now."""
    rows = connection.execute(
        "select provider, phase, since, unhealthy_since, probe_at, probes "
        "from seda.circuit_breakers order by provider"
    )
    return {provider: Breaker(Phase(phase), *rest) for provider, phase, *rest in rows}


def transitions(connection: psycopg.Connection, *, since: datetime) -> list[LoggedTransition]:
    """The log of all breakers, oldest first."""
    rows = connection.execute(
        "select provider, from_phase, to_phase, reason, happened_at "
        "from seda.circuit_breaker_transitions where happened_at >= %s order by happened_at, id",
        [since],
    )
    return [
        LoggedTransition(provider, Phase(before), Phase(after), reason, happened_at)
        for provider, before, after, reason, happened_at in rows
    ]


def _window(
    connection: psycopg.Connection,
    provider: str,
    breaker: Breaker,
    policy: BreakerPolicy,
    now: datetime,
) -> CallWindow:
    row = connection.execute(
        _WINDOW, [provider, now - policy.window, breaker.since, now]
    ).fetchone()
    return CallWindow(*row) if row else CallWindow(0, 0, 0.0)


def _keep(
    connection: psycopg.Connection,
    provider: str,
    before: Breaker,
    after: Breaker,
    reason: str,
    now: datetime,
) -> None:
    if after == before:
        return
    _save(connection, provider, after)
    changed = transition(before, after, reason)
    if changed:
        log.warning(
            "breaker of %s: %s → %s: %s", provider, changed.before, changed.after, changed.reason
        )
        connection.execute(
            _LOG, [provider, str(changed.before), str(changed.after), changed.reason, now]
        )


def _save(connection: psycopg.Connection, provider: str, breaker: Breaker) -> None:
    connection.execute(
        _SAVE,
        [provider, str(breaker.phase), breaker.since, breaker.unhealthy_since, breaker.probe_at,
         breaker.probes],
    )  # fmt: skip
