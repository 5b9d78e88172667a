-- materialized: merge
-- owner: team:data
-- group: kpis
-- description: Click-through rate: of all impressions, those that the person opened within a day.
--   A click counts for the newest impression before it, several clicks on one impression count once,
--   and a page that is read again within ten minutes was shown once.
-- unique: [day, model_version, arm]
-- not_null: [numerator, denominator]
select
    i.day,
    i.model_version,
    i.arm,
    sum(i.opened)::bigint as numerator,
    sum(i.shown)::bigint as denominator
from seda.daily_impressions i
group by i.day, i.model_version, i.arm
having sum(i.shown) > 0
