"""Reads a person's published lists with everything that is live, and makes pages of them.

One prepared statement (`seda.live_lists`), run as the person under row security, brings the stored
cards and what happened since: suppressions, showings, the person's events, the friends who are
there. Which items make a page is decided by `seda.feedback.live_order`.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from struct import Struct
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import orjson

from seda.feedback.live_order import (
    ListFacts,
    Movement,
    OwnEvent,
    base_order,
    base_places,
    liked_genres,
    movements,
    next_page,
)
from seda.publishing.cards import Reason, ids_in, with_first_reason, with_score
from serving.authentication import Caller
from serving.cursors import Source
from serving.presence import NOBODY_JSON, room_block
from serving.problems import ProblemError
from serving.session import unknown_person

_ELEMENT = Struct("4x16s")

# A transaction of its own, in one round trip: the statement itself takes the person's role, and the
# function, which refuses any other, waits for it.
# $1 the person's claims, $2 types, $3 generations (null: what is served now), $4 shards of the
# region, $5 now
_PERSONAL = """
    select lists.* from (
        select set_config('role', 'authenticated', true) as role,
               set_config('request.jwt.claims', $1, true) as claims offset 0) as person
    cross join lateral seda.live_lists(person.role, $2, $3, $4, $5) as lists
"""

# What the function reads of somebody, named so that a missing grant or migration shows even when
# nobody is there to read of.
_REHEARSED = """
    select from seda.generation_pointer, seda.mv_user_top_candidates, seda.suppressions,
        seda.impression_pages, seda.fact_events, seda.artist_genres, seda.rooms, seda.playlists,
        seda.friends_presence('{}')
    where false
"""


class Origin(NamedTuple):
    """The list that items come from; fall-back lists have no generation."""

    entity_type: str
    generation: int | None
    model_version: str


class Item(NamedTuple):
    """One item of a page: its stored card with what live order adds, and its live social block.

    A tuple, since a page makes fifty. `id` and `entity_id` are also in the card; in fall-back lists
    nothing is known to be new or not.
    """

    card: str
    social: str
    id: str
    entity_id: str
    is_new: bool | None
    origin: Origin


@dataclass(frozen=True, slots=True)
class Page:
    """Items in order, whether more follow, and whether there is a list at all (`available`).

    `generations` has one number per type, 0 where that type has no list; it is empty for the lists
    that have no generations. `served` has a bit per base place up to the end of this page.
    """

    user_id: UUID
    source: Source
    items: tuple[Item, ...]
    more: bool
    available: bool
    generations: tuple[int, ...] = ()
    served: int = 0


@dataclass(frozen=True, slots=True)
class LiveList:
    """One published list and what is known now of its items; generation 0 is no list.

    Positions count from 0; those `hidden` are suppressed. `friends` are (count, friends as the
    database gives them) by position. Where a real-time ranking stands on the list, `ranks` say
    where each position stands now, from 1, and `scores` what it scores.
    """

    origin: Origin
    cards: Sequence[str] = ()
    is_new: Sequence[bool] = ()
    hidden: Collection[int] = ()
    moved: Mapping[int, tuple[Movement, ...]] = field(default_factory=dict)
    friends: Mapping[int, tuple[int, Any]] = field(default_factory=dict)
    ranks: Sequence[int] = ()
    scores: Sequence[float] = ()

    def movements_of(self, id: str) -> tuple[Movement, ...]:
        """What moves the recommendation of this id now; nothing if it is not in the list."""
        for position, card in enumerate(self.cards):
            if ids_in(card, self.origin.entity_type)[0] == id:
                return self.moved.get(position, ())
        return ()

    def item(self, position: int) -> Item:
        """The item at a position, as a page shows it."""
        card = self.cards[position]
        social = NOBODY_JSON
        if position in self.friends:
            count, friends = self.friends[position]
            social = room_block(count, friends, card)
        id, entity_id = ids_in(card, self.origin.entity_type)
        if self.scores:
            card = with_score(card, self.scores[position])
        for movement in self.moved.get(position, ()):
            if movement.kind == "listened":
                card = with_first_reason(card, Reason(movement.kind, movement.text))
        return Item(card, social, id, entity_id, self.is_new[position], self.origin)


@dataclass(frozen=True, slots=True)
class PersonalLists:
    """A person's published lists of the wanted types, in that order; `arm` is the person's in the
    experiment that is served, `control` where none is."""

    user_id: UUID
    source: Source
    lists: tuple[LiveList, ...]
    arm: str

    @property
    def generations(self) -> tuple[int, ...]:
        """Of each list; 0 is no list."""
        return tuple(each.origin.generation or 0 for each in self.lists)

    def page(self, served: int, size: int) -> Page:
        """The next page of at most `size` items, live order and novelty quota applied."""
        lists = self.lists
        lengths = tuple(len(each.cards) for each in lists)
        order = base_order(lengths)
        hidden, places = self._by_place(base_places(lengths))
        chosen, more = next_page(
            [lists[each].is_new[position] for each, position in order],
            served=served, hidden=hidden, places=places, size=size,
        )  # fmt: skip
        items = []
        for place in chosen:
            each, position = order[place]
            items.append(lists[each].item(position))
            served |= 1 << place
        return Page(
            self.user_id, self.source, tuple(items), more, any(self.generations),
            self.generations, served,
        )  # fmt: skip

    def _by_place(self, base: tuple[tuple[int, ...], ...]) -> tuple[set[int], dict[int, float]]:
        """Hidden base places, and the places by which live order moves the others; `base` has the
        base place of each list's positions."""
        hidden: set[int] = set()
        places: dict[int, float] = {}
        for live, base_place in zip(self.lists, base, strict=True):
            hidden.update([base_place[position] for position in live.hidden])
            # A real-time ranking gives the places that a list has to its items anew. Base places
            # stay what pages have served.
            for place, rank in zip(base_place, live.ranks, strict=False):
                places[place] = float(place - base_place[rank - 1])
            for position, moved in live.moved.items():
                place = base_place[position]
                by = moved[0].places if len(moved) == 1 else sum([each.places for each in moved])
                places[place] = places.get(place, 0.0) + by
        return hidden, places


