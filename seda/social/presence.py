"""Who is in a room, by the connections that say so, and when their friends are told: pure rules.

`Standing` is one person in one room, over all of their connections; the database keeps it as a row
of `room_presence` and moves it by the same rules (a test holds both together). `Attendance` is what
one process's connections say. `Windows` spaces the messages of each receiver. Time is an argument.
"""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Generic, TypeVar
from uuid import UUID

C = TypeVar("C", bound=Hashable)
R = TypeVar("R", bound=Hashable)

IDLE: Final = timedelta(minutes=30)
"""How long a connection, a session or a join over HTTP lasts without a sign of life."""


class Change(StrEnum):
    """What friends are told of."""

    CAME = "+"
    LEFT = "-"


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a person is in a room: through connections, or still, until `held_until`.

    Who leaves lingers for a while: who comes back meanwhile has neither left nor come.
    """

    connections: int = 0
    held_until: datetime | None = None

    def present(self, now: datetime) -> bool:
        """Whether they count as being there."""
        held = self.held_until is not None and self.held_until > now
        return self.connections > 0 or held

    def shifted(
        self, by: int, now: datetime, linger: timedelta
    ) -> tuple["Standing", tuple[Change, ...]]:
        """After `by` connections came or went: the standing, and what that changes.

        A hold that has lapsed is a leave first, even where nobody had noticed.
        """
        before, told = self.released(now)
        connections = max(before.connections + by, 0)
        if by > 0:
            if not before.present(now):
                told = (*told, Change.CAME)
            return Standing(connections, before.held_until), told
        if connections == 0 and before.connections > 0:
            until = max(before.held_until or now, now + linger)
            after, lapsed = Standing(0, until).released(now)
            return after, (*told, *lapsed)
        return Standing(connections, before.held_until), told

    def released(self, now: datetime) -> tuple["Standing", tuple[Change, ...]]:
        """Without a hold that has lapsed; a leave where nothing else held the presence."""
        if self.held_until is None or self.held_until > now:
            return self, ()
        left = () if self.connections else (Change.LEFT,)
        return Standing(self.connections), left


class Attendance(Generic[C]):
    """What the connections of one process say: who of them is in which room, and when last alive.

    A person may have many connections; each is in a room or not, however often it says so.
    """

    def __init__(self) -> None:
        self._rooms: dict[C, set[UUID]] = {}
        self._people: dict[C, UUID] = {}
        self._alive: dict[C, datetime] = {}

    def __len__(self) -> int:
        return len(self._people)

    def __contains__(self, connection: C) -> bool:
        return connection in self._people

    def connect(self, connection: C, person: UUID, now: datetime) -> None:
        """A connection begins, in no room."""
        self._people[connection] = person
        self._rooms[connection] = set()
        self._alive[connection] = now

    def beat(self, connection: C, now: datetime) -> None:
        """A sign of life."""
        if connection in self._alive:
            self._alive[connection] = now

    def inside(self, connection: C, room: UUID) -> bool:
        """Whether this connection is in the room."""
        return room in self._rooms.get(connection, ())

    def enter(self, connection: C, room: UUID) -> None:
        """The connection is in the room from now on."""
        self._rooms[connection].add(room)

    def quit(self, connection: C, room: UUID) -> None:
        """The connection is in the room no longer."""
        self._rooms[connection].discard(room)

    def disconnect(self, connection: C) -> frozenset[UUID]:
        """The connection ends; the rooms that it was in."""
        self._people.pop(connection, None)
        self._alive.pop(connection, None)
        return frozenset(self._rooms.pop(connection, ()))

    def idle(self, now: datetime) -> list[tuple[C, frozenset[UUID]]]:
        """Connections that are in rooms and gave no sign of life for `IDLE`."""
        return [
            (connection, frozenset(rooms))
            for connection, rooms in self._rooms.items()
            if rooms and now - self._alive[connection] >= IDLE
        ]

    def holds(self) -> dict[tuple[UUID, UUID], int]:
        """By person and room, how many of their connections are in it."""
        counts: dict[tuple[UUID, UUID], int] = {}
        for connection, rooms in self._rooms.items():
            for room in rooms:
                key = self._people[connection], room
                counts[key] = counts.get(key, 0) + 1
        return counts

    def alive_since(self, since: datetime) -> Iterator[tuple[C, UUID, frozenset[UUID], datetime]]:
        """Connections with a sign of life after `since`: person, rooms, and when it was."""
        for connection, seen in self._alive.items():
            if seen > since:
                rooms = frozenset(self._rooms[connection])
                yield connection, self._people[connection], rooms, seen


@dataclass(slots=True)
class Pending:
    """What a receiver is to be told: by room the number of changes, and when the oldest was."""

    since: datetime
    rooms: dict[Hashable, int] = field(default_factory=dict)


class Windows(Generic[R]):
    """At most one message per receiver and window, the first at once (leading edge).

    Whoever heard nothing for a window is told immediately; what comes within the window after a
    message waits for its end, together. Nothing is dropped.
    """

    def __init__(self, window: timedelta) -> None:
        self._window = window
        self._pending: dict[R, Pending] = {}
        self._told_at: dict[R, datetime] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def note(self, receiver: R, room: Hashable, since: datetime, changes: int = 1) -> None:
        """The receiver is concerned by a change, accepted at `since`; 0 changes: look anew."""
        pending = self._pending.get(receiver)
        if pending is None:
            pending = self._pending[receiver] = Pending(since)
        elif since < pending.since:
            pending.since = since
        pending.rooms[room] = pending.rooms.get(room, 0) + changes

    def due(self, now: datetime) -> list[R]:
        """The receivers that are to be told now."""
        edge = now - self._window
        told_at = self._told_at
        return [each for each in self._pending if each not in told_at or told_at[each] <= edge]

    def next_due(self) -> datetime | None:
        """When the next receiver is due; None where nothing waits."""
        if not self._pending:
            return None
        times = [self._told_at.get(each) for each in self._pending]
        if None in times:
            return min(pending.since for pending in self._pending.values())
        return min(time for time in times if time is not None) + self._window

    def waits(self, receiver: R) -> bool:
        """Whether the receiver is to be told something, sooner or later."""
        return receiver in self._pending

    def rooms(self, receivers: Iterable[R]) -> set[Hashable]:
        """The rooms that these receivers, all of whom wait, are to be told of."""
        return {room for each in receivers for room in self._pending[each].rooms}

    def take(self, receiver: R, now: datetime) -> Pending:
        """What the receiver is told at `now`; the next window begins."""
        self._told_at[receiver] = now
        return self._pending.pop(receiver)

    def forget(self, receiver: R) -> None:
        """The receiver is gone, with what it was to be told."""
        self._pending.pop(receiver, None)
        self._told_at.pop(receiver, None)
