"""Reads one page of a fall-back list: what trends in the person's genres, or everywhere.

One prepared statement under row security. These lists have no generation and change under a
reader's hands every hour, so a cursor carries what was seen.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from seda.publishing.cards import Reason, card_json, recommendation_id
from serving.cursors import SEEN_HEAD, Source
from serving.lists import Item, Origin, Page, check_person
from serving.presence import room_block

MOST_SEEN = 200
"""Entities that a cursor remembers; after them it goes on by position alone."""

# Base positions interleave the types: all first places in the order of $1, then all second ones.
# $1 types, $2 the person's genres (false) or everywhere (true), $3 first position, $4 rows, $5 now,
# $6 heads of the ids of what was seen, $7 their length
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
    where i.key >= $3::bigint and left(i.entity_id::text, $7::int) <> all ($6::text[])
      and not exists (
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


async def fall_back_page(
    connection: asyncpg.Connection,
    source: Source,
    entity_types: tuple[str, ...],
    *,
    start: int,
    seen: tuple[str, ...],
    size: int,
    now: datetime,
) -> tuple[Page, int]:
    """A page of at most `size` items from position `start` without what was seen, and the position
    of the item after it.

    Raises:
        ProblemError: 404 or 410, the person is unknown or has left.
        asyncpg.PostgresError: the statement failed or took too long.
    """
    found = await connection.fetch(
        _FALL_BACK, entity_types, source is Source.TRENDING, start, size + 1, now, seen, SEEN_HEAD
    )
    check_person(found[0] if found else None)
    listed = [row for row in found if row["key"] is not None]
    items = tuple(_item(row, source) for row in listed[:size])
    more = len(listed) > size
    page = Page(found[0]["user_id"], source, items, more, found[0]["available"])
    return page, listed[size]["key"] if more else 0


def _item(row: Any, source: Source) -> Item:
    if source is Source.TRENDING:
        reason, version = Reason("popular", "Trending everywhere"), "trending"
    else:
        reason, version = Reason("trending_in", f"Trending in {row['genre']}"), "genre-top"
    user_id, entity_id = UUID(int=row["user_id"].int), UUID(int=row["entity_id"].int)
    id = UUID(bytes=recommendation_id(user_id.bytes, row["entity_type"], entity_id.bytes))
    card = card_json(
        id=id,
        entity_type=row["entity_type"],
        entity_id=entity_id,
        name=row["name"],
        score=min(max(row["score"], 0.0), 1.0),
        reasons=(reason,),
        is_new=True,
        model_version=version,
    ).decode()
    social = room_block(row["friend_count"], row["friends"], card)
    origin = Origin(row["entity_type"], None, version)
    return Item(card, social, str(id), str(entity_id), None, origin)
