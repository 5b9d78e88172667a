"""`seda kpis`: what people made of what they were shown, against what is wanted of it."""

from typing import TYPE_CHECKING, Annotated

import typer

from seda.cli.options import RegionName

if TYPE_CHECKING:
    from seda.experiments.kpis import Kpi, KpiRow


def kpis(
    days: Annotated[int, typer.Option(min=1, help="How many complete days (UTC).")] = 7,
    region: Annotated[
        RegionName | None, typer.Option(help="Whose people; default: everybody's counts together.")
    ] = None,
    by_model: Annotated[
        bool, typer.Option("--by-model", help="A table for each model version and arm.")
    ] = False,
    definitions: Annotated[
        bool, typer.Option("--definitions", help="Also say what each KPI counts.")
    ] = False,
) -> None:
    """Show the KPIs of the last days beside their goals.

    As the job `kpis` counted them last; the asset `online_kpis` shows the same with plots.
    """
    from seda.experiments.kpis import kpis_of

    known = kpis_of(_models())
    rows = _rows(known, days, region)
    if not rows:
        typer.echo("Nothing was counted in these days: run the job kpis in Dagster, every night.")
    where = region.value if region else "all regions"
    parts = {f"{where}, last {days} complete days": rows}
    if by_model:
        parts = {}
        for row in sorted(rows, key=lambda each: (each.model_version, each.arm)):
            parts.setdefault(f"model {row.model_version}, arm {row.arm}", []).append(row)
    for heading, mine in parts.items():
        _print(heading, known, mine)
    if definitions:
        for kpi in known:
            typer.echo(f"\n{kpi.title}: {kpi.definition}")


def _models() -> dict:
    from seda.database.sql_models import load_models
    from seda.privacy.datamap import data_map
    from seda.settings import REPOSITORY

    return load_models(REPOSITORY / "dbt_like_sql", {f"seda.{name}" for name in data_map()})


def _rows(known: "tuple[Kpi, ...]", days: int, region: RegionName | None) -> "list[KpiRow]":
    from datetime import UTC, datetime

    from seda.cli.session import open_databases
    from seda.experiments.kpis import read_rows

    today = datetime.now(UTC).date()
    rows: list[KpiRow] = []
    with open_databases() as databases:
        for database in databases:
            if region is None or region.value == str(database.region):
                with database.transaction() as connection:
                    rows += read_rows(connection, known, today=today, days=days)
    return rows


def _print(heading: str, known: "tuple[Kpi, ...]", rows: "list[KpiRow]") -> None:
    from seda.cli.tables import new_table, print_table
    from seda.experiments.kpis import readings, shown_counts, shown_value

    table = new_table(heading, "KPI", "goal", "value", "of", "", right=("value",))
    for each in readings(known, rows):
        goal = str(each.kpi.goal or "")
        table.add_row(each.kpi.title, goal, shown_value(each), shown_counts(each), str(each.status))
    print_table(table)
