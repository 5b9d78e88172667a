"""The commands about what is here: `status` and `reset`."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seda.errors import SedaError

if TYPE_CHECKING:
    from seda.settings import Settings

_LOCAL_DATA = ("postgres", "storage", "dagster")


class ResetRefusedError(SedaError):
    """Nothing was deleted."""


def status() -> None:
    """Show what runs, is stored and is served."""
    from seda.cli.inventory import print_databases, print_processes
    from seda.cli.session import open_databases
    from seda.settings import load_settings

    settings = load_settings()
    print_processes(settings.home_directory())
    if _is_embedded(settings) and not (settings.home_directory() / "postgres").exists():
        typer.echo("There are no databases yet: run `make demo`.")
        return
    with open_databases(settings) as databases:
        print_databases(databases)


def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete the embedded databases and files.

    Of SEDA_HOME, `postgres`, `storage` and `dagster` go; secrets and logs stay.
    """
    from seda.cli.embedded_cluster import end_cluster
    from seda.cli.leftovers import end_leftovers
    from seda.cli.processes import lock
    from seda.settings import load_settings

    settings = load_settings()
    home = settings.home_directory()
    _refuse(settings, yes=yes)
    folders = [home / name for name in _LOCAL_DATA if (home / name).exists()]
    if not folders:
        typer.echo(f"There is nothing to delete in {home}.")
        return
    if not yes:
        typer.confirm(f"Delete {', '.join(map(str, folders))}?", abort=True)
    with lock(home):
        end_leftovers(home / "run")
        end_cluster(home / "postgres")
        for folder in folders:
            _delete(folder)
    typer.echo(f"Deleted {', '.join(folder.name for folder in folders)} in {home}.")


def _refuse(settings: "Settings", *, yes: bool) -> None:
    if settings.env == "production":
        raise ResetRefusedError(
            "SEDA_ENV is production, where nothing is reset: unset it if this is not production."
        )
    if not _is_embedded(settings) and not yes:
        raise ResetRefusedError(
            "SEDA_DATABASE_URL or SEDA_EU_DATABASE_URL names a server whose rows `seda reset` does "
            "not delete: empty it there, or pass --yes to delete only what is under SEDA_HOME."
        )


def _is_embedded(settings: "Settings") -> bool:
    return settings.database_url is None and settings.eu_database_url is None


def _delete(folder: Path) -> None:
    # Renamed first: an interrupted deletion leaves no half of a database behind.
    doomed = folder.with_name(f".{folder.name}.deleted")
    shutil.rmtree(doomed, ignore_errors=True)
    folder.rename(doomed)
    shutil.rmtree(doomed)
