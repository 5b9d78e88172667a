"""Reads one page of a list for one person: the published personal list, or a fall-back list.

Each page is one prepared statement, run under row security. Suppressions and presence are live
tables joined here; cards come out as the stored bytes.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from seda.publishing.cards import Reason, card_json, recommendation_id
from serving.cursors import Source
from serving.presence import room_block
from serving.problems import ProblemError
from serving.session import unknown_person

# Base positions interleave the types: all first places in the order of $1, then all second ones.
# limit 1 keeps the lookup in the partitioned table a parameterised one, pruned to one partition.
# $1 types, $2 generations (null: what is served now), $3 shards of the region, $4 first position,
# $5 rows, $6 now
_PERSONAL = """
with me as materialized (
    select id, region, bucket, deleted_at from seda.users
    where auth_user_id = (select auth.uid())::text
), wanted as (
    select * from unnest($1::text[], $2::bigint[]) with ordinality
        as each(entity_type, generation, place)
), lists as materialized (
    select w.place, w.entity_type, c.* from me cross join wanted w
    left join seda.generation_pointer p
        on w.generation is null and p.entity_type = w.entity_type and p.arm = 'control'
        and p.shard = me.region || '-'
            || lpad((((me.bucket + 1) * $3::int - 1) / 64)::text, 2, '0')
    left join lateral (
        select m.generation, m.entity_ids, m.cards, m.expires_at
        from seda.mv_user_top_candidates m
        where m.generation = coalesce(w.generation, p.generation)
          and m.user_id = me.id and m.entity_type = w.entity_type
        limit 1
    ) c on true
), items as materialized (
    select each.key, l.entity_type, each.entity_id, each.card
    from lists l cross join lateral (
        select (u.position - 1) * cardinality($1) + l.place - 1 as key, u.entity_id, u.card
        from unnest(l.entity_ids, l.cards) with ordinality as u(entity_id, card, position)
    ) each
    where each.key >= $4::bigint and not exists (
        select from seda.suppressions s
        where s.user_id = (select id from me) and s.entity_type = l.entity_type
          and s.entity_id = each.entity_id
          and (s.suppressed_until is null or s.suppressed_until > $6::timestamptz))
    order by each.key limit $5::int
), present as materialized (
    select * from seda.friends_presence(
        array(select entity_id from items where entity_type = 'room'))
)
select me.id as user_id, me.deleted_at is not null as deleted, header.*, page.*
from me cross join lateral (
    select array_agg(coalesce(generation, 0) order by place) as generations,
           min(expires_at) as expires_at
    from lists
) header cross join lateral (
    select array_agg(i.key order by i.key) as keys,
           array_agg(i.card order by i.key) as cards,
           array_agg(p.friend_count order by i.key) as friend_counts,
           array_agg(p.friends order by i.key) as friends
    from items i left join present p on p.room_id = i.entity_id and i.entity_type = 'room'
) page
"""

# $1 types, $2 the person's genres (false) or everywhere (true), $3 first position, $4 rows, $5 now
_FALL_BACK = """
with me as materialized (
    select u.id, u.deleted_at, case when $2::boolean then array['*'] else coalesce(
        nullif(array(select jsonb_array_elements_text(
            case jsonb_typeof(u.preferences -> 'genres')
                when 'array' then u.preferences -> 'genres' else '[]' end)), '{}'),
        (select p.top_genres from seda.user_profiles p where p.user_id = u.id),
        '{}') end as genres
    from seda.users u where u.auth_user_id = (select auth.uid())::text
), wanted as (
    select * from unnest($1::text[]) with ordinality as each(entity_type, place)
), candidates as (
    select distinct on (g.entity_type, g.entity_id)
           w.place, g.entity_type, g.entity_id, g.name, g.score, g.genre, g.rank, liked.liking
    from me cross join lateral unnest(me.genres) with ordinality as liked(genre, liking)
    join seda.genre_top_entities g on g.genre = liked.genre
    join wanted w on w.entity_type = g.entity_type
    where g.entity_type <> 'playlist' or g.entity_id not in (select seda.own_playlist_ids())
    order by g.entity_type, g.entity_id, g.rank, liked.liking
), placed as materialized (
    select c.*, (row_number() over (partition by entity_type
        order by rank, liking, entity_id) - 1) * cardinality($1) + place - 1 as key
    from candidates c
), items as materialized (
    select i.* from placed i
    where i.key >= $3::bigint and not exists (
        select from seda.suppressions s
        where s.user_id = (select id from me) and s.entity_type = i.entity_type
          and s.entity_id = i.entity_id
          and (s.suppressed_until is null or s.suppressed_until > $5::timestamptz))
    order by i.key limit $4::int
), present as materialized (
    select * from seda.friends_presence(
        array(select entity_id from items where entity_type = 'room'))
)
select me.id as user_id, me.deleted_at is not null as deleted,
       exists (select from placed) as available, i.key, i.entity_type, i.entity_id, i.name,
       i.score, i.genre, p.friend_count, p.friends
