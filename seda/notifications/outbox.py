"""The outbox of pushes: queued with the cap in one statement, delivered at least once.

A push is claimed for two minutes, sent, and then settled. A worker that dies between sending and
settling lets the claim run out, and the push is sent again with the same idempotency key, under
which a device shows it once: delivery is at least once, and nothing is lost.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from seda.database.regions import RegionalDatabase
from seda.notifications.log import RECORD, Logged, record_values
from seda.notifications.policy import PushPreferences, QuietHours, quiet_reason
from seda.notifications.senders import DeadDevice, Delivered, Outcome, Push, Sender, TryLater

LIFETIME = timedelta(minutes=15)  # "Alex is here" is no news a quarter of an hour later
LEASE = timedelta(minutes=2)
LONGEST_SEND = timedelta(seconds=10)
MOST_ATTEMPTS = 6
FIRST_RETRY = timedelta(seconds=5)
LONGEST_RETRY = timedelta(minutes=5)

# The swap of the last send and the outbox's rows, one per device, are one statement: both or none.
_QUEUE = """
    with wanted as (
        select * from unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::uuid[])
            as w (user_id, push_id, title, body, entity_type, entity_id)
    ), claimed as (
        insert into seda.push_caps as cap (user_id, last_sent_at)
        select w.user_id, %s from wanted w
        where exists (select from seda.device_tokens d where d.user_id = w.user_id)
        order by w.user_id
        on conflict (user_id) do update set last_sent_at = excluded.last_sent_at
        where cap.last_sent_at <= excluded.last_sent_at - interval '24 hours'
        returning cap.user_id, cap.last_sent_at
    ), queued as (
        insert into seda.push_outbox (user_id, idempotency_key, token, title, body, entity_type,
                                      entity_id, created_at, next_attempt_at, expires_at)
        select w.user_id,
               encode(substr(sha256(convert_to(w.push_id || ':' || d.token, 'UTF8')), 1, 16),
                      'hex')::uuid,
               d.token, w.title, w.body, w.entity_type, w.entity_id,
               c.last_sent_at, c.last_sent_at, c.last_sent_at + %s
        from claimed c join wanted w using (user_id) join seda.device_tokens d using (user_id)
        on conflict (idempotency_key) do nothing
    )
    select user_id from claimed
"""
_TAKE = """
    with due as (
        select id from seda.push_outbox where state = 'pending' and next_attempt_at <= %(now)s
        order by next_attempt_at limit %(most)s for update skip locked
    ), taken as (
        update seda.push_outbox o
        set attempts = o.attempts + 1, next_attempt_at = %(until)s
        from due where o.id = due.id returning o.*
    )
    select t.id, t.user_id, t.idempotency_key, d.token, t.title, t.body, t.entity_type, t.entity_id,
           t.attempts, t.expires_at, t.next_attempt_at as leased_until,
           u.deleted_at is null and coalesce(p.push_opt_in, false) as wanted,
           u.time_zone, p.quiet_from, p.quiet_to
    from taken t join seda.users u on u.id = t.user_id
    left join seda.device_tokens d on d.token = t.token and d.user_id = t.user_id
    left join seda.notification_preferences p on p.user_id = t.user_id
    order by t.created_at, t.id
"""
# Whoever took the push since has counted one attempt more. The words name friends: they go.
_SETTLE = """
    update seda.push_outbox
    set state = %s, outcome = %s, settled_at = %s, title = '', body = ''
    where id = %s and attempts = %s and state = 'pending'
"""
_POSTPONE = """
    update seda.push_outbox set next_attempt_at = %s, outcome = %s
    where id = %s and attempts = %s and state = 'pending'
"""
_GIVE_BACK = """
    update seda.push_outbox set next_attempt_at = %s, attempts = attempts - 1
    where id = any (%s) and next_attempt_at = %s and state = 'pending'
