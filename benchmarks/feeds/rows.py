"""The statements of the variants, all under the person's own role."""

# The stored cards of one type as they are: nothing live, nothing hidden. $1 type, $2 shards.
STORED = """
with me as materialized (
    select id, region, bucket from seda.users where auth_user_id = (select auth.uid())::text
)
select l.cards
from me
join seda.generation_pointer p on p.entity_type = $1 and p.arm = 'control'
    and p.shard = me.region || '-' || lpad((((me.bucket + 1) * $2::int - 1) / 64)::text, 2, '0')
cross join lateral (
    select c.cards from seda.mv_user_top_candidates c
    where c.generation = p.generation and c.user_id = me.id and c.entity_type = $1
) l
"""
# What is live of the person, with no list. $1 type, $2 shards, $3 now.
LIVE = "select * from seda.live_lists('authenticated', array[$1], '{}', $2, $3)"
# Rows → pydantic: a row per card, with suppressions. $1 type, $2 shards, $3 rows, $4 now.
ROWS = """
with me as materialized (
    select id, region, bucket from seda.users where auth_user_id = (select auth.uid())::text
)
select r.user_id, r.id, r.entity_type, r.entity_id, coalesce(a.name, '') as name, r.rank, r.score,
       (r.context -> 'reasons')::text as reasons, (r.context -> 'is_new')::boolean as is_new,
       r.model_version
from me
join seda.generation_pointer p on p.entity_type = $1 and p.arm = 'control'
    and p.shard = me.region || '-' || lpad((((me.bucket + 1) * $2::int - 1) / 64)::text, 2, '0')
cross join lateral (
    select * from seda.recommendations c
    where c.generation = p.generation and c.user_id = me.id and c.entity_type = $1
) r
left join seda.artists a on a.id = r.entity_id
where not exists (
    select from seda.suppressions s where s.user_id = me.id and s.entity_type = $1
      and s.entity_id = r.entity_id
      and (s.suppressed_until is null or s.suppressed_until > $4::timestamptz))
order by r.rank limit $3::int
"""
# The same with what live order asks of an item.
ROWS_WITH_GENRES = ROWS.replace(
    "r.model_version",
    """r.model_version, coalesce((select g.genre from seda.artist_genres g
       where g.artist_id = r.entity_id order by g.weight desc, g.genre limit 1), '') as genre""",
)
