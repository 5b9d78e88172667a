"""How a replay's moves get in: as rows, many people at once, or each person's over the API.

The first is what one process can do at thousands of moves a second: what the API does in a
transaction (receipts, events, presence, the announcement), in one statement for many people.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

import asyncpg

from seda.database.regions import RegionalDatabase
from seda.feedback.events import Event, checked_event

HELD: Final = timedelta(minutes=30)
"""How long a join without a connection counts, as over the API."""

_TAKE = """
with moves as (
    select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::boolean[], $5::bytea[],
                         $6::timestamptz[])
        as e(event_id, user_id, room_id, joins, body_hash, moment)
), received as (
    insert into seda.event_receipts (event_id, user_id, body_hash)
    select event_id, user_id, body_hash from moves order by event_id
    on conflict (event_id) do nothing returning event_id
), taken as materialized (
    select * from moves where coalesce(event_id in (select event_id from received), false)
), appended as (
    insert into seda.social_events (event_id, user_id, kind, entity_type, entity_id, occurred_at)
    select event_id, user_id, case when joins then 'join' else 'leave' end, 'room', room_id, moment
    from taken
), entered as (
    insert into seda.room_presence as p
        (room_id, user_id, connections, joined_at, last_seen_at, held_until)
    select room_id, user_id, 0, $7::timestamptz, moment, moment + $8::interval
    from taken where joins order by room_id, user_id
    on conflict (room_id, user_id) do update
    set held_until = greatest(p.held_until, excluded.held_until), departure = null,
        last_seen_at = greatest(p.last_seen_at, excluded.last_seen_at)
    returning room_id, user_id, joined_at, xmax = 0 as fresh
), going as (
    update seda.room_presence p
    set held_until = least(p.held_until, $7 + $9::interval), departure = 'said'
    from taken m
    where not m.joins and p.user_id = m.user_id and p.room_id = m.room_id and p.connections = 0
      and coalesce(p.held_until, 'infinity') <= m.moment + $8
    returning p.room_id, p.user_id, p.held_until
)
select (select count(*) from received),
       (select seda.announce_presence(
            '+', array_agg(user_id), array_agg(room_id), array_agg(joined_at))::text
        from entered where fresh having count(*) > 0),
       (select seda.announce_presence(
            '~', array_agg(user_id), array_agg(room_id), array_agg(held_until))::text
        from going having count(*) > 0)
"""
# By key, however empty a table was when the plan was made. The first `coalesce` above keeps a
# subplan from becoming a join, the second keeps the index of held presences out of it.
_PLANNING = {
    "plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Move:
    """One person enters or leaves one room at a moment; `id` makes it happen once."""

    id: UUID
    user_id: UUID
    room_id: UUID
    joins: bool
    at: datetime

    def event(self, now: datetime) -> Event:
        """The move as the event that an app would send."""
        return checked_event(
            id=self.id,
            type="join" if self.joins else "leave",
            entity_type="room",
            entity_id=self.room_id,
            occurred_at=self.at,
            props={},
            now=now,
        )


class Intake(Protocol):
    """Takes moves; each person is in a batch once."""

    async def open(self) -> None:
        """Get ready."""

    async def send(self, moves: Sequence[Move]) -> int:
        """Returns how many were taken for the first time, once they are committed."""

    async def close(self) -> None:
        """Let go of connections."""


class RowIntake:
    """Straight into the database, as `service_role`."""

    def __init__(self, database: RegionalDatabase, linger: timedelta) -> None:
        """`linger`: for how long who leaves may come back without having left."""
        self._database, self._linger = database, linger

    async def open(self) -> None:
        self._connection: asyncpg.Connection = await asyncpg.connect(
            self._database.url, server_settings={"role": "service_role", **_PLANNING}
        )

    async def send(self, moves: Sequence[Move]) -> int:
        now = datetime.now(UTC)
        taken: int = await self._connection.fetchval(
            _TAKE,
            [move.id for move in moves],
            [move.user_id for move in moves],
            [move.room_id for move in moves],
            [move.joins for move in moves],
            [move.event(now).body_hash for move in moves],
            [move.at for move in moves],
            now,
            HELD,
            self._linger,
        )
        return taken

    async def close(self) -> None:
        await self._connection.close()
