"""Whom the connected viewers may hear of, and who is where: what one region's fan-out knows.

Both are copies of what the database says (`seda.circles`, `room_presence`), loaded as one statement
for many and kept by what it announces, so that a message needs no query. A viewer's block is what
`seda.friends_presence` would give them; a test compares the two. Ids are 32 hexadecimal digits.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from seda.social.copy import NOBODY, Face, SocialBlock, social_block

CIRCLES = """
    select viewer_id, friend_id, name, avatar_url, hidden from seda.circles($1::uuid[])
"""
PRESENT = """
    select room_id, user_id, joined_at from seda.room_presence
    where connections > 0 or held_until > $1
"""
ROOM_NAMES = "select id, name from seda.rooms where id = any ($1::uuid[])"
HIDDEN_ENOUGH = 3


@dataclass(frozen=True, slots=True)
class Circle:
    """A viewer's friends: those who may be named, and those who are at most counted."""

    visible: Mapping[str, Face]
    hidden: frozenset[str]


EMPTY = Circle({}, frozenset())


class Circles:
    """The connected viewers' circles, and back from a person to the viewers who know them."""

    def __init__(self) -> None:
        self._circles: dict[str, Circle] = {}
        self._watchers: dict[str, set[str]] = {}
        self._knowers: dict[str, set[str]] = {}

    def __contains__(self, viewer: str) -> bool:
        return viewer in self._circles

    def __len__(self) -> int:
        return len(self._circles)

    def viewers(self) -> list[str]:
        """Everybody who is connected."""
        return list(self._circles)

    def load(self, viewers: Collection[str], rows: Iterable[Sequence[Any]]) -> None:
        """Put the viewers' circles, of the rows of `CIRCLES`, in the place of what was known."""
        visible: dict[str, dict[str, Face]] = {viewer: {} for viewer in viewers}
        hidden: dict[str, set[str]] = {viewer: set() for viewer in viewers}
        for viewer_id, friend_id, name, avatar_url, hides in rows:
            if hides:
                hidden[viewer_id.hex].add(friend_id.hex)
            else:
                visible[viewer_id.hex][friend_id.hex] = Face(name, avatar_url)
        for viewer in viewers:
            self.forget(viewer)
            self._circles[viewer] = Circle(visible[viewer], frozenset(hidden[viewer]))
            for friend in visible[viewer]:
                self._watchers.setdefault(friend, set()).add(viewer)
            for friend in (*visible[viewer], *hidden[viewer]):
                self._knowers.setdefault(friend, set()).add(viewer)

    def forget(self, viewer: str) -> None:
        """The viewer is not connected any more."""
        circle = self._circles.pop(viewer, None)
        if circle is None:
            return
        for friend in (*circle.visible, *circle.hidden):
            for index in (self._watchers, self._knowers):
                known = index.get(friend)
                if known is not None:
                    known.discard(viewer)
                    if not known:
                        del index[friend]

    def of(self, viewer: str) -> Circle:
        """The viewer's circle; nobody where they are not connected."""
        return self._circles.get(viewer, EMPTY)

    def watchers(self, actor: str) -> Collection[str]:
        """The connected viewers who may hear of the actor: a hidden actor has none."""
        return self._watchers.get(actor, ())

    def stale(self, payload: str) -> set[str]:
        """The connected viewers whose circles a `seda_circles` payload says have changed."""
        found: set[str] = set()
        for each in payload.split(" "):
            if each == "*":
                return set(self._circles)
            person = each[1:].replace("-", "")
            if each[:1] == "=" and person in self._circles:
                found.add(person)
            elif each[:1] == "~":
                found |= self._knowers.get(person, set())
        return found


class Board:
    """Who is in which room of the region, and since when."""

    def __init__(self) -> None:
        self._rooms: dict[str, dict[str, datetime]] = {}
        self._where: dict[str, set[str]] = {}

    def rooms_of(self, actor: str) -> Collection[str]:
        """The rooms in which somebody is."""
        return self._where.get(actor, ())

    def came(self, actor: str, room: str, at: datetime) -> bool:
        """False where that was known: the same is told twice after a new start."""
        people = self._rooms.setdefault(room, {})
        if actor in people:
            return False
        people[actor] = at
        self._where.setdefault(actor, set()).add(room)
        return True

    def left(self, actor: str, room: str) -> bool:
        """False where that was known."""
        people = self._rooms.get(room)
        if people is None or people.pop(actor, None) is None:
            return False
        if not people:
            del self._rooms[room]
        self._where[actor].discard(room)
        if not self._where[actor]:
            del self._where[actor]
        return True

    def replace(
        self, rows: Iterable[Sequence[Any]]
    ) -> Iterator[tuple[str, str, str, datetime | None]]:
        """What the rows of `PRESENT` say instead of what was known; gives what is different."""
        before, self._rooms, self._where = self._rooms, {}, {}
        for room_id, actor_id, at in rows:
            self.came(actor_id.hex, room_id.hex, at)
        for room, people in before.items():
            now = self._rooms.get(room, {})
            yield from (("-", actor, room, None) for actor in people if actor not in now)
        for room, people in self._rooms.items():
            then = before.get(room, {})
            for actor, at in people.items():
                if actor not in then:
                    yield "+", actor, room, at

    def block(self, circle: Circle, room: str, room_name: str) -> SocialBlock:
        """What a viewer with this circle may see of the room (SOC-4)."""
        there = self.visible(circle, room)
        if not there:
            return NOBODY
        count = len(there)
        if len(circle.hidden) >= HIDDEN_ENOUGH:
            people = self._rooms[room]
            count += sum(1 for friend in circle.hidden if friend in people)
        return social_block([circle.visible[friend] for friend in there], count, room_name)

    def visible(self, circle: Circle, room: str) -> list[str]:
        """The friends in the room who may be named, first comers first."""
        people = self._rooms.get(room)
        if not people:
            return []
        few, many = sorted((people, circle.visible), key=len)
        there = [(people[friend], friend) for friend in few if friend in many]
        there.sort()
        return [friend for _, friend in there]
