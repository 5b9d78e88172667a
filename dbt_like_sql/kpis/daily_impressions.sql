-- materialized: incremental
-- event_time: day
-- lookback: 10
-- owner: team:data
-- group: kpis
-- description: What was shown on a day (UTC), by model version, arm, type of entity and whether the
--   card said that friends are there, and what became of it. An impression is one item of one page;
--   a page that is read again within ten minutes is shown once. What a person does with an item
--   within a day counts for the newest impression of it before, however often they do it: opened
--   (rec_click), listened (listen_30s), skipped (track_skip without having listened for 30 s), tried
--   (any of these or room_join), dismissed (rec_dismiss that was not undone). new are the items that
--   were new to the person when the list was made, of those of which it is known (known_novelty).
-- unique: [day, model_version, arm, entity_type, with_friends]
-- not_null: [shown, known_novelty, new, opened, tried, listened, skipped, dismissed]
-- accepted_values: {entity_type: [room, playlist, artist]}
with today as materialized (
    select
        ((seda.clock() at time zone 'UTC')::date - 9)::timestamp at time zone 'UTC' as since
),
shown as (
    select
        (s.shown_at at time zone 'UTC')::date as day,
        s.model_version, s.arm, s.entity_type,
        coalesce(i.with_friends, false) as with_friends,
        count(*) as shown,
        count(i.is_new) as known_novelty,
        count(*) filter (where i.is_new) as new
    from seda.impression_pages s
    cross join today
    cross join lateral unnest(s.entity_ids, s.is_new, s.with_friends)
        as i(entity_id, is_new, with_friends)
    where s.shown_at >= today.since and s.shown_at <= seda.clock() and not s.again
    group by 1, 2, 3, 4, 5
),
-- Events are few and impressions many: each event looks for its own. What an app sent that is no id
-- is about nothing that was shown.
events as materialized (
    select
        e.user_id, e.event_type, e.created_at,
        e.props ->> 'entity_type' as entity_type,
        (e.props ->> 'entity_id')::uuid as entity_id
    from seda.fact_events e
    cross join today
    where e.created_at >= today.since
        and e.props ->> 'entity_id' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
),
answers as (
    select
        p.day, p.model_version, p.arm, p.entity_type, p.with_friends,
        p.page_id, e.entity_id,
        bool_or(e.event_type = 'rec_click') as opened,
        bool_or(e.event_type = 'listen_30s') as listened,
        bool_or(e.event_type = 'track_skip') as skipped,
        bool_or(e.event_type <> 'rec_dismiss') as tried,
        bool_or(e.event_type = 'rec_dismiss') as dismissed
    from events e
    cross join lateral (
        select
            s.id as page_id,
            (s.shown_at at time zone 'UTC')::date as day,
            s.model_version, s.arm, s.entity_type,
            coalesce(
                s.with_friends[array_position(s.entity_ids, e.entity_id)], false
            ) as with_friends
        from seda.impression_pages s
        cross join today
        where s.user_id = e.user_id and not s.again
            and s.shown_at <= e.created_at
            and s.shown_at > e.created_at - interval '1 day'
            and s.shown_at >= today.since
            and s.entity_type = e.entity_type and e.entity_id = any (s.entity_ids)
        order by s.shown_at desc, s.id desc
        limit 1
    ) p
    group by 1, 2, 3, 4, 5, 6, 7
),
answered as (
    select
        a.day, a.model_version, a.arm, a.entity_type, a.with_friends,
        count(*) filter (where a.opened) as opened,
        count(*) filter (where a.tried) as tried,
        count(*) filter (where a.listened) as listened,
        count(*) filter (where a.skipped and not a.listened) as skipped,
        count(*) filter (where a.dismissed) as dismissed
    from answers a
    group by 1, 2, 3, 4, 5
)
select
    s.day,
    s.model_version,
    s.arm,
    s.entity_type,
    s.with_friends,
    s.shown,
    s.known_novelty,
    s.new,
    coalesce(a.opened, 0) as opened,
    coalesce(a.tried, 0) as tried,
    coalesce(a.listened, 0) as listened,
    coalesce(a.skipped, 0) as skipped,
    coalesce(a.dismissed, 0) as dismissed
from shown s
left join answered a
    on a.day = s.day and a.model_version = s.model_version and a.arm = s.arm
    and a.entity_type = s.entity_type and a.with_friends = s.with_friends
