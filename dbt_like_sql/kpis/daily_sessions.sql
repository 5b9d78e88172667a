-- materialized: incremental
-- event_time: day
-- lookback: 10
-- owner: team:data
-- group: kpis
-- description: Sessions by the day (UTC) on which they began, and by the model version and arm of
--   the first page shown in them ('none' where there was none). A session is what a person did, and
--   was shown, with less than 30 minutes between one thing and the next; it may go on over midnight.
--   It is active when in it they opened, listened to for 30 s or joined something that a page had
--   shown them within the day before.
-- unique: [day, model_version, arm]
-- not_null: [sessions, active]
with today as materialized (
    select
        ((seda.clock() at time zone 'UTC')::date - 9)::timestamp at time zone 'UTC' as since
),
-- A day more is read, so that a session that began before the first day is not taken for another.
moments as (
    select
        s.user_id, s.shown_at as happened_at, s.model_version, s.arm, false as active
    from seda.impression_pages s
    cross join today
    where s.shown_at >= today.since - interval '1 day' and s.shown_at <= seda.clock()
    union all
    select
        e.user_id, e.created_at, null, null,
        e.event_type in ('rec_click', 'listen_30s', 'room_join') and exists (
            select from seda.impression_pages p
            where p.user_id = e.user_id
                and p.shown_at <= e.created_at
                and p.shown_at > e.created_at - interval '1 day'
                and p.entity_type = e.props ->> 'entity_type'
                and e.props ->> 'entity_id' = any (p.entity_ids::text[])
        )
    from seda.fact_events e
    cross join today
    where e.created_at >= today.since - interval '1 day'
),
marked as (
    select
        m.user_id, m.happened_at, m.model_version, m.arm, m.active,
        case when m.happened_at - lag(m.happened_at) over (
            partition by m.user_id order by m.happened_at
        ) < interval '30 minutes' then 0 else 1 end as begins
    from moments m
),
numbered as (
    select
        k.user_id, k.happened_at, k.model_version, k.arm, k.active,
        sum(k.begins) over (
            partition by k.user_id order by k.happened_at rows unbounded preceding
        ) as session
    from marked k
),
sessions as (
    select
        min(n.happened_at) as began_at,
        (array_agg(n.model_version order by n.happened_at)
            filter (where n.model_version is not null))[1] as model_version,
        (array_agg(n.arm order by n.happened_at) filter (where n.arm is not null))[1] as arm,
        bool_or(n.active) as active
    from numbered n
    group by n.user_id, n.session
)
select
    (s.began_at at time zone 'UTC')::date as day,
    coalesce(s.model_version, 'none') as model_version,
    coalesce(s.arm, 'none') as arm,
    count(*) as sessions,
    count(*) filter (where s.active) as active
from sessions s
cross join today
where s.began_at >= today.since
group by 1, 2, 3
