"""The command that shows what the pipeline's sensors have seen: `notices`."""

from typing import Annotated

import typer


def notices(
    last: Annotated[int, typer.Option(min=1, help="How many of the newest.")] = 20,
) -> None:
    """Show what the pipeline's sensors noticed.

    Runs that failed, shares of the month's budget that were reached, models to be backfilled.
    """
    from seda.cli.session import open_databases
    from seda.cli.tables import new_table, print_table
    from seda.database.regions import Region
    from seda.observability.notices import newest

    with open_databases() as databases, databases[Region.GLOBAL].transaction() as connection:
        found = newest(connection, last)
    if not found:
        typer.echo("Nothing was noticed.")
        return
    table = new_table("Notices", "when (UTC)", "what", "said")
    for each in found:
        at = f"{each.noticed_at:%Y-%m-%d %H:%M}"
        table.add_row(at, each.notice.kind.value.replace("_", " "), each.notice.said)
    print_table(table)
