"""The commands about model versions: what is registered, and its way from shadow to active."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seda.cli.options import RegionName
from seda.errors import SedaError

if TYPE_CHECKING:
    import psycopg

    from seda.experiments.canaries import Experiment

models = typer.Typer(no_args_is_help=True, help="Model versions, canaries, and the way back.")

_REGION = Annotated[RegionName, typer.Option(help="Which region; each has models of its own.")]
_VERSION = Annotated[str, typer.Argument(metavar="VERSION", help="As `seda model list` shows it.")]
_REASON = Annotated[str, typer.Option(help="Stands in the audit log.")]


class UnreadableWeightsError(SedaError):
    """A file does not hold the weights of a linear ranker."""


@models.command("list")
def list_versions() -> None:
    """Show every registered version, what ranks first, and the experiments."""
    from seda.cli.session import open_databases
    from seda.cli.tables import new_table, print_table
    from seda.experiments.canaries import experiments
    from seda.registry.models import registered

    versions = new_table("Model versions", "region", "version", "stage", "kind", "since")
    table = new_table(
        "Experiments", "region", "name", "canary", "control", "share", "state", "started", "why"
    )
    with open_databases() as databases:
        for database in databases:
            here = str(database.region)
            with database.transaction() as connection:
                for each in registered(connection):
                    since = f"{each.stage_changed_at:%Y-%m-%d %H:%M}"
                    versions.add_row(here, each.version, each.stage, each.kind, since)
                for one in experiments(connection):
                    started = f"{one.started_at:%Y-%m-%d %H:%M}"
                    table.add_row(here, one.name, one.canary_version, one.control_version,
                                  f"{one.share:.0%}", one.state, started,
                                  one.reason or "")  # fmt: skip
    print_table(versions)
    if table.row_count:
        print_table(table)


@models.command()
def show(version: _VERSION, region: _REGION = RegionName.GLOBAL) -> None:
    """Show a version's configuration and what offline evaluation found, as JSON."""
    from dataclasses import asdict

    from seda.registry.models import BLEND, get_registered

    with _connection(region) as connection:
        found = get_registered(connection, BLEND, version)
    typer.echo(json.dumps(asdict(found), indent=2, default=str))


@models.command()
def register(
    version: _VERSION,
    weights: Annotated[
        Path, typer.Option(help="JSON: a weight for each signal, as `seda model show` has them.")
    ],
    region: _REGION = RegionName.GLOBAL,
) -> None:
    """Register a linear ranker with weights of your own, in shadow: it serves nobody yet."""
    from seda.recommender.ranking import linear_weights
    from seda.registry.models import BLEND, ModelVersion
    from seda.registry.models import register as add

    try:
        config = json.loads(weights.read_text())
        linear_weights("linear", {name: float(amount) for name, amount in config.items()})
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise UnreadableWeightsError(
            f"{weights} holds no weights of a linear ranker ({problem}): write an object such as "
            '{"content": 0.5, "collaborative": 0.25, "social": 0.15, "popularity": 0.1}.'
        ) from problem
    with _connection(region) as connection:
        add(connection, ModelVersion(BLEND, version, "linear", config), {})
    typer.echo(f"{version} is registered in {region.value}, in shadow.")


@models.command()
def canary(
    version: _VERSION,
    share: Annotated[
        float, typer.Option(help="Of the people: 0.05 to 0.10.", min=0.05, max=0.1)
    ] = 0.1,
    name: Annotated[
        str | None, typer.Option(help="The experiment's; it decides who is drawn.")
    ] = None,
    region: _REGION = RegionName.GLOBAL,
) -> None:
    """Serve a version in shadow to some people, from the next ranking on, beside the active one."""
    from seda.experiments.canaries import start_canary

    actor, now = _who_and_when()
    with _connection(region) as connection:
        found = start_canary(connection, version, share=share, actor=actor, now=now, name=name)
    typer.echo(
        f"{found.canary_version} is a canary for {found.share:.0%} of the people of "
        f"{region.value} (experiment {found.name}). Its lists come with the next "
        "`seda materialize` or nightly run; `seda gate` shows what they are worth."
    )


@models.command()
def promote(reason: _REASON = "by hand", region: _REGION = RegionName.GLOBAL) -> None:
    """Make the canary's version the active one; everybody's lists follow with the next ranking."""
    from seda.experiments.canaries import promote_canary

    found = _step(promote_canary, region, reason)
    typer.echo(
        f"{found.canary_version} is active in {region.value}; {found.control_version} is retired."
    )


@models.command()
def rollback(reason: _REASON = "by hand", region: _REGION = RegionName.GLOBAL) -> None:
    """End the canary: from the next read on everybody has the control's lists, which were kept."""
    from seda.experiments.canaries import roll_back

    found = _step(roll_back, region, reason)
    typer.echo(
        f"{found.canary_version} is back in shadow in {region.value}; everybody is served "
        f"{found.control_version}."
    )


@models.command()
def retire(
    version: _VERSION, reason: _REASON = "by hand", region: _REGION = RegionName.GLOBAL
) -> None:
    """Take a version in shadow out of the running."""
    _move(version, "retired", reason, region)


@models.command()
def shadow(
    version: _VERSION, reason: _REASON = "by hand", region: _REGION = RegionName.GLOBAL
) -> None:
    """Make a retired version a challenger in shadow again."""
    _move(version, "shadow", reason, region)


def _move(version: str, stage: str, reason: str, region: RegionName) -> None:
    from seda.experiments.canaries import move_aside
    from seda.registry.stages import Stage

    actor, now = _who_and_when()
    with _connection(region) as connection:
        move_aside(connection, version, Stage(stage), actor=actor, reason=reason, now=now)
    typer.echo(f"{version} is {stage} in {region.value}.")


def _step(do: "Callable[..., Experiment]", region: RegionName, reason: str) -> "Experiment":
    actor, now = _who_and_when()
    with _connection(region) as connection:
        return do(connection, actor=actor, reason=reason, now=now)


def _who_and_when() -> tuple[str, datetime]:
    import getpass

    return getpass.getuser(), datetime.now(UTC)


@contextmanager
def _connection(region: RegionName) -> "Iterator[psycopg.Connection[Any]]":
    from seda.cli.session import open_databases
    from seda.database.regions import Region

    with open_databases() as databases, databases[Region(region.value)].transaction() as connection:
        yield connection
