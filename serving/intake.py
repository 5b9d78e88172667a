"""Writes a batch of a person's events: receipts, events and presence, all or nothing.

COPY is refused on tables with row-level security, so batches go in as arrays, one statement per
table. The receipt is what makes an event happen once: an event is written where its receipt was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

import asyncpg

from seda.feedback.events import FEEDBACK, PRESENCE, SOCIAL, Event

HELD: Final = timedelta(minutes=30)
"""How long a join without a connection counts, from when it happened."""

_KNOWN = """
case entity_type
    when 'artist' then exists (
        select from seda.artists a where a.id = entity_id and a.deleted_at is null)
    when 'playlist' then exists (
        select from seda.playlists p where p.id = entity_id and p.deleted_at is null)
    else exists (select from seda.rooms r where r.id = entity_id and r.deleted_at is null)
end"""
# Sorted, so that two batches with the same ids wait for each other and do not deadlock.
_RECEIVE = """
insert into seda.event_receipts (event_id, user_id, body_hash)
select event_id, $1, body_hash
from unnest($2::uuid[], $3::bytea[], $4::text[], $5::uuid[])
    as e(event_id, body_hash, entity_type, entity_id)
where {known} order by event_id
on conflict (event_id) do nothing returning event_id
""".replace("{known}", _KNOWN)
# A statement of its own: it sees what another batch committed while the first one waited.
_EXPLAIN = """
select e.event_id, r.body_hash, {known} as known
from unnest($1::uuid[], $2::text[], $3::uuid[]) as e(event_id, entity_type, entity_id)
left join seda.event_receipts r on r.event_id = e.event_id
""".replace("{known}", _KNOWN)
_FEEDBACK = """
insert into seda.fact_events (event_id, user_id, event_type, props, created_at)
select event_id, $1, type, props::jsonb, occurred_at
from unnest($2::uuid[], $3::text[], $4::text[], $5::timestamptz[])
    as e(event_id, type, props, occurred_at)
on conflict (event_id) do nothing
"""
_SOCIAL = """
insert into seda.social_events
    (event_id, user_id, kind, entity_type, entity_id, props, occurred_at)
select event_id, $1, kind, entity_type, entity_id, props::jsonb, occurred_at
from unnest($2::uuid[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::timestamptz[])
    as e(event_id, kind, entity_type, entity_id, props, occurred_at)
"""
_MOVE = "select seda.move_presence($1, $2, $3, $4, $5, $6)"


class Status(StrEnum):
    """What became of an event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an event, and why it was rejected."""

    status: Status
    reason: str | None = None


ACCEPTED = Outcome(Status.ACCEPTED)
DUPLICATE = Outcome(Status.DUPLICATE)
REUSED = Outcome(
    Status.REJECTED, "This id stands for another event: make a new one for every event."
)
UNKNOWN_ENTITY = Outcome(Status.REJECTED, "There is no such entity.")


async def record_events(
    connection: asyncpg.Connection,
    user_id: UUID,
    events: Sequence[Event],
    now: datetime,
    linger: timedelta,
) -> dict[UUID, Outcome]:
    """Write the events, in the caller's transaction, as the caller; ids are distinct.

    Who leaves is there for `linger` more. Returns the outcome of each, by id.
    """
    if not events:
        return {}
    received = await connection.fetch(
        _RECEIVE,
        user_id,
        [each.id for each in events],
        [each.body_hash for each in events],
        [each.entity_type for each in events],
        [each.entity_id for each in events],
    )
    fresh = {each["event_id"] for each in received}
    accepted = [each for each in events if each.id in fresh]
    await _write_feedback(connection, user_id, [e for e in accepted if e.type in FEEDBACK])
    await _write_social(connection, user_id, [e for e in accepted if e.type in SOCIAL])
    await _move_presence(connection, [e for e in accepted if e.type in PRESENCE], now, linger)
    outcomes = dict.fromkeys(fresh, ACCEPTED)
    if len(fresh) < len(events):
        outcomes |= await _explain(connection, [e for e in events if e.id not in fresh])
    return outcomes


async def _explain(connection: asyncpg.Connection, events: Sequence[Event]) -> dict[UUID, Outcome]:
    rows = await connection.fetch(
        _EXPLAIN,
        [each.id for each in events],
        [each.entity_type for each in events],
        [each.entity_id for each in events],
    )
    hashes = {each.id: each.body_hash for each in events}
    outcomes: dict[UUID, Outcome] = {}
    for row in rows:
        if row["body_hash"] is not None:
            same = row["body_hash"] == hashes[row["event_id"]]
            outcomes[row["event_id"]] = DUPLICATE if same else REUSED
        else:  # another person's receipt is invisible
            outcomes[row["event_id"]] = REUSED if row["known"] else UNKNOWN_ENTITY
    return outcomes


async def _write_feedback(
    connection: asyncpg.Connection, user_id: UUID, events: Sequence[Event]
) -> None:
    if events:
        await connection.execute(
            _FEEDBACK,
            user_id,
            [each.id for each in events],
            [each.type for each in events],
            [each.props for each in events],
            [each.occurred_at for each in events],
        )


async def _write_social(
    connection: asyncpg.Connection, user_id: UUID, events: Sequence[Event]
) -> None:
    if events:
        await connection.execute(
            _SOCIAL,
            user_id,
            [each.id for each in events],
            [each.type for each in events],
            [each.entity_type for each in events],
            [each.entity_id for each in events],
            [each.props for each in events],
            [each.occurred_at for each in events],
        )


async def _move_presence(
    connection: asyncpg.Connection, events: Sequence[Event], now: datetime, linger: timedelta
) -> None:
    """Only the last move of each room counts; at one instant, the later in the batch."""
    last = {each.entity_id: each for each in sorted(events, key=lambda each: each.occurred_at)}
    if last:
        moves = [last[room_id] for room_id in sorted(last)]
        await connection.execute(
            _MOVE,
            [each.entity_id for each in moves],
            [each.type == "join" for each in moves],
            [each.occurred_at for each in moves],
            HELD,
            now,
            linger,
        )
