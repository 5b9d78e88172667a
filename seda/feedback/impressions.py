"""What was shown, and what people made of it: the rows of `impressions` beside `fact_events`.

An impression is answered by an opening, a listen of thirty seconds or a join within a day. A page
that was read again within ten minutes was shown once.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from seda.activity.snapshot import RegionSnapshot, pair_matrices
from seda.database.copy import read_fixed
from seda.database.identifiers import IdIndex
from seda.database.regions import RegionalDatabase
from seda.recommender.feedback import LoggedImpressions
from seda.recommender.ranking import INPUTS

_ANSWERS = "event_type in ('rec_click', 'listen_30s', 'room_join')"
_SHOWN = """
    select user_id, entity_id, count(*)::float4,
           avg(extract(epoch from seda.clock() - shown_at) / 86400)::float4
    from seda.impressions
    where entity_type = '{kind}' and not again
      and shown_at > seda.clock() - interval '60 days'
    group by user_id, entity_id"""
# Compared as text: what a person's app sent is no uuid until somebody has checked it.
_ANSWERED = """
    select i.user_id, i.entity_id, 1::float4
    from (select distinct user_id, entity_id from seda.impressions
          where entity_type = '{kind}' and shown_at > seda.clock() - interval '60 days') i
    where exists (
        select from seda.fact_events e
        where e.user_id = i.user_id and e.{answers}
          and e.props ->> 'entity_id' = i.entity_id::text)"""
_BY_PLACE = """
    select entity_id, position, count(*)::float4, count(*) filter (where answered)::float4
    from (select i.entity_id, least(i.position, 50) as position, {answered} as answered
          from seda.impressions i
          where i.entity_type = '{kind}' and not i.again
            and i.shown_at > seda.clock() - interval '30 days') each
    group by entity_id, position"""

_MOST_LOGGED = 500_000
_ANSWERED_WITHIN_A_DAY = """exists (
               select from seda.fact_events e
               where e.user_id = i.user_id and e.{answers}
                 and e.props ->> 'entity_id' = i.entity_id::text
                 and e.created_at between i.shown_at and i.shown_at + interval '1 day')"""
_NEWEST = """(
        select * from seda.impressions
        where entity_type = '{kind}' and not again
          and shown_at > seda.clock() - interval '30 days'
          and array_length(features, 1) = {width} and array_position(features, null) is null
        order by shown_at desc limit {most})"""
_LOGGED = """
    select hashtextextended(i.user_id::text || ':' ||
               coalesce(i.request_id, i.shown_at::text), 0)::int8 as request,
           hashtextextended(i.user_id::text, 0)::int8, i.position::int8,
           greatest(i.propensity, 1e-9)::float8,
           (extract(epoch from i.shown_at) / 86400)::float8,
           {answered},
           {inputs}
    from {newest} i
    order by request, i.position"""
_COUNTED = "select count(*) from {newest} i where {answered}"


@dataclass(frozen=True, eq=False)
class Shown:
    """Impressions of the last 60 days of one type, CSR `(users, items)` float32.

    `counts`; `ages` in days, mean, with the same pattern; `answered` stores what was answered.
    """

    counts: sparse.csr_matrix
    ages: sparse.csr_matrix
    answered: sparse.csr_matrix

    def rows(self, chosen: slice) -> "Shown":
        """What some of the users were shown."""
        return Shown(self.counts[chosen], self.ages[chosen], self.answered[chosen])


def load_shown(database: RegionalDatabase, snapshot: RegionSnapshot, entity_type: str) -> Shown:
    """What a region's people were shown of one type."""
    indexes = (IdIndex(snapshot.user_ids), IdIndex(snapshot.entities[entity_type].ids))
    with database.transaction() as connection:
        counts, ages = pair_matrices(connection, _of(_SHOWN, entity_type), indexes, values=2)
        (answered,) = pair_matrices(connection, _of(_ANSWERED, entity_type), indexes, values=1)
    return Shown(counts, ages, answered)


@dataclass(frozen=True, eq=False)
class Responses:
    """Impressions of the last 30 days by item and place: `items` int32, `positions` int64 from 1
    (50 is "or later"), `shown` and `answered` float64, `(n,)` each."""

    items: np.ndarray
    positions: np.ndarray
    shown: np.ndarray
    answered: np.ndarray


def load_responses(
    database: RegionalDatabase, snapshot: RegionSnapshot, entity_type: str
) -> Responses:
    """How often a region's people answered each item, by where it stood."""
    with database.transaction() as connection:
        ids, positions, shown, answered = read_fixed(
            connection, _of(_BY_PLACE, entity_type), ["uuid", "int4", "float4", "float4"]
        )
    items = IdIndex(snapshot.entities[entity_type].ids).positions(ids)
    kept = items >= 0
    return Responses(
        items[kept].astype(np.int32),
        positions[kept].astype(np.int64),
        shown[kept].astype(np.float64),
        answered[kept].astype(np.float64),
    )


def load_logged(database: RegionalDatabase, entity_type: str) -> LoggedImpressions:
    """The newest impressions of the last 30 days, at most half a million.

    Only those whose `features` are as many as our inputs: another version's have other columns.
    """
    inputs = ", ".join(f"i.features[{place + 1}]::float4" for place in range(len(INPUTS)))
    query = _of(_LOGGED.replace("{inputs}", inputs), entity_type)
    kinds = ["int8", "int8", "int8", "float8", "float8", "bool", *["float4"] * len(INPUTS)]
    with database.transaction() as connection:
        requests, people, positions, propensities, days, answered, *columns = read_fixed(
            connection, query, kinds
        )
    return LoggedImpressions(
        np.column_stack(columns).astype(np.float32),
        answered.astype(bool),
        positions,
        propensities,
        days,
        requests,
        people,
    )


def count_answers(database: RegionalDatabase, entity_type: str) -> int:
    """How many of the impressions that `load_logged` gives were answered."""
    with database.transaction() as connection:
        row = connection.execute(_of(_COUNTED, entity_type)).fetchone()
    assert row is not None
    return int(row[0])


def _of(query: str, entity_type: str) -> str:
    query = query.replace("{newest}", _NEWEST).replace("{answered}", _ANSWERED_WITHIN_A_DAY)
    values = {"kind": entity_type, "answers": _ANSWERS, "width": len(INPUTS), "most": _MOST_LOGGED}
    for name, value in values.items():
        query = query.replace(f"{{{name}}}", str(value))
    return query
