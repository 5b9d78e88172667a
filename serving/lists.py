"""Reads a person's published lists with everything that is live, and makes pages of them.

One prepared statement, run under row security, brings the stored cards and, by position in them,
what happened since: suppressions, showings, the person's events, the friends who are there. Which
items make a page is decided by `seda.feedback.live_order`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from seda.feedback.live_order import (
    ListFacts,
    Movement,
    OwnEvent,
    base_order,
    movements,
    next_page,
)
from seda.publishing.cards import Reason, ids_in, with_first_reason
from serving.cursors import Source
from serving.presence import NOBODY_JSON, room_block
from serving.problems import ProblemError
from serving.session import unknown_person

# Positions count from 1, as arrays do. limit 1 keeps the lookup in the partitioned table a
# parameterised one, pruned to one partition. An event's entity is what a person's app sent: a uuid
# only where it looks like one.
# $1 types, $2 generations (null: what is served now), $3 shards of the region, $4 now
_PERSONAL = """
with me as materialized (
    select id, region, bucket, deleted_at from seda.users
    where auth_user_id = (select auth.uid())::text
), recent as materialized (
    select row_number() over (order by e.created_at desc, e.id desc) as place, e.event_type,
           extract(epoch from $4::timestamptz - e.created_at)::float8 as seconds_ago,
           case when e.props ->> 'entity_id' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                then (e.props ->> 'entity_id')::uuid end as entity_id
    from seda.fact_events e
    where e.user_id = (select id from me)
      and e.created_at > $4::timestamptz - interval '24 hours'
    order by e.created_at desc, e.id desc limit 50
), lists as materialized (
    select w.place, w.entity_type, c.* from me
    cross join unnest($1::text[], $2::bigint[]) with ordinality
        as w(entity_type, generation, place)
    left join seda.generation_pointer p
        on w.generation is null and p.entity_type = w.entity_type and p.arm = 'control'
        and p.shard = me.region || '-'
            || lpad((((me.bucket + 1) * $3::int - 1) / 64)::text, 2, '0')
    left join lateral (
        select m.generation, m.entity_ids, m.cards, m.is_new, m.genres, m.model_version,
               m.expires_at
        from seda.mv_user_top_candidates m
        where m.generation = coalesce(w.generation, p.generation)
          and m.user_id = me.id and m.entity_type = w.entity_type
        limit 1
    ) c on true
)
select me.id as user_id, me.deleted_at is not null as deleted, l.entity_type,
       coalesce(l.generation, 0) as generation, l.expires_at, l.model_version, l.cards, l.is_new,
       array(select array_position(l.entity_ids, s.entity_id) from seda.suppressions s
             where s.user_id = me.id and s.entity_type = l.entity_type
               and s.entity_id = any (l.entity_ids)
               and (s.suppressed_until is null or s.suppressed_until > $4::timestamptz)) as hidden,
       array(select array_position(l.entity_ids, i.entity_id) from seda.impressions i
             where i.user_id = me.id and i.shown_at > $4::timestamptz - interval '24 hours'
               and i.entity_type = l.entity_type and i.entity_id = any (l.entity_ids)) as shown,
       array(select array_position(l.entity_ids, r.entity_id) from recent r
             order by r.place) as touched,
       case when exists (select from recent) then l.genres end as genres,
       case when l.place = 1 and exists (select from recent) then (
           select jsonb_agg(jsonb_build_array(r.event_type, r.seconds_ago,
               case when r.event_type in ('rec_click', 'listen_30s', 'room_join') then coalesce(
                   (select o.genre from seda.rooms o where o.id = r.entity_id),
                   (select o.genre from seda.playlists o where o.id = r.entity_id),
                   (select o.genre from seda.artist_genres o where o.artist_id = r.entity_id
                    order by o.weight desc, o.genre limit 1)) end) order by r.place)
           from recent r) end as events,
       here.*
from me join lists l on true
left join lateral (
    select jsonb_agg(jsonb_build_array(array_position(l.entity_ids, f.room_id), f.friend_count,
               f.friends, array(select extract(epoch from $4::timestamptz - each)
                                from unnest(f.seen_at) as each))) as present
    from seda.friends_presence(l.entity_ids) f where l.entity_type = 'room'
) here on true
order by l.place
"""


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a page: its stored card with what live order adds, and its live social block.

    `id` and `entity_id` are also in the card; `key` is its base position; `generation` and
    `model_version` are of the list it comes from (fall-back lists have no generation).
    """

    key: int
    card: str
    social: bytes
    id: str
    entity_type: str
    entity_id: str
    generation: int | None
    model_version: str


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
    """One published list and what is known now of its items; positions count from 0.

    `friends` are (count, friends as JSON) by position of a room.
    """

    entity_type: str
    generation: int
    model_version: str
    cards: Sequence[str]
    is_new: Sequence[bool]
    hidden: frozenset[int]
    moved: dict[int, tuple[Movement, ...]]
    friends: dict[int, tuple[int, Any]]

    def item(self, key: int, position: int) -> Item:
        """The item at a position, as a page shows it."""
        card = self.cards[position]
        social = NOBODY_JSON
        if position in self.friends:
            count, friends = self.friends[position]
            social = room_block(count, friends, card)
        id, entity_id = ids_in(card)
        for movement in self.moved.get(position, ()):
            if movement.kind == "listened":
                card = with_first_reason(card, Reason(movement.kind, movement.text))
        return Item(
            key, card, social, id, self.entity_type, entity_id, self.generation, self.model_version
        )