from me left join items i on true
left join present p on p.room_id = i.entity_id and i.entity_type = 'room'
order by i.key
"""


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a page: its base position, stored card and live social block (JSON)."""

    key: int
    card: str
    social: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """Items in order, one more than asked for when there is a next page.

    `generations` has one number per type, 0 where that type has no list; it is empty for the lists
    that have no generations. `available` says whether there is a list at all.
    """

    source: Source
    items: tuple[Item, ...]
    generations: tuple[int, ...]
    available: bool


async def personal_page(
    connection: asyncpg.Connection,
    entity_types: tuple[str, ...],
    generations: tuple[int, ...] | None,
    *,
    shards: int,
    start: int,
    rows: int,
    now: datetime,
) -> Page:
    """A page of the person's published lists, of these generations or of what is served now.

    Raises:
        ProblemError: 404 or 410, the person is unknown or has left.
        asyncpg.PostgresError: the statement failed or took too long.
    """
    wanted = generations or (None,) * len(entity_types)
    row = await connection.fetchrow(_PERSONAL, entity_types, wanted, shards, start, rows, now)
    _check_person(row)
    served = tuple(row["generations"])
    stale = row["expires_at"] is not None and row["expires_at"] <= now
    columns = (row["keys"], row["cards"], row["friend_counts"], row["friends"])
    items = tuple(
        Item(key, card, room_block(count, friends, card))
        for key, card, count, friends in zip(*(each or () for each in columns), strict=True)
    )
    return Page(Source.STALE if stale else Source.PERSONAL, items, served, any(served))


async def fall_back_page(
    connection: asyncpg.Connection,
    source: Source,
    entity_types: tuple[str, ...],
    *,
    start: int,
    rows: int,
    now: datetime,
) -> Page:
    """A page of what trends in the person's genres, or everywhere.

    Raises:
        ProblemError: 404 or 410, the person is unknown or has left.
        asyncpg.PostgresError: the statement failed or took too long.
    """
    everywhere = source is Source.TRENDING
    found = await connection.fetch(_FALL_BACK, entity_types, everywhere, start, rows, now)
    _check_person(found[0] if found else None)
    items = tuple(_fall_back_item(row, source) for row in found if row["key"] is not None)
    return Page(source, items, (), found[0]["available"])


def _fall_back_item(row: Any, source: Source) -> Item:
    if source is Source.TRENDING:
        reason, version = Reason("popular", "Trending everywhere"), "trending"
    else:
        reason, version = Reason("trending_in", f"Trending in {row['genre']}"), "genre-top"
    user_id, entity_id = UUID(int=row["user_id"].int), UUID(int=row["entity_id"].int)
    card = card_json(
        id=UUID(bytes=recommendation_id(user_id.bytes, row["entity_type"], entity_id.bytes)),
        entity_type=row["entity_type"],
        entity_id=entity_id,
        name=row["name"],
        score=min(max(row["score"], 0.0), 1.0),
        reasons=(reason,),
        is_new=True,
        model_version=version,
    ).decode()
    return Item(row["key"], card, room_block(row["friend_count"], row["friends"], card))


def _check_person(row: Any) -> None:
    if row is None:
        raise unknown_person()
    if row["deleted"]:
        raise ProblemError(410, "account_deleted", "This account has been deleted.")
