-- materialized: merge
-- owner: team:data
-- group: activity
-- description: One row per living person. `listens` holds their 200 most played artists, most
--   played first, as {artist_id, plays, d7, d30, older}: plays of the last 7 days, of the 23 days
--   before those, and older ones, which add up to plays. `room_memberships` maps room_id to the
--   time of the last join (UTC), `follows` lists followed artists, newest first. Imported sources
--   are left out from the moment a person asks for their deletion.
-- unique: [user_id]
-- not_null: [listens, room_memberships, follows]
-- touched: last_updated
-- per: user
with today as materialized (
    select (seda.clock() at time zone 'UTC')::date as day
),
people as (
    select
        u.id as user_id,
        exists (
            select 1 from seda.tombstones t where t.user_id = u.id and t.purged_at is null
        ) as imports_withdrawn
    from seda.users u
    where u.deleted_at is null
)
-- One person at a time: their rows lie together in the primary key, so nothing large is sorted.
select
    p.user_id,
    coalesce((
        select jsonb_agg(
            jsonb_build_object(
                'artist_id', l.artist_id, 'plays', l.plays,
                'd7', l.d7, 'd30', l.d30, 'older', l.plays - l.d7 - l.d30
            ) order by l.plays desc, l.artist_id
        )
        from (
            select
                c.entity_id as artist_id,
                sum(c.plays)::bigint as plays,
                coalesce(sum(c.plays) filter (where c.period > today.day - 7), 0)::bigint as d7,
                coalesce(sum(c.plays) filter (
                    where c.period > today.day - 30 and c.period <= today.day - 7
                ), 0)::bigint as d30
            from seda.activity_counts c
            where c.user_id = p.user_id and c.entity_type = 'artist'
                and (c.source = 'seda' or not p.imports_withdrawn)
            group by c.entity_id
            order by plays desc, artist_id
            limit 200
        ) l
    ), '[]'::jsonb) as listens,
    coalesce((
        select jsonb_object_agg(
            m.room_id,
            to_char(m.last_joined_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
        )
        from seda.room_members m
        where m.user_id = p.user_id and (m.source = 'seda' or not p.imports_withdrawn)
    ), '{}'::jsonb) as room_memberships,
    coalesce((
        select jsonb_agg(f.artist_id order by f.created_at desc, f.artist_id)
        from seda.artist_follows f
        where f.user_id = p.user_id and (f.source = 'seda' or not p.imports_withdrawn)
    ), '[]'::jsonb) as follows,
    seda.clock() as last_updated
from people p
cross join today