async def personal_lists(
    connection: asyncpg.Connection,
    caller: Caller,
    entity_types: tuple[str, ...],
    generations: tuple[int, ...] | None,
    *,
    shards: int,
    now: datetime,
) -> PersonalLists:
    """The person's published lists, of these generations or of what is served now.

    Outside of a transaction the connection is the login's again when this returns.

    Raises:
        ProblemError: 404 or 410, the person is unknown or has left.
        asyncpg.PostgresError: the statement failed or took too long.
    """
    wanted = None if generations is None else sorted(set(generations))
    rows = await connection.fetch(_PERSONAL, caller.claims, entity_types, wanted, shards, now)
    check_person(rows[0] if rows else None)
    person = _person(rows[0])
    # A cursor may name two generations; each type is read from its own.
    of_type = dict(zip(entity_types, generations or (), strict=False))
    found = {
        row["entity_type"]: row
        for row in rows[1:]
        if of_type.get(row["entity_type"], row["generation"]) == row["generation"]
    }
    expires = [row["expires_at"] for row in found.values()]
    return PersonalLists(
        rows[0]["user_id"],
        Source.STALE if expires and min(expires) <= now else Source.PERSONAL,
        tuple(
            _live_list(found[kind], person, len(entity_types))
            if kind in found
            else LiveList(Origin(kind, 0, ""))
            for kind in entity_types
        ),
        rows[0]["arm"],
    )


@dataclass(frozen=True, slots=True)
class _Person:
    """What is live of a person whatever the list: ids of entities as bytes."""

    suppressed: Sequence[bytes]
    shown: Mapping[bytes, int]
    events: Sequence[OwnEvent]
    liked: Mapping[str, Movement]
    touched: Sequence[bytes]


def _person(row: Any) -> _Person:
    told = orjson.loads(row["events"]) if row["events"] else ()
    events = [OwnEvent(kind, genre, seconds) for kind, seconds, genre in told]
    return _Person(
        _ids(row["suppressed"]),
        Counter(_ids(row["shown"])),
        events,
        liked_genres(events),
        _ids(row["touched"]),
    )


def _live_list(row: Any, person: _Person, lists: int) -> LiveList:
    cards, is_new = row["cards"], row["is_new"]
    if is_new is None:  # a generation from before the column
        is_new = ['"is_new":true' in card for card in cards]
    ids = _ids(row["entity_ids"])
    positions = dict(zip(ids, range(len(ids)), strict=True))
    friends: dict[int, tuple[int, Any]] = {}
    seen: dict[int, list[float]] = {}
    for room, count, faces, seconds in orjson.loads(row["present"]) if row["present"] else ():
        position = positions[UUID(room).bytes]
        friends[position], seen[position] = (count, faces), seconds
    shown = person.shown
    facts = ListFacts(
        row["genres"] or (),
        {position: shown[id] for id, position in positions.items() if id in shown},
        [positions.get(id) for id in person.touched],
        seen,
        _owed_to_friends(row, lists),
    )
    return LiveList(
        Origin(row["entity_type"], row["generation"], row["model_version"]), cards, is_new,
        [positions[id] for id in person.suppressed if id in positions],
        movements(facts, person.events, person.liked), friends, row["ranks"] or (),
        row["scores"] or (),
    )  # fmt: skip


def _owed_to_friends(row: Any, lists: int) -> dict[int, tuple[float, float]]:
    """By position, the places that the list's own order gives for friends, and their presence then:
    a place of one list is as many places as there are lists."""
    return {
        position: (lifted * lists, presence)
        for position, (lifted, presence) in enumerate(
            zip(row["lifts"] or (), row["presence"] or (), strict=False)
        )
        if lifted
    }


def _ids(array: bytes | None) -> list[bytes]:
    """The ids of a `uuid[]` without nulls in wire format: a head of 20 bytes, then each with its
    length before it."""
    return [id for (id,) in _ELEMENT.iter_unpack(array[20:])] if array else []


async def rehearse(connection: asyncpg.Connection) -> None:
    """Check that the statement could be run in full for somebody.

    Raises:
        asyncpg.PostgresError: it could not.
    """
    await connection.execute(_REHEARSED)


def check_person(row: Any) -> None:
    """Raises ProblemError, 404 or 410: the person is unknown (no row) or has left."""
    if row is None:
        raise unknown_person()
    if row["deleted"]:
        raise ProblemError(410, "account_deleted", "This account has been deleted.")
