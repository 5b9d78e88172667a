"""`seda evaluate`: what the pipeline would have found of plays that were hidden from it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seda.cli.options import EntityType, RegionName
from seda.errors import SedaError

if TYPE_CHECKING:
    from seda.cli.progress import ShownProgress
    from seda.database.regions import RegionalDatabase
    from seda.recommender.evaluate import EvaluationReport

_NARROW = (
    "method", "NDCG@10", "95 % interval", "Recall@20", "MAP@10", "coverage@10", "distance@10",
    "distance@50",
)  # fmt: skip


class NothingToEvaluateError(SedaError):
    """The region holds no plays that could be hidden."""


class UnwritableReportError(SedaError):
    """The report's file cannot be written."""


def evaluate(
    region: Annotated[RegionName, typer.Option(help="Whose people.")] = RegionName.GLOBAL,
    entity_type: Annotated[
        EntityType, typer.Option("--type", help="What is recommended.")
    ] = EntityType.ARTIST,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Also write a page with figures.")
    ] = None,
    people: Annotated[int, typer.Option(min=1, help="Most people whose lists are made.")] = 2000,
    seed: Annotated[int, typer.Option(help="Another seed hides other plays.")] = 1,
) -> None:
    """Measure the lists on plays that are hidden from them.

    The pipeline is fitted without a part of the plays; baselines stand beside it.
    """
    from seda.cli.progress import ShownProgress
    from seda.cli.session import open_databases
    from seda.cli.tables import new_table, print_table
    from seda.database.regions import Region
    from seda.recommender.evaluate.report import COLUMNS, rows, summary

    if report is not None and not report.parent.is_dir():
        raise UnwritableReportError(
            f"There is no folder {report.parent} to write {report.name} in."
        )
    with open_databases() as databases, ShownProgress() as progress:
        database = databases[Region(region.value)]
        measured = _measured(database, entity_type.value, people, seed, progress)
    heading = f"{entity_type.value.capitalize()}s, {region.value} region"
    chosen = [COLUMNS.index(name) for name in _NARROW]
    table = new_table(heading, *_NARROW, right=_NARROW[1:])
    for row in rows(measured):
        table.add_row(*(row[index] for index in chosen))
    print_table(table)
    typer.echo(summary(measured))
    for leak in measured.leaks:
        typer.echo(f"Leak: {leak}", err=True)
    if report is not None:
        _write(report, heading, measured)


def _measured(
    database: "RegionalDatabase", kind: str, people: int, seed: int, progress: "ShownProgress"
) -> "EvaluationReport":
    from seda.activity.snapshot import load_snapshot
    from seda.embeddings.routes import embeddings_of
    from seda.experiments.offline import blended_als, evaluate_region, load_world
    from seda.recommender.ranking import LinearWeights
    from seda.registry.models import BLEND, get_active
    from seda.settings import load_settings

    progress.start("read the region", 1)
    with database.transaction() as connection:
        weights = LinearWeights(**get_active(connection, BLEND).config)
        space = embeddings_of(load_settings(), database.region, connection).active
    snapshot = load_snapshot(database)
    if not snapshot.entities[kind].plays.nnz:
        raise NothingToEvaluateError(
            f"Nobody in the {database.region} region played any {kind}: load people with "
            "`seda seed` or `seda import` first."
        )
    world = load_world(database, snapshot, space, kind)
    progress.advance(1)
    progress.start("hide plays, fit, rank, measure", 1)
    measured = evaluate_region(world, blended_als(weights), seed=seed, most_users=people)
    progress.advance(1)
    return measured


def _write(file: Path, heading: str, measured: "EvaluationReport") -> None:
    from datetime import UTC, datetime

    from seda.recommender.evaluate.report import html_page

    made = f"Made by `seda evaluate` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC."
    try:
        file.write_text(html_page("Offline evaluation", {heading: measured}, made=made))
    except OSError as problem:
        raise UnwritableReportError(f"{file} cannot be written: {problem.strerror}.") from problem
    typer.echo(f"The report is in {file}.")
