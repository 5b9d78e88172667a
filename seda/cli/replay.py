"""`seda replay`: people come and go, and what their friends' apps hear of it is measured."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seda.cli.options import RegionName, ReplayScenario, ReplayWay
from seda.errors import SedaError

if TYPE_CHECKING:
    from seda.database.regions import RegionalDatabase
    from seda.sandbox.replay.figures import Report
    from seda.sandbox.replay.intake import Intake
    from seda.sandbox.replay.replaying import Stage
    from seda.sandbox.replay.schedule import Plan
    from seda.settings import Settings

_TOKEN_HOURS = 12


class NoServiceError(SedaError):
    """Nothing listens on the real-time service's port."""


class UnwritableReplayError(SedaError):
    """The report or the plot cannot be written."""


def replay(
    clients: Annotated[int, typer.Option(min=1, help="Socket.IO clients.")] = 100,
    rate: Annotated[float, typer.Option(min=0.1, help="Joins and leaves a second.")] = 100,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long people move.")] = 10,
    burst: Annotated[
        float | None, typer.Option(min=0.1, help="Rate of a burst; default: ten times the rate.")
    ] = None,
    scenario: Annotated[
        ReplayScenario,
        typer.Option(
            help="steady; burst: one second in five is a burst; concert: everybody joins one room."
        ),
    ] = ReplayScenario.STEADY,
    seed: Annotated[int, typer.Option(help="Another seed moves other people.")] = 7,
    through: Annotated[
        ReplayWay,
        typer.Option(help="rows: many people at once, in the database; api: POST /events each."),
    ] = ReplayWay.ROWS,
    region: Annotated[RegionName, typer.Option(help="Whose people.")] = RegionName.GLOBAL,
    processes: Annotated[int, typer.Option(min=1, help="Processes of the clients.")] = 1,
    rooms: Annotated[int, typer.Option(min=2, help="Most rooms to move among.")] = 500,
    patience: Annotated[
        float, typer.Option(min=0.1, help="Seconds of silence after which the rest is lost.")
    ] = 10,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Also write a page with the plot.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Also write the plot alone.")
    ] = None,
) -> None:
    """Let people come and go, and time what their friends hear.

    The services must run (`seda up`). Exits with 1 if a change was lost or came twice.
    """
    from seda.cli.progress import ShownProgress
    from seda.cli.session import open_databases
    from seda.database.regions import Region
    from seda.sandbox.loading import refuse_production
    from seda.sandbox.replay.replaying import replay as run_replay
    from seda.sandbox.replay.schedule import Plan, Scenario
    from seda.settings import load_settings

    settings = load_settings()
    refuse_production(settings, "seda replay")
    _refuse_nowhere(report, plot)
    _refuse_silence("SEDA_REALTIME_PORT", settings.realtime_port)
    if through is ReplayWay.API:
        _refuse_silence("SEDA_API_PORT", settings.api_port)
    plan = Plan(Scenario(scenario.value), rate, seconds, burst or 10 * rate, seed)
    with open_databases(settings) as databases, ShownProgress() as progress:
        database = databases[Region(region.value)]
        stage = _stage(database, settings, plan, clients, rooms, processes, patience)
        intake = _intake(database, settings, stage, through.value)
        measured = run_replay(stage, plan, intake, progress)
    _show(measured, report, plot)
    if not measured.faithful:
        raise typer.Exit(1)


def _stage(
    database: "RegionalDatabase",
    settings: "Settings",
    plan: "Plan",
    clients: int,
    rooms: int,
    processes: int,
    patience: float,
) -> "Stage":
    from datetime import UTC, datetime, timedelta

    from seda.cli.readiness import HOST
    from seda.people.tokens import token_of
    from seda.sandbox.replay.crowd import load_crowd
    from seda.sandbox.replay.replaying import Stage
    from seda.sandbox.replay.schedule import make_schedule

    crowd = load_crowd(database, rooms)
    viewers = crowd.viewers(clients, plan.seed)
    lifetime, now = timedelta(hours=_TOKEN_HOURS), datetime.now(UTC)
    return Stage(
        url=f"http://{HOST}:{settings.realtime_port}",
        crowd=crowd,
        schedule=make_schedule(plan, len(crowd.people), len(crowd.rooms)),
        viewers=viewers,
        tokens=[token_of(settings, crowd.subs[viewer], lifetime, now) for viewer in viewers],
        processes=processes,
        patience=patience,
        watched=tuple(("real-time service", pid) for pid in _listening(settings.realtime_port)),
    )


def _intake(
    database: "RegionalDatabase", settings: "Settings", stage: "Stage", through: str
) -> "Intake":
    from datetime import UTC, datetime, timedelta

    from seda.cli.readiness import HOST
    from seda.people.tokens import token_of
    from seda.sandbox.replay.api_intake import ApiIntake
    from seda.sandbox.replay.intake import RowIntake

    if through == ReplayWay.ROWS:
        return RowIntake(database, timedelta(milliseconds=settings.presence_linger_ms))
    subs = dict(zip(stage.crowd.people, stage.crowd.subs, strict=True))
    lifetime, now = timedelta(hours=_TOKEN_HOURS), datetime.now(UTC)
    return ApiIntake(
        f"http://{HOST}:{settings.api_port}",
        lambda person: token_of(settings, subs[person], lifetime, now),
    )


def _show(measured: "Report", report: Path | None, plot: Path | None) -> None:
    from datetime import UTC, datetime

    from seda.cli.tables import new_table, print_table
    from seda.sandbox.replay.drawing import draw
    from seda.sandbox.replay.report import html_page, rows, title, verdict

    table = new_table(f"Replay: {title(measured)}", "what", "measured")
    for row in rows(measured):
        table.add_row(*row)
    print_table(table)
    typer.echo(verdict(measured), err=not measured.faithful)
    made = f"Made by `seda replay` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC."
    if report is not None:
        _write(report, html_page(measured, made).encode())
    if plot is not None:
        _write(plot, draw(measured))


def _write(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as problem:
        raise UnwritableReplayError(f"{file} cannot be written: {problem.strerror}.") from problem
    typer.echo(f"Written: {file}.")


def _refuse_nowhere(*files: Path | None) -> None:
    for file in files:
        if file is not None and not file.parent.is_dir():
            raise UnwritableReplayError(
                f"There is no folder {file.parent} to write {file.name} in."
            )


def _refuse_silence(setting: str, port: int) -> None:
    import socket

    from seda.cli.readiness import HOST

    try:
        socket.create_connection((HOST, port), timeout=5).close()
    except OSError as problem:
        raise NoServiceError(
            f"Nothing listens on port {port}: start the services with `seda up`, or set "
            f"{setting} to where they are."
        ) from problem


def _listening(port: int) -> list[int]:
    """The processes behind the port, as far as the system tells."""
    import psutil

    try:
        found = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return []
    behind = {
        one.pid for one in found if one.status == psutil.CONN_LISTEN and one.laddr.port == port
    }
    return sorted(pid for pid in behind if pid)