"""
_FORGET = "delete from seda.push_outbox where settled_at < %s"
# A device that registered the token again meanwhile keeps it.
_REMOVE_DEVICE = "delete from seda.device_tokens where token = %s and last_seen_at <= %s"

_logger = logging.getLogger("seda.notifications")


@dataclass(frozen=True, slots=True)
class Message:
    """What a person is to be told.

    `push_id` is the same for the same moment, whoever decides it and however often: such as
    `uuid5(event_id, str(user_id))`.
    """

    push_id: UUID
    user_id: UUID
    title: str
    body: str
    entity_type: str | None = None
    entity_id: UUID | None = None


@dataclass(frozen=True)
class _Taken:
    """A row of the outbox, claimed until `leased_until`."""

    id: UUID
    user_id: UUID
    idempotency_key: UUID
    token: str | None
    title: str
    body: str
    entity_type: str | None
    entity_id: UUID | None
    attempts: int
    expires_at: datetime
    leased_until: datetime
    wanted: bool
    time_zone: str
    quiet_from: time | None
    quiet_to: time | None

    def refusal(self, now: datetime) -> str | None:
        """Why it must not go out now: what was decided minutes ago is looked at again."""
        if self.attempts > MOST_ATTEMPTS:
            return "attempts_exhausted"
        if now >= self.expires_at:
            return "expired"
        if self.token is None:
            return "no_device"
        if not self.wanted:
            return "not_opted_in"
        hours = None
        if self.quiet_from is not None and self.quiet_to is not None:
            hours = QuietHours(self.quiet_from, self.quiet_to)
        return quiet_reason(PushPreferences(True, hours, self.time_zone), now)

    def push(self) -> Push:
        """The message for the device that `refusal` found."""
        assert self.token is not None
        return Push(
            self.idempotency_key,
            self.token,
            self.title,
            self.body,
            self.entity_type,
            self.entity_id,
            self.expires_at,
            self.user_id,
        )


def queue_pushes(
    connection: psycopg.Connection, messages: Sequence[Message], now: datetime
) -> frozenset[UUID]:
    """Claim the rolling day of each person and queue the message for each of their devices.

    At most one message per person; gives the ids of the people whose cap let it through. Someone
    without a device is not among them, and keeps their day.
    """
    names = ("user_id", "push_id", "title", "body", "entity_type", "entity_id")
    columns = [[getattr(message, name) for message in messages] for name in names]
    rows = connection.execute(_QUEUE, [*columns, now, LIFETIME]).fetchall()
    return frozenset(user_id for (user_id,) in rows)


def deliver_due(
    database: RegionalDatabase,
    sender: Sender,
    clock: Callable[[], datetime],
    *,
    batch_size: int = 50,
    jitter: Callable[[], float],
) -> Counter[str]:
    """Send what is due, at most `batch_size`; how many became `sent`, `retry`, `failed`, `dead`.

    Safe beside other workers. `jitter` gives numbers in [0, 1). What the lease leaves no time for
    is given back, like the rest of a batch when the provider asks everybody to wait.
    """
    done: Counter[str] = Counter()
    with database.connect(autocommit=True) as connection:
        taken = _take(connection, clock(), batch_size)
        for place, row in enumerate(taken):
            now = clock()
            if now + LONGEST_SEND > row.leased_until:
                _give_back(connection, taken[place:], now)
                break
            outcome = row.refusal(now) or _send(sender, row)
            # One by one, right after each send: what a crash would repeat is one push, not a batch.
            with connection.transaction():
                done[_settle(connection, row, outcome, clock(), jitter())] += 1
            if isinstance(outcome, TryLater) and outcome.everybody:
                wait = outcome.after or FIRST_RETRY
                _give_back(connection, taken[place + 1 :], clock() + wait)
                break
    return done


def forget_settled(connection: psycopg.Connection, before: datetime) -> int:
    """Delete what was settled before a time; how many rows."""
    return connection.execute(_FORGET, [before]).rowcount


def retry_at(attempts: int, now: datetime, after: timedelta | None, jitter: float) -> datetime:
    """When to try again after the `attempts`-th try: doubling, ± half, never before `after`."""
    doubled = min(FIRST_RETRY * 2 ** (attempts - 1), LONGEST_RETRY)
    return now + max(doubled * (0.5 + jitter), after or timedelta())


def _take(connection: psycopg.Connection, now: datetime, most: int) -> list[_Taken]:
    values: dict[str, Any] = {"now": now, "most": most, "until": now + LEASE}
    with connection.cursor(row_factory=class_row(_Taken)) as cursor:
        return cursor.execute(_TAKE, values).fetchall()


def _send(sender: Sender, row: _Taken) -> Outcome:
    try:
        return sender.send(row.push())
    except Exception as problem:
        # One message that a sender cannot bear must not cost the others of its batch their turn.
        # The type alone: a message could quote a token.
        _logger.error("a push could not be sent: %s", type(problem).__name__)
        return TryLater(f"sender_{type(problem).__name__}")


def _settle(
    connection: psycopg.Connection,
    row: _Taken,
    outcome: Outcome | str,
    now: datetime,
    jitter: float,
) -> str:
    """Write what became of a push; the word for it."""
    fence = (row.id, row.attempts)
    if isinstance(outcome, Delivered):
        connection.execute(_SETTLE, ["sent", None, now, *fence])
        return "sent"
    if isinstance(outcome, TryLater):
        again = retry_at(row.attempts, now, outcome.after, jitter)
        if row.attempts < MOST_ATTEMPTS and again < row.expires_at:
            connection.execute(_POSTPONE, [again, outcome.reason, *fence])
            return "retry"
    reason = str(outcome) if isinstance(outcome, str) else outcome.reason
    state = "dead" if isinstance(outcome, str | TryLater | DeadDevice) else "failed"
    settled = connection.execute(_SETTLE, [state, reason, now, *fence]).rowcount
    if isinstance(outcome, DeadDevice):
        connection.execute(_REMOVE_DEVICE, [row.token, row.leased_until - LEASE])
    if settled:
        entry = Logged(
            row.user_id, "push", "failed", reason, row.entity_type, row.entity_id, None, None, now
        )
        psycopg.RawCursor(connection).execute(RECORD, record_values([entry]))
    return state


def _give_back(connection: psycopg.Connection, rows: Sequence[_Taken], until: datetime) -> None:
    if rows:
        ids = [row.id for row in rows]
        connection.execute(_GIVE_BACK, [until, ids, rows[0].leased_until])
