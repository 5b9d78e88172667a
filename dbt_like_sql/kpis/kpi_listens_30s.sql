-- materialized: merge
-- owner: team:data
-- group: kpis
-- goal: at least 0.7
-- description: Of all impressions that a person tried (opened, joined, played or skipped) within a
--   day, those that they listened to for 30 seconds.
-- unique: [day, model_version, arm]
-- not_null: [numerator, denominator]
select
    i.day,
    i.model_version,
    i.arm,
    sum(i.listened)::bigint as numerator,
    sum(i.tried)::bigint as denominator
from seda.daily_impressions i
group by i.day, i.model_version, i.arm
having sum(i.tried) > 0
