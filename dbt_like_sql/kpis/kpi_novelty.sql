-- materialized: merge
-- owner: team:data
-- group: kpis
-- goal: at least 0.3
-- description: Of all impressions of lists that were computed for the person, those of items that
--   were new to them then: never interacted with, not in a list of the last 14 days, and outside what
--   they mostly listen to.
-- unique: [day, model_version, arm]
-- not_null: [numerator, denominator]
select
    i.day,
    i.model_version,
    i.arm,
    sum(i.new)::bigint as numerator,
    sum(i.known_novelty)::bigint as denominator
from seda.daily_impressions i
group by i.day, i.model_version, i.arm
having sum(i.known_novelty) > 0
