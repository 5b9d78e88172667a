"""The commands that bring data in, compute and take results out."""

from pathlib import Path
from typing import Annotated

import typer

from seda.cli.options import EntityType, Profile, RegionName

importing = typer.Typer(no_args_is_help=True, help="Load real data.")
exporting = typer.Typer(no_args_is_help=True, help="Write results to files.")


def migrate() -> None:
    """Bring both regional databases up to date."""
    from seda.cli.session import open_databases
    from seda.database.migrate import migrate as migrate_databases

    with open_databases() as databases:
        migrate_databases(databases)
    typer.echo("Both regional databases are up to date.")


def seed(
    profile: Annotated[Profile, typer.Option(help="How large the made-up world is.")],
    seed: Annotated[int, typer.Option(help="Another seed makes another world.")] = 7,
) -> None:
    """Fill both databases with a made-up world.

    300, 5,000 or 25,000 people; seeding the same world again changes nothing.
    """
    from datetime import UTC, datetime

    from seda.cli.progress import ShownProgress
    from seda.cli.session import open_databases
    from seda.database.migrate import migrate as migrate_databases
    from seda.sandbox.profiles import PROFILES
    from seda.sandbox.seeding import seed_sandbox

    with open_databases() as databases:
        migrate_databases(databases)
        with ShownProgress() as progress:
            report = seed_sandbox(
                databases,
                PROFILES[profile.value],
                seed=seed,
                now=datetime.now(UTC),
                progress=progress,
            )
    typer.echo(
        f"{report.users:,} people ({report.eu_users:,} in the EU), {report.artists:,} artists, "
        f"{report.playlists:,} playlists and {report.rooms:,} rooms; "
        f"{report.written_rows:,} rows were written."
    )


@importing.command("lastfm")
def import_lastfm(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The folder with the set.")],
    region: Annotated[RegionName, typer.Option(help="Home of the listeners.")] = RegionName.GLOBAL,
) -> None:
    """Load the HetRec 2011 Last.fm set, original files or benchmark package."""
    from seda.cli.progress import ShownProgress
    from seda.cli.session import open_databases
    from seda.database.migrate import migrate as migrate_databases
    from seda.database.regions import Region
    from seda.sandbox import lastfm

    with open_databases() as databases:
        migrate_databases(databases)
        with ShownProgress() as progress:
            report = lastfm.import_lastfm(
                databases, directory, region=Region(region.value), progress=progress
            )
    typer.echo(
        f"{report.users:,} listeners, {report.listens:,} listens, {report.friends:,} friendships, "
        f"{report.artists:,} artists, {report.rooms:,} rooms and {report.playlists:,} playlists; "
        f"{report.changed_rows:,} rows were inserted or corrected."
    )


def materialize(
    select: Annotated[
        list[str] | None, typer.Option(help="An asset's name; may be repeated. Default: all.")
    ] = None,
) -> None:
    """Run the whole graph once, here.

    Dagster records it as it does every other run.
    """
    from seda.cli.materialising import run_materialisation

    run_materialisation(select or [])


@exporting.command("recommendations")
def export_recommendations(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Ends in .csv or .parquet.")],
    entity_type: Annotated[EntityType, typer.Option("--type", help="What was recommended.")],
    region: Annotated[RegionName, typer.Option(help="Whose people.")] = RegionName.GLOBAL,
) -> None:
    """Write the lists that one region serves, best first, with the ids of the imported source."""
    from seda.cli.session import open_databases
    from seda.database.regions import Region
    from seda.publishing import export

    with open_databases() as databases:
        rows = export.export_recommendations(
            databases[Region(region.value)], entity_type=entity_type.value, path=file
        )
    typer.echo(f"{rows:,} rows in {file}.")
