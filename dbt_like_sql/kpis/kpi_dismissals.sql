-- materialized: merge
-- owner: team:data
-- group: kpis
-- description: Dismiss rate: of all impressions, those that the person dismissed within a day and
--   did not take back.
-- unique: [day, model_version, arm]
-- not_null: [numerator, denominator]
select
    i.day,
    i.model_version,
    i.arm,
    sum(i.dismissed)::bigint as numerator,
    sum(i.shown)::bigint as denominator
from seda.daily_impressions i
group by i.day, i.model_version, i.arm
having sum(i.shown) > 0
