"""From moments to queued pushes: what people chose is read, decided and written, each at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import psycopg

from seda.notifications.log import RECORD, Logged, record_values
from seda.notifications.outbox import Message, queue_pushes
from seda.notifications.policy import (
    Occasion,
    PushPreferences,
    PushReason,
    QuietHours,
    decide_push,
)

_PEOPLE = """
    select u.id, coalesce(p.push_opt_in, false), p.quiet_from, p.quiet_to, u.time_zone,
           exists (select from seda.device_tokens d where d.user_id = u.id), cap.last_sent_at
    from seda.users u
    left join seda.notification_preferences p on p.user_id = u.id
    left join seda.push_caps cap on cap.user_id = u.id
    where u.id = any (%s) and u.deleted_at is null
"""
_SUPPRESSED = """
    select distinct s.user_id, s.entity_id from seda.suppressions s
    join unnest(%s::uuid[], %s::uuid[]) as m (user_id, entity_id) using (user_id, entity_id)
    where s.suppressed_until is null or s.suppressed_until > %s
"""


@dataclass(frozen=True, slots=True)
class Moment:
    """A message that may be worth a push, and the occasion that decides it."""

    message: Message
    occasion: Occasion


def consider(
    connection: psycopg.Connection, moments: Sequence[Moment], now: datetime, threshold: float
) -> list[PushReason | None]:
    """Decide and log every moment and queue what is sent, in the caller's transaction.

    One reason per moment; None for people who are not there any more, whose moments are not logged.
    Of several moments of one person the first that may be sent is.
    """
    people = _people(connection, moments)
    suppressed = _suppressed(connection, moments, now)
    reasons: list[PushReason | None] = []
    wanted: dict[UUID, int] = {}
    for place, moment in enumerate(moments):
        user_id = moment.message.user_id
        if user_id not in people:
            reasons.append(None)
            continue
        preferences, last_sent_at = people[user_id]
        pair = (user_id, moment.message.entity_id)
        occasion = replace(moment.occasion, suppressed=pair in suppressed)
        last_sent_at = now if user_id in wanted else last_sent_at
        reason = decide_push(occasion, preferences, last_sent_at, now, threshold)
        if reason.sends:
            wanted[user_id] = place
        reasons.append(reason)
    messages = [moments[place].message for place in wanted.values()]
    queued = queue_pushes(connection, messages, now) if messages else frozenset()
    for user_id, place in wanted.items():
        if user_id not in queued:  # another worker was quicker
            reasons[place] = PushReason.SENT_RECENTLY
    _log(connection, moments, reasons, now)
    return reasons


def _people(
    connection: psycopg.Connection, moments: Sequence[Moment]
) -> dict[UUID, tuple[PushPreferences, datetime | None]]:
    ids = list({moment.message.user_id for moment in moments})
    people = {}
    for id, opted_in, start, end, zone, has_device, last in connection.execute(_PEOPLE, [ids]):
        hours = QuietHours(start, end) if start is not None else None
        people[id] = (PushPreferences(opted_in, hours, zone, has_device), last)
    return people


def _suppressed(
    connection: psycopg.Connection, moments: Sequence[Moment], now: datetime
) -> set[tuple[UUID, UUID]]:
    users = [moment.message.user_id for moment in moments]
    entities = [moment.message.entity_id for moment in moments]
    return set(connection.execute(_SUPPRESSED, [users, entities, now]).fetchall())


def _log(
    connection: psycopg.Connection,
    moments: Sequence[Moment],
    reasons: Sequence[PushReason | None],
    now: datetime,
) -> None:
    entries = [
        Logged(
            moment.message.user_id,
            "push",
            "sent" if reason.sends else "suppressed",
            str(reason),
            moment.message.entity_type,
            moment.message.entity_id,
            None,
            moment.occasion.score,
            now,
        )
        for moment, reason in zip(moments, reasons, strict=True)
        if reason is not None
    ]
    if entries:
        psycopg.RawCursor(connection).execute(RECORD, record_values(entries))
