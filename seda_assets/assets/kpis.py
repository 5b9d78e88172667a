"""Online KPIs: what people made of what they were shown, against what is wanted of it."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, timedelta
from typing import Any

import dagster as dg
from matplotlib.dates import ConciseDateFormatter, date2num
from matplotlib.figure import Figure

from seda.database.regions import Region
from seda.experiments.kpis import (
    DAYS,
    Counts,
    Kpi,
    KpiRow,
    KpiStatus,
    Reading,
    kpis_of,
    read_rows,
    readings,
    shown_counts,
    shown_value,
    value_of,
)
from seda_assets.assets.sql_models import MODELS
from seda_assets.automation.freshness import NIGHTLY
from seda_assets.plots import new_figure, png
from seda_assets.resources import Platform

KPIS = kpis_of(MODELS)
PLOTTED_DAYS = 60


@dg.asset(
    deps=[dg.AssetKey(kpi.relation.split(".")) for kpi in KPIS],
    group_name="kpis",
    owners=["team:data"],
    kinds={"python", "postgres"},
    tags={"seda/layer": "kpis"},
    freshness_policy=NIGHTLY,
    check_specs=[
        dg.AssetCheckSpec(
            "goals_met",
            asset="online_kpis",
            description="No KPI with a goal misses it over the last seven complete days.",
        )
    ],
    code_version="1",
)
def online_kpis(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """Every KPI over the last seven complete days (UTC) beside its goal, by region and by model
    version and arm, with a plot of its days. What each one counts is in its table's description,
    and below. `seda kpis` prints the same."""
    today = platform.now().astimezone(UTC).date()
    rows = {
        str(database.region): _read(platform, database.region, today)
        for database in platform.databases
    }
    everywhere = [row for each in rows.values() for row in each]
    recent = _recent(everywhere, today)
    told = readings(KPIS, recent)
    metadata: dict[str, Any] = {
        "goals": dg.MetadataValue.md(_table(told)),
        "by_region": dg.MetadataValue.md(
            _split_table({region: _recent(each, today) for region, each in rows.items()})
        ),
        "by_model": dg.MetadataValue.md(_split_table(_by_model(recent))),
        "definitions": dg.MetadataValue.md(
            "\n".join(f"- **{kpi.title}**: {kpi.definition}" for kpi in KPIS)
        ),
    }
    for reading in told:
        if reading.value is not None:
            metadata[reading.kpi.name] = reading.value
        mine = [row for row in everywhere if row.kpi == reading.kpi.name]
        if mine:
            metadata[f"{reading.kpi.name}_days"] = png(_figure(reading.kpi, mine))
    missed = [each.kpi.name for each in told if each.status is KpiStatus.MISSED]
    check = dg.AssetCheckResult(
        check_name="goals_met",
        passed=not missed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"missed": ", ".join(missed) or "none"},
    )
    return dg.MaterializeResult(metadata=metadata, check_results=[check])


def _read(platform: Platform, region: Region, today: date) -> list[KpiRow]:
    with platform.databases[region].transaction() as connection:
        return read_rows(connection, KPIS, today=today, days=PLOTTED_DAYS)


def _recent(rows: Sequence[KpiRow], today: date) -> list[KpiRow]:
    since = {kpi.name: today - timedelta(days=kpi.delay + DAYS) for kpi in KPIS}
    return [row for row in rows if row.day >= since[row.kpi]]


def _by_model(rows: Sequence[KpiRow]) -> dict[str, list[KpiRow]]:
    found: dict[str, list[KpiRow]] = defaultdict(list)
    for row in rows:
        found[f"{row.model_version}, {row.arm}"].append(row)
    return dict(sorted(found.items()))


def _table(told: Sequence[Reading]) -> str:
    # The page of an asset shows the first columns of a wide table: the verdict is one of them.
    lines = ["| KPI | | last 7 days | goal | of |", "| --- " * 5 + "|"]
    for each in told:
        lines.append(
            f"| {each.kpi.title} | {each.status} | {shown_value(each)} | {each.kpi.goal or ''} "
            f"| {shown_counts(each)} |"
        )
    return "\n".join(lines)


def _split_table(parts: dict[str, list[KpiRow]]) -> str:
    """A row per part and a column per KPI, with what each value is made of."""
    lines = [
        "| | " + " | ".join(kpi.title for kpi in KPIS) + " |",
        "| --- " * (len(KPIS) + 1) + "|",
    ]
    for name, rows in parts.items():
        cells = [f"{shown_value(each)} ({shown_counts(each)})" for each in readings(KPIS, rows)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _figure(kpi: Kpi, rows: Sequence[KpiRow]) -> Figure:
    """The KPI by day: a line for each model version and arm, and the goal."""
    figure = new_figure()
    axes = figure.subplots()
    for label, mine in _by_model(rows).items():
        sums: dict[date, Counts] = defaultdict(lambda: Counts(0, 0))
        for row in mine:
            sums[row.day] += row.counts
        values = [
            (date2num(day), value)
            for day, counts in sums.items()
            if (value := value_of(kpi, counts)) is not None
        ]
        axes.plot(
            [day for day, _ in values], [value for _, value in values], marker=".", label=label
        )
    if kpi.goal:
        axes.axhline(kpi.goal.share, color="tab:red", linewidth=1, label=f"goal {kpi.goal}")
    axes.set_title(f"{kpi.title} by day", fontsize="small")
    axes.xaxis_date()
    axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.legend(fontsize="x-small")
    return figure
