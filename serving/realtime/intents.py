"""What clients ask for over Socket.IO, and the one commit that many intents share.

The receipt makes an intent happen once, the event is what the pipelines read, and the presence row
is what cards read; all three commit together (`seda.take_intents`), before the acknowledgement.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from seda.database.regions import Region
from serving.pools import Pools
from serving.problems import ProblemError
from serving.realtime.batches import Batches
from serving.realtime.processes import UNREGISTERED, Registration

_TAKE = """
    select seda.take_intents($1, $2::uuid[], $3::uuid[], $4::bytea[], $5::text[], $6::text[],
                             $7::uuid[], $8::integer[], $9::timestamptz[], $10, $11)
"""
_LOSE = """
    select seda.shift_presence($1, $2::uuid[], $3::uuid[], $4::integer[],
        array_fill(false, array[cardinality($2::uuid[])]), $5::timestamptz[], $6, $7)
"""
_ENTITY_TYPES = frozenset({"room", "playlist", "artist"})


@dataclass(frozen=True, slots=True)
class Person:
    """A connected listener: the row, the token's subject and the region they live in."""

    user_id: UUID
    sub: str
    region: Region

    @property
    def key(self) -> str:
        """What the fan-out knows them by."""
        return self.user_id.hex


@dataclass(frozen=True, slots=True)
class Intent:
    """What a client asks for; `event_id` is the client's idempotency key."""

    event_id: UUID
    kind: str
    entity_type: str
    entity_id: UUID

    @classmethod
    def parse(cls, kind: str, data: Any) -> "Intent":
        """An intent from a client's message; joins and leaves are about rooms.

        Raises:
            ProblemError: 422, something is missing or is not what it should be.
        """
        try:
            if kind in ("join", "leave"):
                return cls(UUID(data["event_id"]), kind, "room", UUID(data["room_id"]))
            if data["entity_type"] not in _ENTITY_TYPES:
                raise ValueError
            return cls(UUID(data["event_id"]), kind, data["entity_type"], UUID(data["entity_id"]))
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            wanted = (
                "{event_id, room_id}, both of them UUIDs"
                if kind in ("join", "leave")
                else "{event_id, entity_type, entity_id}: UUIDs, and room, playlist or artist"
            )
            raise ProblemError(422, "invalid_intent", f"Send {wanted}.") from problem

    @property
    def body_hash(self) -> bytes:
        """SHA-256 of everything that the event says, the id apart."""
        said = f"{self.kind} {self.entity_type} {self.entity_id}"
        return hashlib.sha256(said.encode()).digest()


@dataclass(frozen=True, slots=True)
class Told:
    """An intent as a connection sent it: by whom, when, and by how much their presence moves."""

    user_id: UUID
    intent: Intent
    shift: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Lost:
    """A connection that is gone, or silent, was in this room."""

    user_id: UUID
    room_id: UUID
    at: datetime


class IntentLog:
    """Writes intents as `service_role`, in the database of the person's region."""

    def __init__(
        self,
        pools: Pools,
        registration: Registration,
        linger: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        self._pools = pools
        self._registration = registration
        self._linger = linger
        self._clock = clock
        self._intents: Batches[Region, Told, None] = Batches(self._take)
        self._losses: Batches[Region, Lost, None] = Batches(self._lose)

    @property
    def depth(self) -> int:
        """Intents that wait for their commit."""
        return self._intents.depth + self._losses.depth

    async def record(self, person: Person, intent: Intent, shift: int, at: datetime) -> None:
        """Write an intent once; `shift` is 1 or -1 where it moves this connection's presence.

        A repeated intent writes no second event, but may still move: a client that lost its
        connection before the acknowledgement repeats the intent on a new connection.

        Raises:
            ProblemError: 409, the id belongs to another intent; 404, no such entity; 503.
        """
        await self._intents.submit(person.region, Told(person.user_id, intent, shift, at))

    async def lose(self, person: Person, room_id: UUID, at: datetime) -> None:
        """A connection no longer holds a presence, and did not say so.

        Raises:
            ProblemError: 503.
        """
        await self._losses.submit(person.region, Lost(person.user_id, room_id, at))

    async def _take(self, region: Region, told: Sequence[Told]) -> list[Exception | None]:
        outcomes = await self._in_register(
            region,
            _TAKE,
            [each.intent.event_id for each in told],
            [each.user_id for each in told],
            [each.intent.body_hash for each in told],
            [each.intent.kind for each in told],
            [each.intent.entity_type for each in told],
            [each.intent.entity_id for each in told],
            [each.shift for each in told],
            [each.at for each in told],
        )
        return [_problem(outcome, each) for outcome, each in zip(outcomes, told, strict=True)]

    async def _lose(self, region: Region, lost: Sequence[Lost]) -> list[Exception | None]:
        await self._in_register(
            region,
            _LOSE,
            [each.user_id for each in lost],
            [each.room_id for each in lost],
            [-1] * len(lost),
            [each.at for each in lost],
        )
        return [None] * len(lost)

    async def _in_register(self, region: Region, statement: str, *columns: list[Any]) -> Any:
        for attempt in range(2):
            try:
                async with self._pools.transaction(region) as connection:
                    return await connection.fetchval(
                        statement, self._registration.id, *columns, self._linger, self._clock()
                    )
            except asyncpg.PostgresError as problem:
                if problem.sqlstate != UNREGISTERED or attempt:
                    raise
                await self._registration.register(region)
        raise AssertionError


def _problem(outcome: str, told: Told) -> ProblemError | None:
    if outcome == "reused":
        return ProblemError(
            409,
            "event_id_reused",
            "This event_id stands for another event: make a new one for every intent.",
        )
    if outcome == "unknown":
        kind = told.intent.entity_type
        return ProblemError(404, f"unknown_{kind}", f"There is no such {kind}.")
    return None
