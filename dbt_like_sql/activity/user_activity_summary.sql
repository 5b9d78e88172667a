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
),
listened as (
    select
        c.user_id,
        c.entity_id as artist_id,
        sum(c.plays)::bigint as plays,
        coalesce(sum(c.plays) filter (where c.period > today.day - 7), 0)::bigint as d7,
        coalesce(sum(c.plays) filter (
            where c.period > today.day - 30 and c.period <= today.day - 7
        ), 0)::bigint as d30
    from seda.activity_counts c
    join people p on p.user_id = c.user_id
    cross join today
    where c.entity_type = 'artist' and (c.source = 'seda' or not p.imports_withdrawn)
    group by c.user_id, c.entity_id
),
ranked as (
    select
        l.user_id, l.artist_id, l.plays, l.d7, l.d30,
        row_number() over (partition by l.user_id order by l.plays desc, l.artist_id) as place
    from listened l
),
listens as (
    select
        r.user_id,
        jsonb_agg(
            jsonb_build_object(
                'artist_id', r.artist_id, 'plays', r.plays,
                'd7', r.d7, 'd30', r.d30, 'older', r.plays - r.d7 - r.d30
            ) order by r.place
        ) as entries
    from ranked r
    where r.place <= 200
    group by r.user_id
),
memberships as (
    select
        m.user_id,
        jsonb_object_agg(
            m.room_id,
            to_char(m.last_joined_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
        ) as entries
    from seda.room_members m
    join people p on p.user_id = m.user_id
    where m.source = 'seda' or not p.imports_withdrawn
    group by m.user_id
),
follows as (
    select f.user_id, jsonb_agg(f.artist_id order by f.created_at desc, f.artist_id) as entries
    from seda.artist_follows f
    join people p on p.user_id = f.user_id
    where f.source = 'seda' or not p.imports_withdrawn
    group by f.user_id
)
select
    p.user_id,
    coalesce(l.entries, '[]'::jsonb) as listens,
    coalesce(m.entries, '{}'::jsonb) as room_memberships,
    coalesce(f.entries, '[]'::jsonb) as follows,
    seda.clock() as last_updated
from people p
left join listens l on l.user_id = p.user_id
left join memberships m on m.user_id = p.user_id
left join follows f on f.user_id = p.user_id
