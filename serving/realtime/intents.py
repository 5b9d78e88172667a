"""Presence intents and the one transaction that each is written in.

The receipt makes an intent happen once, the event is what the pipelines read, and the presence row
is what cards read; all three commit together or not at all.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid4

import asyncpg

from seda.database.regions import Region
from serving.pools import Pools
from serving.problems import ProblemError

_RECEIVE = """
    insert into seda.event_receipts (event_id, user_id, body_hash) values ($1, $2, $3)
    on conflict (event_id) do nothing returning true
"""
_SAME_BODY = """
    select user_id = $2 and body_hash = $3 from seda.event_receipts where event_id = $1
"""
_APPEND = """
    insert into seda.social_events (event_id, user_id, kind, entity_type, entity_id, occurred_at)
    select $1, $2, $3, 'room', id, $5 from seda.rooms where id = $4 and deleted_at is null
    returning true
"""
_ENTER = """
    insert into seda.room_presence (room_id, user_id, joined_at, last_seen_at)
    values ($1, $2, $3, $3)
    on conflict (room_id, user_id) do update
    set connections = room_presence.connections + 1, last_seen_at = excluded.last_seen_at
"""
# Locked first: two connections of one person may leave at the same instant.
_CONNECTIONS = """
    select connections, held_until is not null as held from seda.room_presence
    where room_id = $1 and user_id = $2 for update
"""
_LEAVE_ONE = """
    update seda.room_presence set connections = connections - 1
    where room_id = $1 and user_id = $2
"""
_LEAVE_LAST = "delete from seda.room_presence where room_id = $1 and user_id = $2"


@dataclass(frozen=True, slots=True)
class Person:
    """A connected listener: the row, the token's subject and the region they live in."""

    user_id: UUID
    sub: str
    region: Region


@dataclass(frozen=True, slots=True)
class Intent:
    """What a client asks for; `event_id` is the client's idempotency key."""

    event_id: UUID
    kind: Literal["join", "leave"]
    room_id: UUID

    @classmethod
    def parse(cls, kind: Literal["join", "leave"], data: Any) -> "Intent":
        """An intent from a client's message.

        Raises:
            ProblemError: 422, it has no `event_id` or `room_id`, or they are no UUIDs.
        """
        try:
            return cls(UUID(data["event_id"]), kind, UUID(data["room_id"]))
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise ProblemError(
                422, "invalid_intent", "Send {event_id, room_id}, both of them UUIDs."
            ) from problem

    @property
    def body_hash(self) -> bytes:
        """SHA-256 of everything that the event says, the id apart."""
        return hashlib.sha256(f"{self.kind} room {self.room_id}".encode()).digest()


@dataclass(frozen=True)
class PresenceStore:
    """Writes intents; runs as `service_role`, in the database of the person's region."""

    pools: Pools
    clock: Callable[[], datetime]

    async def record(self, person: Person, intent: Intent, *, moves: bool) -> None:
        """Write an intent once; `moves` says whether it changes this connection's presence.

        A repeated intent writes no second event, but may still move: a client that lost its
        connection before the acknowledgement repeats the intent on a new connection.

        Raises:
            ProblemError: 409, the id belongs to another intent; 404, no such room; 503.
        """
        async with self.pools.transaction(person.region) as connection:
            receipt = (intent.event_id, person.user_id, intent.body_hash)
            if await connection.fetchval(_RECEIVE, *receipt):
                await self._append(connection, person, intent)
            elif not await connection.fetchval(_SAME_BODY, *receipt):
                raise ProblemError(
                    409,
                    "event_id_reused",
                    "This event_id stands for another event: make a new one for every intent.",
                )
            if moves and intent.kind == "join":
                await connection.execute(_ENTER, intent.room_id, person.user_id, self.clock())
            elif moves:
                await _leave(connection, person.user_id, intent.room_id)

    async def leave_all(self, person: Person, rooms: Iterable[UUID]) -> None:
        """A connection is gone: take it out of its rooms, with a leave where it was the last."""
        async with self.pools.transaction(person.region) as connection:
            for room_id in sorted(rooms):  # one order, so that two of these cannot deadlock
                if await _leave(connection, person.user_id, room_id):
                    intent = Intent(uuid4(), "leave", room_id)
                    receipt = (intent.event_id, person.user_id, intent.body_hash)
                    await connection.fetchval(_RECEIVE, *receipt)
                    await self._append(connection, person, intent)

    async def _append(self, connection: asyncpg.Connection, person: Person, intent: Intent) -> None:
        written = await connection.fetchval(
            _APPEND, intent.event_id, person.user_id, intent.kind, intent.room_id, self.clock()
        )
        # A room may close while people are inside: leaving it must still work.
        if not written and intent.kind == "join":
            raise ProblemError(404, "unknown_room", "There is no such room.")


async def _leave(connection: asyncpg.Connection, user_id: UUID, room_id: UUID) -> bool:
    row = await connection.fetchrow(_CONNECTIONS, room_id, user_id)
    if row is None or not row["connections"]:
        return False
    # Who also joined over HTTP (serving.intake) is held there after the last connection.
    last = row["connections"] == 1 and not row["held"]
    await connection.execute(_LEAVE_LAST if last else _LEAVE_ONE, room_id, user_id)
    return bool(last)
