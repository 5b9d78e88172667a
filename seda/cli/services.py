"""What runs beside each other: the API, the real-time service and Dagster, as supervised children.

Dagster runs as its three processes (code server, UI, daemon) and not as `dagster dev`: that starts
the same three behind two more, costs half as much memory again, takes three times as long to stop
and leaves its code server behind for a while.
"""

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psycopg

from seda.cli.leftovers import end_leftovers
from seda.cli.processes import AlreadyRunningError, Service, Supervisor, lock
from seda.cli.readiness import HOST, accepts_socket, answers_http, claim_ports
from seda.cli.stuck_runs import end_stuck_runs, limit_pool
from seda.database.regions import Databases, DatabaseUnreachableError, libpq_url
from seda.settings import REPOSITORY, Settings

_LONGEST_SOCKET_PATH = 100
LOCATION = "seda"
LISTS_POOL = "lists"
"""Of runs that write lists, as `seda_assets.automation.partitions` names it."""
MATERIALISATION = "materialize"
BACKFILL = "backfill"


@dataclass(frozen=True)
class Ports:
    """Where each service listens, on 127.0.0.1."""

    api: int
    realtime: int
    notifier: int
    dagster: int

    @classmethod
    def claim(cls, settings: Settings) -> Self:
        """Every service's port, free ones in place of 0.

        Raises:
            PortUnavailableError: before anything is started.
        """
        claimed = claim_ports(
            {
                "SEDA_API_PORT": settings.api_port,
                "SEDA_REALTIME_PORT": settings.realtime_port,
                "SEDA_NOTIFIER_PORT": settings.notifier_port,
                "SEDA_DAGSTER_PORT": settings.dagster_port,
            }
        )
        return cls(*claimed.values())

    def environment(self) -> dict[str, str]:
        """The ports that the two services know of each other."""
        return {"SEDA_API_PORT": str(self.api), "SEDA_REALTIME_PORT": str(self.realtime)}


