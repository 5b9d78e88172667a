-- materialized: merge
-- owner: team:data
-- group: kpis
-- description: Social lift: the click-through rate of rooms whose card said that friends are there
--   (numerator and denominator), relative to that of rooms whose card did not (base_numerator and
--   base_denominator), less one. It is no experiment: rooms with friends stand higher, and friends
--   are alike.
-- unique: [day, model_version, arm]
-- not_null: [numerator, denominator, base_numerator, base_denominator]
select
    i.day,
    i.model_version,
    i.arm,
    coalesce(sum(i.opened) filter (where i.with_friends), 0)::bigint as numerator,
    coalesce(sum(i.shown) filter (where i.with_friends), 0)::bigint as denominator,
    coalesce(sum(i.opened) filter (where not i.with_friends), 0)::bigint as base_numerator,
    coalesce(sum(i.shown) filter (where not i.with_friends), 0)::bigint as base_denominator
from seda.daily_impressions i
where i.entity_type = 'room'
group by i.day, i.model_version, i.arm
