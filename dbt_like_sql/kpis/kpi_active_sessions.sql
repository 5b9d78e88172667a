-- materialized: merge
-- owner: team:data
-- group: kpis
-- goal: at least 0.2
-- description: Of all sessions that began on a day, those with recommendation activity: in which a
--   person opened, listened to for 30 s or joined something that they had been shown.
-- unique: [day, model_version, arm]
-- not_null: [numerator, denominator]
select
    s.day,
    s.model_version,
    s.arm,
    s.active as numerator,
    s.sessions as denominator
from seda.daily_sessions s
