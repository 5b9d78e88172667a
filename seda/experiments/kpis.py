"""Online KPIs: what each says, what is wanted of it, and what the last days came to.

A KPI is a model `dbt_like_sql/kpis/kpi_*.sql`: its description is the definition, its goal what an
operator wants, its rows numerators and denominators by day, model version and arm. Shares are made
here, of sums over days: a mean of daily shares would count a quiet day like a busy one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Final

import psycopg
from psycopg import sql

from seda.database.sql_models import SqlModel

LAYER: Final = "kpis"
DAYS: Final = 7
"""Complete days (UTC) that a KPI is told of, unless another number is asked for."""
FEWEST: Final = 100
"""Denominators below this are too few to say whether a goal is met."""
_PREFIX: Final = "kpi_"
_DELAYS: Final = {"retention_d7": 7}


class KpiStatus(StrEnum):
    """How a KPI stands to its goal."""

    MET = "met"
    MISSED = "missed"
    WATCHED = "watched"
    """It has no goal."""
    TOO_FEW = "too few"
    NO_DATA = "no data"


@dataclass(frozen=True, slots=True)
class Goal:
    """A share that a KPI should be at least, or at most."""

    at_least: bool
    share: float

    def is_met(self, value: float) -> bool:
        """Whether the value is on the right side; the goal itself is."""
        return value >= self.share if self.at_least else value <= self.share

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.share:.0%}"


@dataclass(frozen=True, slots=True)
class Kpi:
    """One KPI. `is_lift`: it compares two shares. `delay`: how many days after a day its row of
    that day can exist."""

    name: str
    relation: str
    definition: str
    goal: Goal | None
    is_lift: bool
    delay: int

    @property
    def title(self) -> str:
        """Its name as people read it."""
        return self.name.replace("_", " ")


@dataclass(frozen=True, slots=True)
class Counts:
    """What a KPI is made of: a fraction, and for a lift the fraction that it is compared with."""

    numerator: int
    denominator: int
    base_numerator: int = 0
    base_denominator: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.numerator + other.numerator,
            self.denominator + other.denominator,
            self.base_numerator + other.base_numerator,
            self.base_denominator + other.base_denominator,
        )


@dataclass(frozen=True, slots=True)
class KpiRow:
    """The counts of one KPI on one day, of one model version and arm."""

    kpi: str
    day: date
    model_version: str
    arm: str
    counts: Counts


@dataclass(frozen=True, slots=True)
class Reading:
    """A KPI over some days; `value` is a share, or a relative difference of shares, or nothing
    where there is nothing to divide by."""

    kpi: Kpi
    counts: Counts
    value: float | None
    status: KpiStatus


def kpis_of(models: Mapping[str, SqlModel]) -> tuple[Kpi, ...]:
    """The KPIs among SQL models, those with a goal first."""
    found = [_kpi(model) for name, model in models.items() if _is_kpi(model, name)]
    return tuple(sorted(found, key=lambda kpi: (kpi.goal is None, kpi.name)))


def read_rows(
    connection: psycopg.Connection, kpis: Iterable[Kpi], *, today: date, days: int = DAYS
) -> list[KpiRow]:
    """The rows of the last complete days of each KPI, in the order of days."""
    return [row for kpi in kpis for row in _rows(connection, kpi, today, days)]


def readings(kpis: Sequence[Kpi], rows: Iterable[KpiRow], *, fewest: int = FEWEST) -> list[Reading]:
    """Each KPI over all of these rows."""
    sums = {kpi.name: Counts(0, 0) for kpi in kpis}
    for row in rows:
        sums[row.kpi] += row.counts
    return [_reading(kpi, sums[kpi.name], fewest) for kpi in kpis]


def value_of(kpi: Kpi, counts: Counts) -> float | None:
    """The KPI's value, or none: a share of nothing, or a difference from a share of zero."""
    if not counts.denominator:
        return None
    share = counts.numerator / counts.denominator
    if not kpi.is_lift:
        return share
    if not counts.base_numerator:
        return None
    return share / (counts.base_numerator / counts.base_denominator) - 1


def shown_value(reading: Reading) -> str:
    """The value as people read it."""
    if reading.value is None:
        return "–"
    return f"{reading.value:+.1%}" if reading.kpi.is_lift else f"{reading.value:.1%}"


def shown_counts(reading: Reading) -> str:
    """What the value is made of, as people read it."""
    counts = reading.counts
    told = f"{counts.numerator:,} of {counts.denominator:,}"
    if reading.kpi.is_lift:
        told += f"; without {counts.base_numerator:,} of {counts.base_denominator:,}"
    return told


def _is_kpi(model: SqlModel, name: str) -> bool:
    return model.layer == LAYER and name.startswith(_PREFIX)


def _kpi(model: SqlModel) -> Kpi:
    name = model.name.removeprefix(_PREFIX)
    goal = None
    if model.header.goal:
        _, side, share = model.header.goal.split()
        goal = Goal(side == "least", float(share))
    return Kpi(
        name,
        model.relation,
        model.header.description,
        goal,
        is_lift="base_numerator" in model.columns,
        delay=_DELAYS.get(name, 0),
    )


def _rows(connection: psycopg.Connection, kpi: Kpi, today: date, days: int) -> list[KpiRow]:
    until = today - timedelta(days=kpi.delay)
    columns = ["numerator", "denominator"]
    if kpi.is_lift:
        columns += ["base_numerator", "base_denominator"]
    query = sql.SQL(
        "select day, model_version, arm, {} from {} where day >= %s and day < %s "
        "order by day, model_version, arm"
    ).format(
        sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(*kpi.relation.split("."))
    )
    found = connection.execute(query, [until - timedelta(days=days), until])
    return [
        KpiRow(kpi.name, day, model, arm, Counts(*counts)) for day, model, arm, *counts in found
    ]


def _reading(kpi: Kpi, counts: Counts, fewest: int) -> Reading:
    value = value_of(kpi, counts)
    if value is None:
        status = KpiStatus.NO_DATA
    elif counts.denominator < fewest or (kpi.is_lift and counts.base_denominator < fewest):
        status = KpiStatus.TOO_FEW
    elif kpi.goal is None:
        status = KpiStatus.WATCHED
    else:
        status = KpiStatus.MET if kpi.goal.is_met(value) else KpiStatus.MISSED
    return Reading(kpi, counts, value, status)
