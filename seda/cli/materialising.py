"""Runs the graph in a process of its own, its output visible, recorded by Dagster."""

from collections.abc import Mapping

from seda.cli.processes import Supervisor, describe_status
from seda.cli.services import MATERIALISATION, child_environment, materialisation
from seda.cli.session import open_databases
from seda.errors import SedaError
from seda.settings import load_settings


class MaterialisationError(SedaError):
    """The graph did not run to its end."""


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