def child_environment(settings: Settings, databases: Databases) -> dict[str, str]:
    """What every child runs with: this process's environment, and our databases and home by name.

    A child finds its databases by URL, so it never starts or holds the embedded server.

    Raises:
        DatabaseUnreachableError: Dagster's own database does not answer.
    """
    _require_dagster_database(databases)
    home = settings.home_directory()
    artifacts = home / "dagster"
    artifacts.mkdir(exist_ok=True)
    return {
        **os.environ,
        **databases.environment(),
        "SEDA_HOME": str(home),
        "DAGSTER_HOME": str(REPOSITORY),
        "SEDA_DAGSTER_ARTIFACTS": str(artifacts),
        # Switched off in dagster.yaml too, but then it still makes its folders in DAGSTER_HOME.
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _require_dagster_database(databases: Databases) -> None:
    # Dagster would say it in a hundred lines.
    try:
        psycopg.connect(libpq_url(databases.dagster_url), connect_timeout=5).close()
    except psycopg.OperationalError as problem:
        raise DatabaseUnreachableError(
            f"Dagster's database does not answer ({str(problem).splitlines()[0]}): check "
            "SEDA_DAGSTER_DATABASE_URL and that the server is up."
        ) from problem


def api(environment: Mapping[str, str], ports: Ports) -> Service:
    """The HTTP API, whose demo page is told where the real-time service is."""
    return Service(
        "api",
        "The API",
        (sys.executable, "-m", "serving.api"),
        {**environment, **ports.environment()},
        answers_http(ports.api, "/readyz"),
        ready_within_seconds=120,
    )


def realtime(environment: Mapping[str, str], ports: Ports) -> Service:
    """The Socket.IO service, which lets the API's demo page in."""
    return Service(
        "realtime",
        "The real-time service",
        (sys.executable, "-m", "serving.realtime"),
        {**environment, **ports.environment()},
        answers_http(ports.realtime, "/readyz"),
        ready_within_seconds=120,
    )


def notifier(environment: Mapping[str, str], port: int) -> Service:
    """The worker that decides and delivers pushes."""
    return Service(
        "notifier",
        "The notifier",
        (sys.executable, "-m", "serving.notifier"),
        {**environment, "SEDA_NOTIFIER_PORT": str(port)},
        answers_http(port, "/readyz"),
        ready_within_seconds=120,
    )


def materialisation(environment: Mapping[str, str], select: list[str]) -> Service:
    """One run of the graph in a process of its own, recorded by Dagster."""
    command = [sys.executable, "-m", "seda_assets.materialize"]
    if select:
        command += ["--select", *select]
    return Service(MATERIALISATION, "The materialisation", command, _quiet(environment))


def backfilling(environment: Mapping[str, str], arguments: list[str]) -> Service:
    """What a new model left to do, in a process of its own, recorded by Dagster."""
    command = [sys.executable, "-m", "seda_assets.run_backfill", *arguments]
    return Service(BACKFILL, "The backfill", command, _quiet(environment))


def start_dagster(supervisor: Supervisor, environment: Mapping[str, str], ports: Ports) -> None:
    """Start code server, UI and daemon, each when what it needs is ready; returns when they are."""
    socket = _code_socket(supervisor.run_folder)
    socket.unlink(missing_ok=True)
    workspace = supervisor.run_folder / "workspace.yaml"
    workspace.write_text(
        f"load_from:\n  - grpc_server:\n      socket: '{socket}'\n      location_name: {LOCATION}\n"
    )
    for service in _dagster_services(environment, socket, workspace, ports):
        child = supervisor.start(service)
        supervisor.wait_until_ready(child)
        if service.name == "dagster-ui":
            limit_pool(ports.dagster, LISTS_POOL, 1)
            _end_stuck_runs(supervisor, ports.dagster)


def _end_stuck_runs(supervisor: Supervisor, port: int) -> None:
    """Before the daemon counts them: unless `seda materialize` is at work, nobody executes runs."""
    try:
        with lock(supervisor.home, MATERIALISATION):
            end_leftovers(supervisor.run_folder / MATERIALISATION)
            end_stuck_runs(port)
    except AlreadyRunningError:
        return


def _dagster_services(
    environment: Mapping[str, str], socket: Path, workspace: Path, ports: Ports
) -> Iterator[Service]:
    python = (sys.executable, "-m")
    # A canary's gates ask the API and the real-time service, wherever these found a port.
    environment = _quiet({**environment, **ports.environment()})
    yield Service(
        "dagster-code",
        "Dagster's code server",
        (*python, "dagster", "api", "grpc", "--socket", str(socket), "--location-name", LOCATION,
         "--module-name", "seda_assets.definitions"),
        environment,
        accepts_socket(socket),
        ready_within_seconds=180,
    )  # fmt: skip
    yield Service(
        "dagster-ui",
        "The Dagster UI",
        (*python, "dagster_webserver", "-w", str(workspace), "-h", HOST, "-p", str(ports.dagster)),
        environment,
        answers_http(ports.dagster, "/server_info"),
        ready_within_seconds=180,
    )
    yield Service(
        "dagster-daemon",
        "Dagster's daemon",
        (*python, "dagster._daemon", "run", "-w", str(workspace)),
        environment,
    )


def _quiet(environment: Mapping[str, str]) -> dict[str, str]:
    """Dagster warns about its own beta features on every start."""
    return {**environment, "PYTHONWARNINGS": "ignore"}


def _code_socket(run_folder: Path) -> Path:
    """A stable path that fits into a socket's address, which a long SEDA_HOME does not."""
    socket = run_folder / "code.sock"
    if len(os.fsencode(socket)) <= _LONGEST_SOCKET_PATH:
        return socket
    name = hashlib.sha256(os.fsencode(socket)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"seda-{os.getuid()}-{name}.sock"
