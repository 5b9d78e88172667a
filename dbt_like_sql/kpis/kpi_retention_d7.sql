-- materialized: incremental
-- event_time: day
-- lookback: 16
-- owner: team:data
-- group: kpis
-- description: D7 retention: of all people who joined on a day (UTC), those who were shown a page or
--   did something on the seventh day after it, neither sooner nor later. By the model version and arm
--   of the first page that they were shown on their first day ('none' where there was none).
-- unique: [day, model_version, arm]
-- not_null: [numerator, denominator]
with today as materialized (
    select (seda.clock() at time zone 'UTC')::date as day
),
-- The seventh day is over, and what apps held back for up to seven days has still its effect.
joined as (
    select
        u.id as user_id,
        (u.created_at at time zone 'UTC')::date as day,
        ((u.created_at at time zone 'UTC')::date + 1)::timestamp at time zone 'UTC' as day_ends,
        ((u.created_at at time zone 'UTC')::date + 7)::timestamp at time zone 'UTC' as seventh,
        ((u.created_at at time zone 'UTC')::date + 8)::timestamp at time zone 'UTC' as seventh_ends
    from seda.users u
    cross join today
    where (u.created_at at time zone 'UTC')::date > today.day - 16
        and (u.created_at at time zone 'UTC')::date < today.day - 7
)
select
    j.day,
    coalesce(f.model_version, 'none') as model_version,
    coalesce(f.arm, 'none') as arm,
    count(*) filter (
        where exists (
            select from seda.impression_pages p
            where p.user_id = j.user_id and p.shown_at >= j.seventh and p.shown_at < j.seventh_ends
        ) or exists (
            select from seda.fact_events e
            where e.user_id = j.user_id
                and e.created_at >= j.seventh and e.created_at < j.seventh_ends
        )
    ) as numerator,
    count(*) as denominator
from joined j
left join lateral (
    select s.model_version, s.arm
    from seda.impression_pages s
    where s.user_id = j.user_id and s.shown_at < j.day_ends
    order by s.shown_at, s.id
    limit 1
) f on true
group by 1, 2, 3
