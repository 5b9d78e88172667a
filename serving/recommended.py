"""Which entity a recommendation's id stands for, for the person that it was made for.

Ids are UUIDv5 of person, type and entity. They are looked for where they are written down (every
generation that is kept, impressions of 30 days), then among what the person could have been shown
without being on record: the fall-back lists, and what they suppressed.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from seda.publishing.cards import recommendation_id
from serving.listener import Listener
from serving.problems import ProblemError
from serving.services import Services

KEPT = timedelta(days=30)

# limit 1 keeps the lookup in the partitioned table a parameterised one, pruned to one partition.
# $1 recommendation, $2 shards of the region, $3 shown after
_ON_RECORD = """
with me as materialized (
    select id, region || '-' || lpad((((bucket + 1) * $2::int - 1) / 64)::text, 2, '0') as shard
    from seda.users where auth_user_id = (select auth.uid())::text
), published as (
    select r.entity_type, r.entity_id from me
    join seda.generations g on g.shard = me.shard and g.state in ('published', 'superseded')
    cross join lateral (
        select c.entity_type, c.entity_id from seda.recommendations c
        where c.generation = g.generation and c.user_id = me.id and c.id = $1 limit 1
    ) r
    limit 1
)
select entity_type, entity_id from published
union all
(select i.entity_type, i.entity_ids[array_position(i.recommendation_ids, $1)]
 from seda.impression_pages i
 where i.user_id = (select id from me) and i.shown_at > $3::timestamptz
   and $1 = any (i.recommendation_ids) and not exists (select from published)
 limit 1)
"""
_CANDIDATES = """
with me as materialized (
    select id, preferences from seda.users where auth_user_id = (select auth.uid())::text
)
select s.entity_type, s.entity_id from seda.suppressions s where s.user_id = (select id from me)
union
select g.entity_type, g.entity_id from seda.genre_top_entities g
where g.genre = '*'
   or g.genre in (select jsonb_array_elements_text(case jsonb_typeof(preferences -> 'genres')
                      when 'array' then preferences -> 'genres' else '[]' end) from me)
   or g.genre in (select unnest(p.top_genres) from seda.user_profiles p
                  where p.user_id = (select id from me))
"""


@dataclass(frozen=True, slots=True)
class Recommended:
    """What was recommended."""

    entity_type: str
    entity_id: UUID


async def recommended(
    services: Services, listener: Listener, id: UUID, now: datetime
) -> Recommended:
    """The entity of one of the person's own recommendations.

    Raises:
        ProblemError: 404, it is not theirs, or was not shown in the last 30 days.
    """
    shards = services.shards[listener.region]
    row = await listener.connection.fetchrow(_ON_RECORD, id, shards, now - KEPT)
    if row is not None:
        return Recommended(row["entity_type"], UUID(int=row["entity_id"].int))
    for row in await listener.connection.fetch(_CANDIDATES):
        entity_id = row["entity_id"].bytes
        if recommendation_id(listener.user_id.bytes, row["entity_type"], entity_id) == id.bytes:
            return Recommended(row["entity_type"], UUID(bytes=entity_id))
    raise ProblemError(
        404,
        "unknown_recommendation",
        "There is no such recommendation of yours: ids are kept for 30 days after they are shown.",
    )