@dataclass(frozen=True, slots=True)
class PersonalLists:
    """A person's published lists of the wanted types, in that order."""

    user_id: UUID
    source: Source
    lists: tuple[LiveList, ...]
    _order: tuple[tuple[int, int], ...] = field(init=False)

    def __post_init__(self) -> None:
        lengths = tuple(len(each.cards) for each in self.lists)
        object.__setattr__(self, "_order", base_order(lengths))

    @property
    def generations(self) -> tuple[int, ...]:
        return tuple(each.generation for each in self.lists)

    def page(self, served: int, size: int) -> Page:
        """The next page of at most `size` items, live order and novelty quota applied."""
        lists, order = self.lists, self._order
        hidden, places = self._by_place()
        chosen, more = next_page(
            [lists[each].is_new[position] for each, position in order],
            served=served, hidden=hidden, places=places, size=size,
        )  # fmt: skip
        items = []
        for place in chosen:
            each, position = order[place]
            items.append(lists[each].item(place, position))
            served |= 1 << place
        return Page(
            self.user_id, self.source, tuple(items), more, any(self.generations),
            self.generations, served,
        )  # fmt: skip

    def _by_place(self) -> tuple[set[int], dict[int, float]]:
        """Hidden base places, and the places by which live order moves the others."""
        hidden: set[int] = set()
        places: dict[int, float] = {}
        if any(each.hidden or each.moved for each in self.lists):
            for place, (each, position) in enumerate(self._order):
                live = self.lists[each]
                if position in live.hidden:
                    hidden.add(place)
                elif position in live.moved:
                    places[place] = sum(each.places for each in live.moved[position])
        return hidden, places


async def personal_lists(
    connection: asyncpg.Connection,
    entity_types: tuple[str, ...],
    generations: tuple[int, ...] | None,
    *,
    shards: int,
    now: datetime,
) -> PersonalLists:
    """The person's published lists, of these generations or of what is served now.

    Raises:
        ProblemError: 404 or 410, the person is unknown or has left.
        asyncpg.PostgresError: the statement failed or took too long.
    """
    wanted = generations or (None,) * len(entity_types)
    rows = await connection.fetch(_PERSONAL, entity_types, wanted, shards, now)
    check_person(rows[0] if rows else None)
    events = [
        OwnEvent(kind, genre, seconds)
        for kind, seconds, genre in orjson.loads(rows[0]["events"] or "[]")
    ]
    expires = [row["expires_at"] for row in rows if row["expires_at"] is not None]
    stale = bool(expires) and min(expires) <= now
    return PersonalLists(
        rows[0]["user_id"],
        Source.STALE if stale else Source.PERSONAL,
        tuple(_live_list(row, events) for row in rows),
    )


def _live_list(row: Any, events: Sequence[OwnEvent]) -> LiveList:
    cards = row["cards"] or ()
    is_new = row["is_new"]
    if is_new is None:  # a generation from before the column
        is_new = ['"is_new":true' in card for card in cards]
    friends: dict[int, tuple[int, Any]] = {}
    seen: dict[int, list[float]] = {}
    if row["present"] is not None:
        for position, count, faces, seconds in orjson.loads(row["present"]):
            friends[position - 1], seen[position - 1] = (count, faces), seconds
    facts = ListFacts(
        genres=row["genres"] or (),
        shown=[position - 1 for position in row["shown"]],
        touched=[None if position is None else position - 1 for position in row["touched"]],
        friends=seen,
    )
    return LiveList(
        row["entity_type"], row["generation"], row["model_version"] or "", cards, is_new,
        frozenset(position - 1 for position in row["hidden"]), movements(facts, events), friends,
    )  # fmt: skip


def check_person(row: Any) -> None:
    """Raises ProblemError, 404 or 410: the person is unknown (no row) or has left."""
    if row is None:
        raise unknown_person()
    if row["deleted"]:
        raise ProblemError(410, "account_deleted", "This account has been deleted.")
