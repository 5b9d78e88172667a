"""From counts to values and statuses; and one definition, wherever it is read."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seda.database.regions import Databases, Region
from seda.database.sql_models import load_models
from seda.experiments.kpis import (
    Counts,
    Goal,
    Kpi,
    KpiRow,
    KpiStatus,
    kpis_of,
    read_rows,
    readings,
    shown_counts,
    shown_value,
    value_of,
)
from seda.privacy.datamap import data_map
from seda.settings import REPOSITORY

MODELS = load_models(REPOSITORY / "dbt_like_sql", {f"seda.{name}" for name in data_map()})
KPIS = {kpi.name: kpi for kpi in kpis_of(MODELS)}
SHARE = Kpi("share", "seda.share", "A share.", Goal(True, 0.2), is_lift=False, delay=0)
LIFT = Kpi("lift", "seda.lift", "A lift.", None, is_lift=True, delay=0)
DAY = date(2026, 3, 1)


def row(kpi: Kpi, *counts: int, day: date = DAY) -> KpiRow:
    return KpiRow(kpi.name, day, "m", "control", Counts(*counts))


def test_the_kpis_are_those_that_are_asked_for_with_their_goals() -> None:
    assert {name: str(kpi.goal or "") for name, kpi in KPIS.items()} == {
        "active_sessions": "≥ 20%", "listens_30s": "≥ 70%", "skips": "≤ 15%", "novelty": "≥ 30%",
        "click_through": "", "dismissals": "", "social_lift": "", "retention_d7": "",
    }  # fmt: skip


def test_the_document_says_what_the_models_say() -> None:
    text = (REPOSITORY / "docs" / "kpis.md").read_text()
    for kpi in KPIS.values():
        assert f"| {kpi.title} | {kpi.goal or ''} | {kpi.definition} |" in text
    for name in ("daily_impressions", "daily_sessions"):
        assert MODELS[name].header.description in text


@pytest.mark.parametrize(
    ("counts", "status", "shown"),
    [
        ((0, 0), KpiStatus.NO_DATA, "–"),
        ((20, 99), KpiStatus.TOO_FEW, "20.2%"),
        ((20, 100), KpiStatus.MET, "20.0%"),
        ((19, 100), KpiStatus.MISSED, "19.0%"),
    ],
)
def test_a_share_meets_its_goal_or_not_or_cannot_tell(
    counts: tuple[int, int], status: KpiStatus, shown: str
) -> None:
    (reading,) = readings([SHARE], [row(SHARE, *counts)])
    assert (reading.status, shown_value(reading)) == (status, shown)


def test_a_goal_at_most_is_met_below_and_at_it() -> None:
    goal = Goal(False, 0.15)
    assert [goal.is_met(value) for value in (0.1, 0.15, 0.16)] == [True, True, False]


def test_a_lift_is_the_relative_difference_of_two_shares() -> None:
    (reading,) = readings([LIFT], [row(LIFT, 30, 200, 50, 500)])
    assert reading.value == pytest.approx(0.5)
    assert (reading.status, shown_value(reading)) == (KpiStatus.WATCHED, "+50.0%")
    assert shown_counts(reading) == "30 of 200; without 50 of 500"
    (few,) = readings([LIFT], [row(LIFT, 30, 200, 5, 50)])
    assert few.status is KpiStatus.TOO_FEW


@pytest.mark.parametrize("counts", [(0, 0, 1, 5), (1, 5, 0, 5), (1, 5, 0, 0)])
def test_a_lift_from_nothing_is_none(counts: tuple[int, ...]) -> None:
    assert value_of(LIFT, Counts(*counts)) is None


def test_days_weigh_by_what_happened_on_them() -> None:
    (reading,) = readings([SHARE], [row(SHARE, 1, 1), row(SHARE, 0, 199, day=date(2026, 3, 2))])
    assert reading.value == pytest.approx(1 / 200)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=12), st.randoms())
def test_the_order_of_rows_does_not_matter(pairs: list[tuple[int, int]], random) -> None:
    rows = [row(SHARE, min(pair), max(pair)) for pair in pairs]
    shuffled = random.sample(rows, len(rows))
    assert readings([SHARE], rows) == readings([SHARE], shuffled)


def test_only_complete_days_are_read(shared_databases: Databases) -> None:
    """And of the retention of the seventh day, days that have had one."""
    with shared_databases[Region.EU].connect() as connection:
        for relation in ("kpi_skips", "kpi_retention_d7"):
            connection.execute(
                f"insert into seda.{relation} select '2026-03-31'::date - n, 'm', 'control', 1, 2 "
                "from generate_series(0, 20) n"
            )
        rows = read_rows(connection, KPIS.values(), today=date(2026, 3, 31), days=3)
        connection.rollback()
    found = {name: [each.day.day for each in rows if each.kpi == name] for name in KPIS}
    assert found["skips"] == [28, 29, 30]
    assert found["retention_d7"] == [21, 22, 23]
