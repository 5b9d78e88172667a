"""Runs the graph in a process of its own, its output visible, recorded by Dagster."""

from collections.abc import Mapping

from seda.cli.processes import Supervisor, describe_status
from seda.cli.services import (
    BACKFILL,
    MATERIALISATION,
    backfilling,
    child_environment,
    materialisation,
)
from seda.cli.session import open_databases
from seda.errors import SedaError
from seda.settings import load_settings


class MaterialisationError(SedaError):
    """The graph did not run to its end."""


class BackfillError(SedaError):
    """A backfill did not run to its end."""


def materialise(supervisor: Supervisor, environment: Mapping[str, str], select: list[str]) -> None:
    """Run the graph, or the selected assets.

    Raises:
        MaterialisationError: a step failed; its message stands above.
    """
    status = supervisor.run(materialisation(environment, select))
    if status:
        raise MaterialisationError(
            f"Materialising the graph failed ({describe_status(status)}): the lines above name the "
            "asset; correct its cause and run `seda materialize` again."
        )


def run_materialisation(select: list[str]) -> None:
    """`seda materialize`: also beside a running demo, but only once at a time."""
    settings = load_settings()
    with Supervisor(settings.home_directory(), MATERIALISATION) as supervisor:
        databases = supervisor.keep_open(open_databases(settings))
        materialise(supervisor, child_environment(settings, databases), select)


def run_backfill(model: str | None, shards: list[str], *, dry_run: bool, through_ui: bool) -> None:
    """`seda backfill`: here, and then not beside `seda materialize`; or by the Dagster that is up.

    Raises:
        BackfillError: a run failed, or nothing could be run; what it said stands above.
    """
    settings = load_settings()
    arguments = [*(["--model", model] if model else []), *(["--shards", *shards] if shards else [])]
    arguments += ["--dry-run"] if dry_run else []
    arguments += ["--ui", str(settings.dagster_port)] if through_ui else []
    here = not (dry_run or through_ui)
    with Supervisor(settings.home_directory(), MATERIALISATION if here else BACKFILL) as supervisor:
        databases = supervisor.keep_open(open_databases(settings))
        status = supervisor.run(backfilling(child_environment(settings, databases), arguments))
    if status:
        raise BackfillError(
            f"The backfill stopped ({describe_status(status)}): correct what the lines above name "
            "and run `seda backfill` again; shards that are done are not repeated."
        )
