"""Made-up pages and answers for the tour, by SQL: nobody in the sandbox opens an app.

    .venv/bin/python docs/data-team/traffic.py week     # eight days, on the lists that are served
    .venv/bin/python docs/data-team/traffic.py canary   # people open half as much of the canary's

The second is for lists of a canary that are served for ten seconds or more.
"""

import sys

from seda.cli.session import open_databases
from seda.sandbox.loading import refuse_production
from seda.settings import load_settings

# A number in [0, 1) that a text decides.
_CHANCE = """
    create or replace function pg_temp.chance(of text) returns float8 immutable language sql as
    $$ select ('x' || substr(md5(of), 1, 8))::bit(32)::bigint / 4294967296.0 $$
"""
# Every second day a person opens the app and sees the first twenty of each type.
_WEEK = """
    insert into seda.impression_pages (id, user_id, entity_type, generation, model_version, arm,
        surface, shown_at, positions, recommendation_ids, entity_ids, is_new, with_friends)
    select md5(v.person || c.entity_type)::uuid, c.user_id, c.entity_type, c.generation,
           g.model_version, 'control', 'feed', v.at, array(select generate_series(1, 20)),
           c.recommendation_ids[:20], c.entity_ids[:20], c.is_new[:20],
           case c.entity_type when 'room' then array(
               select pg_temp.chance(v.person || place) < 0.3
               from generate_series(1, 20) place) end
    from seda.generation_pointer p
    join seda.generations g using (generation)
    join seda.mv_user_top_candidates c using (generation, entity_type)
    cross join lateral (
        select person, current_date - day + interval '7 hours' + pg_temp.chance(person || 'hour')
            * interval '16 hours' as at
        from generate_series(1, 8) day, lateral (select c.user_id || ':' || day as person) named
    ) v
    where p.arm = 'control' and cardinality(c.entity_ids) >= 20
      and pg_temp.chance(v.person || 'comes') < 0.5
"""
# Every third visit is one in which something is opened; what is not heard out may be skipped.
_ANSWERS_OF_THE_WEEK = """
    insert into seda.fact_events (event_id, user_id, event_type, props, created_at)
    select gen_random_uuid(), i.user_id, kind, jsonb_build_object('entity_type', i.entity_type,
           'entity_id', i.entity_id), i.shown_at + interval '2 minutes'
    from (select *, pg_temp.chance(page_id || ':' || entity_id) as luck,
                 pg_temp.chance(entity_id || ':' || page_id) as heard
          from seda.impressions) i
    cross join unnest(array['rec_click', 'listen_30s', 'track_skip', 'rec_dismiss']) as kind
    where pg_temp.chance(i.user_id || ':' || i.shown_at::date) < 0.3
      and case kind when 'rec_click' then i.luck < 0.06
          when 'listen_30s' then i.luck < 0.06 and i.heard < 0.76
          when 'track_skip' then i.luck < 0.06 and i.heard > 0.83
          else i.luck > 0.996 end
"""
# Both arms see their whole lists eight times: an arm of few people is judged by impressions, too.
_CANARY = """
    insert into seda.impression_pages (id, user_id, entity_type, generation, model_version, arm,
        surface, shown_at, positions, recommendation_ids, entity_ids, is_new)
    select md5(c.user_id || c.entity_type || c.generation || first || page)::uuid, c.user_id,
           c.entity_type, c.generation, g.model_version, p.arm, 'feed',
           clock_timestamp() - interval '9 seconds' + page * interval '1 second',
           array(select generate_series(first, first + cardinality(c.entity_ids[first:last]) - 1)),
           c.recommendation_ids[first:last], c.entity_ids[first:last], c.is_new[first:last]
    from seda.experiments e
    join seda.generation_pointer p on e.serving
    join seda.generations g using (generation)
    join seda.mv_user_top_candidates c using (generation, entity_type)
    cross join (values (1, 20), (21, 40), (41, 50)) as part(first, last)
    cross join generate_series(0, 7) page
    where p.arm = seda.arm_of(e.name, c.user_id, e.share)
      and cardinality(c.entity_ids) >= first
"""
_ANSWERS_OF_THE_ARMS = """
    insert into seda.fact_events (event_id, user_id, event_type, props, created_at)
    select gen_random_uuid(), i.user_id, kind, jsonb_build_object('entity_type', i.entity_type,
           'entity_id', i.entity_id), clock_timestamp()
    from (select distinct on (i.user_id, i.entity_type, i.entity_id) i.*,
                 dense_rank() over (partition by i.user_id order by i.entity_id) as n
          from seda.impressions i
          where i.generation in (select generation from seda.generation_pointer)
            and i.shown_at > clock_timestamp() - interval '1 minute') i
    cross join unnest(array['rec_click', 'listen_30s']) as kind
    where i.n % 20 < case i.arm when 'canary' then 1 else 2 end
      and (kind = 'rec_click' or i.n / 20 % 4 <> 3)
"""


_STATEMENTS = {
    "week": (_WEEK, _ANSWERS_OF_THE_WEEK),
    "canary": (_CANARY, _ANSWERS_OF_THE_ARMS),
}


def main(what: str) -> None:
    settings = load_settings()
    refuse_production(settings, "traffic.py")
    with open_databases(settings) as databases:
        for database in databases:
            with database.transaction() as connection:
                for statement in (_CHANCE, *_STATEMENTS[what]):
                    connection.execute(statement)


if __name__ == "__main__":
    main(sys.argv[1])
