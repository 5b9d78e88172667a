-- materialized: merge
-- owner: team:data
-- group: catalogue
-- description: How much every public catalogue entity is listened to, joined and followed in this
--   region. `popularity` (0 to 1) is the log of its heat relative to the hottest of its type,
--   where heat sums ln(1 + plays) over people and periods and halves every 30 days. `trending`
--   (0 to 1) compares the rate with a half-life of 3 days to that of 30 days: 0 is steady or
--   falling, 1 is all new; small numbers are drawn towards steady. `recency` (0 to 1) halves every
--   14 days since the entity was last played or entered the catalogue. All are rounded to four
--   places, so that one play does not rewrite the table.
-- unique: [entity_type, entity_id]
-- not_null: [plays, listeners, popularity, trending, recency]
-- accepted_values: {entity_type: [room, playlist, artist]}
-- touched: last_updated
with today as materialized (
    select (seda.clock() at time zone 'UTC')::date as day
),
-- A private playlist would tell of its owner, and everybody may read this table.
entities as (
    select 'artist' as entity_type, a.id as entity_id, a.created_at
    from seda.artists a
    where a.deleted_at is null
    union all
    select 'playlist', l.id, l.created_at
    from seda.playlists l
    where l.deleted_at is null and l.visibility = 'public'
    union all
    select 'room', r.id, r.created_at
    from seda.rooms r
    where r.deleted_at is null
),
-- Joining a room and following an artist are activity too: one play on the day it happened.
activity as (
    select c.user_id, c.entity_type, c.entity_id, c.plays, c.period
    from seda.activity_counts c
    union all
    select m.user_id, 'room', m.room_id, 1, (m.last_joined_at at time zone 'UTC')::date
    from seda.room_members m
    union all
    select f.user_id, 'artist', f.artist_id, 1, (f.created_at at time zone 'UTC')::date
    from seda.artist_follows f
),
-- Heat is counted in whole billionths: sums of integers do not depend on the order of the rows.
-- Beyond 20 half-lives it stays where it is, so that an old import still has an order.
by_listener as (
    select
        c.entity_type,
        c.entity_id,
        sum(c.plays)::bigint as plays,
        max(c.period) as last_period,
        sum((1e9::double precision * ln(1 + c.plays::double precision) * power(
            0.5::double precision,
            least(greatest(today.day - c.period, 0) / 30::double precision, 20)
        ))::bigint)::bigint as long_heat,
        sum((1e9::double precision * ln(1 + c.plays::double precision) * power(
            0.5::double precision,
            least(greatest(today.day - c.period, 0) / 3::double precision, 60)
        ))::bigint)::bigint as short_heat
    from activity c
    join seda.users u on u.id = c.user_id and u.deleted_at is null
    cross join today
    group by c.entity_type, c.entity_id, c.user_id
),
heat as (
    select
        b.entity_type,
        b.entity_id,
        sum(b.plays)::bigint as plays,
        count(*) as listeners,
        max(b.last_period) as last_period,
        sum(b.long_heat)::double precision as long_heat,
        -- As rates per day these two agree for anything that is played evenly.
        sum(b.long_heat)::double precision / 30 as long_rate,
        sum(b.short_heat)::double precision / 3 as short_rate
    from by_listener b
    group by b.entity_type, b.entity_id
),
scales as (
    select h.entity_type, max(h.long_heat) as hottest, avg(h.long_rate) as usual_rate
    from heat h
    group by h.entity_type
)
select
    e.entity_type,
    e.entity_id,
    coalesce(h.plays, 0) as plays,
    coalesce(h.listeners, 0) as listeners,
    round(coalesce(
        ln(1 + 30 * h.long_heat / s.hottest) / ln(31::double precision), 0
    )::numeric, 4)::double precision as popularity,
    round(coalesce(greatest(
        ln((h.short_rate + s.usual_rate) / (h.long_rate + s.usual_rate))
        / ln(10::double precision), 0
    ), 0)::numeric, 4)::double precision as trending,
    round(power(
        0.5::double precision,
        least(greatest(
            today.day - greatest(h.last_period, (e.created_at at time zone 'UTC')::date), 0
        ) / 14::double precision, 60)
    )::numeric, 4)::double precision as recency,
    seda.clock() as last_updated
from entities e
cross join today
left join heat h on h.entity_type = e.entity_type and h.entity_id = e.entity_id
left join scales s on s.entity_type = e.entity_type
