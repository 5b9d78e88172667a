"""What thousands of people were shown in an experiment and made of it, written by SQL."""

from datetime import datetime, timedelta

from seda.database.regions import RegionalDatabase

SHOWN = 20

# Everybody was shown as much, on one page, of the list of their arm.
_PEOPLE = """
    insert into seda.users (id) select gen_random_uuid() from generate_series(1, %s)
"""
_PAGES = """
    insert into seda.impression_pages (id, user_id, entity_type, generation, model_version, arm,
        surface, shown_at, positions, recommendation_ids, entity_ids)
    select gen_random_uuid(), u.id, 'room', g.generation, g.model_version, g.arm, 'feed',
           %(shown)s, array(select generate_series(1, %(items)s)), new.ids, new.ids
    from seda.users u
    join seda.generations g on g.arm = seda.arm_of(%(experiment)s, u.id, %(share)s)
    cross join lateral (
        select array_agg(md5(u.id || ':' || place)::uuid) as ids
        from generate_series(1, %(items)s) place) new
    where g.generation in (%(control)s, %(canary)s)
"""
# So many of each arm's impressions are clicked, and three quarters of those listened to.
_CLICKS = """
    insert into seda.fact_events (event_id, user_id, event_type, props, created_at)
    select gen_random_uuid(), i.user_id, kind, jsonb_build_object('entity_id', i.entity_id),
           i.shown_at + interval '1 minute'
    from (select *, row_number() over (partition by arm order by entity_id) as n
          from seda.impressions) i
    cross join unnest(array['rec_click', 'listen_30s']) as kind
    where i.n %% 1000 < 1000 * case i.arm when 'canary' then %(canary_ctr)s else %(ctr)s end
      and (kind = 'rec_click' or i.n %% 4 <> 0)
"""


def traffic(
    database: RegionalDatabase, *, experiment: str, share: float, control: int, canary: int,
    people: int, ctr: float, canary_ctr: float, now: datetime,
) -> None:  # fmt: skip
    """`people` who were each shown SHOWN rooms of their arm's generation half an hour ago."""
    with database.transaction() as connection:
        connection.execute(_PEOPLE, [people])
        values = {
            "experiment": experiment, "share": share, "control": control, "canary": canary,
            "items": SHOWN, "shown": now - timedelta(minutes=30), "ctr": ctr,
            "canary_ctr": canary_ctr,
        }  # fmt: skip
        connection.execute(_PAGES, values)
        connection.execute(_CLICKS, values)
