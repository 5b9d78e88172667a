"""The command that looks at a canary."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from seda.cli.options import RegionName

if TYPE_CHECKING:
    from seda.experiments.looks import Look


def gate(
    region: Annotated[
        RegionName | None, typer.Option(help="Only this region; default: both.")
    ] = None,
) -> None:
    """Show what a running canary's gates say; changes nothing.

    Exit status: 0 where every gate passes (or no canary runs), 1 where one fails, 2 where the data
    do not tell yet, a service did not answer, or there is a warning.
    """
    from seda.cli.session import open_databases
    from seda.experiments.looks import look
    from seda.experiments.operations import MetricsSources, scrape
    from seda.settings import load_settings

    settings, codes = load_settings(), []
    with open_databases(settings) as databases:
        counters = scrape(MetricsSources.of(settings))
        for database in databases:
            if region is not None and database.region != region.value:
                continue
            found = look(database, counters, now=datetime.now(UTC))
            if found is None:
                typer.echo(f"{database.region}: no canary runs.")
                continue
            codes.append(found.judgement.exit_code)
            _print(str(database.region), found)
    if codes:
        raise typer.Exit(1 if 1 in codes else max(codes))


def _print(region: str, found: "Look") -> None:
    from seda.cli.tables import new_table, print_table
    from seda.experiments.looks import HEADINGS, cells

    canary = found.experiment
    table = new_table(
        f"{region}: {canary.canary_version} for {canary.share:.0%} of the people, beside "
        f"{canary.control_version} (experiment {canary.name})",
        *HEADINGS, right=HEADINGS[2:5],
    )  # fmt: skip
    for each in found.judgement.gates:
        table.add_row(*cells(each))
    print_table(table)
    typer.echo(f"Verdict: {found.judgement.verdict}.")
    if found.judgement.rollback:
        typer.echo(f"To be rolled back: {found.judgement.rollback}.")
