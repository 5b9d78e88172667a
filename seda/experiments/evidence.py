"""What a canary's arms were shown and made of it, summed up by the database.

An impression counts for the arm whose list it is of, and only if the person is assigned to that
arm; from the moment on at which the shard served the canary's first lists, so that both arms are
compared over the same time. Its answers are those of a day. Pages read again count once.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg

from seda.experiments.assignment import CANARY, CONTROL
from seda.experiments.gates import ArmFigures
from seda.experiments.sequential import RatioSums

# Compared as text: what a person's app sent is no uuid until somebody has checked it.
_SUMS = """
    with live as materialized (
        select shard, min(published_at) as since from seda.generations
        where experiment = %(experiment)s and published_at is not null group by shard
    ), shown as materialized (
        select i.user_id, i.arm, i.page_id, i.recommendation_id, i.entity_id::text as entity,
               i.shown_at
        from seda.impressions i
        join seda.generations g on g.generation = i.generation
        join live l on l.shard = g.shard and i.shown_at >= l.since
        where not i.again and i.shown_at >= (select min(since) from live)
          and i.shown_at <= %(until)s
          and i.arm = seda.arm_of(%(experiment)s, i.user_id, %(share)s)
    ), answers as materialized (
        select e.user_id, e.props ->> 'entity_id' as entity, e.event_type, e.created_at
        from seda.fact_events e
        where e.created_at >= (select min(since) from live) and e.created_at <= %(until)s
          and e.event_type in ('rec_click', 'listen_30s', 'track_skip', 'rec_dismiss')
    ), answered as (
        select s.user_id, s.arm,
               coalesce(bool_or(a.event_type = 'rec_click'), false)::int as clicked,
               coalesce(bool_or(a.event_type = 'listen_30s'), false)::int as listened,
               coalesce(bool_or(a.event_type = 'track_skip'), false)::int as skipped,
               coalesce(bool_or(a.event_type = 'rec_dismiss'), false)::int as dismissed,
               coalesce(bool_or(a.event_type <> 'rec_dismiss'), false)::int as opened
        from shown s left join answers a on a.user_id = s.user_id and a.entity = s.entity
            and a.created_at between s.shown_at and s.shown_at + interval '1 day'
        group by s.user_id, s.arm, s.page_id, s.recommendation_id
    ), people as (
        select arm, count(*)::float8 as n, sum(clicked)::float8 as c, sum(listened)::float8 as l,
               sum(skipped)::float8 as k, sum(dismissed)::float8 as d, sum(opened)::float8 as o
        from answered group by arm, user_id
    )
    select arm, count(*), sum(n)::int8,
           sum(c), sum(n), sum(c * c), sum(c * n), sum(n * n),
           sum(l), sum(o), sum(l * l), sum(l * o), sum(o * o),
           sum(k), sum(o), sum(k * k), sum(k * o), sum(o * o),
           sum(d), sum(n), sum(d * d), sum(d * n), sum(n * n)
    from people group by arm
"""
# Of tables that grew since they were analysed the planner expects few rows and would compare each
# impression with each answer.
_BY_HASH = "set local enable_nestloop = off"
_FIGURES = ("ctr", "listen_30s", "skips", "dismissals")
"""In the order of the statement's sums."""

# Of lists that the canary serves: whose nobody knows or somebody else's region has, who is not
# assigned to it, and who was gone already when they were made.
_LEAKS = """
    select count(*) from (
        select distinct c.user_id, c.generation, g.created_at
        from seda.generation_pointer p
        join seda.generations g on g.generation = p.generation and g.experiment = %(experiment)s
        join seda.mv_user_top_candidates c on c.generation = p.generation
            and c.entity_type = p.entity_type
        where p.arm = 'canary') c
    left join seda.users u on u.id = c.user_id
    where u.id is null or u.region <> seda.database_region()
       or seda.arm_of(%(experiment)s, c.user_id, %(share)s) <> 'canary'
       or u.deleted_at < c.created_at
       or exists (select from seda.tombstones t
                  where t.user_id = c.user_id and t.created_at < c.created_at)
"""


@dataclass(frozen=True, eq=False)
class Evidence:
    """The figures of both arms, and how many lists of the canary nobody may have."""

    control: ArmFigures
    canary: ArmFigures
    leaks: int


def load_evidence(
    connection: psycopg.Connection, experiment: str, share: float, *, until: Any
) -> Evidence:
    """All that the region's tables say of an experiment up to a moment; in a transaction that is
    for nothing else, as its plans are."""
    values = {"experiment": experiment, "share": share, "until": until}
    connection.execute(_BY_HASH)
    arms = {arm: _figures(*sums) for arm, *sums in connection.execute(_SUMS, values)}
    ((leaks,),) = connection.execute(_LEAKS, values).fetchall()
    nothing = _figures(0, 0, *[0.0] * (5 * len(_FIGURES)))
    return Evidence(arms.get(CONTROL, nothing), arms.get(CANARY, nothing), int(leaks))


def _figures(people: int, impressions: int, *sums: float) -> ArmFigures:
    each = np.array(sums, np.float64).reshape(len(_FIGURES), 5)
    count = np.float64(people)
    return ArmFigures(
        int(people), int(impressions),
        {name: RatioSums(np.asarray(count), *map(np.asarray, each[place]))
         for place, name in enumerate(_FIGURES)},
    )  # fmt: skip
