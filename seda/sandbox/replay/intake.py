"""How a replay's moves get in: as rows, many people at once, or each person's over the API.

The first is what one process can do at thousands of moves a second: the API's statements (receipts,
events, presence, the announcement, all in one transaction), set-based over people too.
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

_RECEIVE = """
insert into seda.event_receipts (event_id, user_id, body_hash)
select event_id, user_id, body_hash
from unnest($1::uuid[], $2::uuid[], $3::bytea[]) as e(event_id, user_id, body_hash)
order by event_id on conflict (event_id) do nothing returning event_id
"""
_APPEND = """
insert into seda.social_events (event_id, user_id, kind, entity_type, entity_id, occurred_at)
select event_id, user_id, kind, 'room', room_id, occurred_at
from unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::timestamptz[])
    as e(event_id, user_id, kind, room_id, occurred_at)
"""
_ENTER = """
with entered as (
    insert into seda.room_presence as p
        (room_id, user_id, connections, joined_at, last_seen_at, held_until)
    select room_id, user_id, 0, $4::timestamptz, moment, moment + $5::interval
    from unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) as e(user_id, room_id, moment)
    order by room_id, user_id
    on conflict (room_id, user_id) do update
    set held_until = greatest(p.held_until, excluded.held_until), departure = null,
        last_seen_at = greatest(p.last_seen_at, excluded.last_seen_at)
    returning room_id, user_id, joined_at, xmax = 0 as fresh
)
select seda.announce_presence(
    '+', array_agg(user_id), array_agg(room_id), array_agg(joined_at))
from entered where fresh having count(*) > 0
"""
_LEAVE = """
with going as (
    update seda.room_presence p
    set held_until = least(p.held_until, $4::timestamptz + $5::interval), departure = 'said'
    from unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) as e(user_id, room_id, moment)
    where p.user_id = e.user_id and p.room_id = e.room_id and p.connections = 0
      and p.held_until <= e.moment + $6::interval
    returning p.room_id, p.user_id, p.held_until
)
select seda.announce_presence(
    '~', array_agg(user_id), array_agg(room_id), array_agg(held_until))
from going having count(*) > 0
"""


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
            self._database.url, server_settings={"role": "service_role"}
        )

    async def send(self, moves: Sequence[Move]) -> int:
        now = datetime.now(UTC)
        events = {move.id: move.event(now) for move in moves}
        async with self._connection.transaction():
            received = await self._connection.fetch(
                _RECEIVE,
                [move.id for move in moves],
                [move.user_id for move in moves],
                [events[move.id].body_hash for move in moves],
            )
            fresh = {row["event_id"] for row in received}
            taken = [move for move in moves if move.id in fresh]
            await self._write(taken, now)
        return len(taken)

    async def _write(self, moves: Sequence[Move], now: datetime) -> None:
        await self._connection.execute(
            _APPEND,
            [move.id for move in moves],
            [move.user_id for move in moves],
            ["join" if move.joins else "leave" for move in moves],
            [move.room_id for move in moves],
            [move.at for move in moves],
        )
        enter, leave = (_ENTER, now, HELD), (_LEAVE, now, self._linger, HELD)
        for joins, (statement, *lasts) in ((True, enter), (False, leave)):
            some = [move for move in moves if move.joins is joins]
            people, rooms = [move.user_id for move in some], [move.room_id for move in some]
            if some:
                moments = [move.at for move in some]
                await self._connection.execute(statement, people, rooms, moments, *lasts)

    async def close(self) -> None:
        await self._connection.close()
