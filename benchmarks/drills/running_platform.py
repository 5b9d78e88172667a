"""The whole platform in a home of its own, and its command line.

The services are those that `seda up` starts, with `dagster dev` on the repository's workspace in
place of its three processes of Dagster.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.drills.dagster_ui import PATIENCE_SECONDS, DagsterUi, DagsterUiError
from seda.cli import services
from seda.cli.processes import Service, Supervisor
from seda.cli.readiness import HOST, answers_http, claim_ports
from seda.cli.session import open_databases
from seda.cli.stuck_runs import limit_pool
from seda.database.regions import Databases
from seda.settings import REPOSITORY, load_settings

_FOREIGN = ("SEDA_", "DAGSTER_", "PG", "OPENAI_", "COHERE_")
_PORTS = ("SEDA_API_PORT", "SEDA_REALTIME_PORT", "SEDA_NOTIFIER_PORT", "SEDA_DAGSTER_PORT")


@dataclass(frozen=True)
class RunningPlatform:
    """Where everything is, and who watches it."""

    databases: Databases
    ports: services.Ports
    ui: DagsterUi
    supervisor: Supervisor


def seda(*arguments: str, status: int = 0) -> str:
    """What a command of the command line prints.

    Raises:
        RuntimeError: it ended with another status.
    """
    done = subprocess.run(
        [Path(sys.executable).with_name("seda"), *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != status:
        raise RuntimeError(
            f"seda {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return done.stdout


@contextmanager
def own_home() -> Iterator[Databases]:
    """Empty databases in a SEDA_HOME of its own, and free ports, for this process and its children;
    all of it is gone afterwards."""
    for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
        del os.environ[name]
    home = Path(tempfile.mkdtemp(prefix="seda-day-"))
    home.chmod(0o755)
    ports = claim_ports(dict.fromkeys(_PORTS, 0))
    # Everybody comes from this machine's address.
    os.environ |= {"SEDA_HOME": str(home), "SEDA_RATE_LIMIT_ADDRESS": "0"}
    os.environ |= {name: str(port) for name, port in ports.items()}
    load_settings.cache_clear()
    try:
        with open_databases() as databases:
            yield databases
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def running_services(databases: Databases) -> Iterator[RunningPlatform]:
    """The API, the real-time service and the notifier, over what is in the databases."""
    settings = databases.settings
    ports = services.Ports(
        settings.api_port, settings.realtime_port, settings.notifier_port, settings.dagster_port
    )
    with Supervisor(settings.home_directory()) as supervisor:
        environment = services.child_environment(settings, databases)
        children = [
            supervisor.start(service)
            for service in (
                services.api(environment, ports),
                services.realtime(environment, ports),
                services.notifier(environment, ports.notifier),
            )
        ]
        supervisor.wait_until_ready(*children)
        yield RunningPlatform(databases, ports, DagsterUi(ports.dagster), supervisor)


def start_dagster_dev(platform: RunningPlatform) -> None:
    """`dagster dev` on the repository's workspace; returns when its UI knows the code location."""
    databases, port = platform.databases, platform.ports.dagster
    environment = services.child_environment(databases.settings, databases)
    command = (
        sys.executable, "-m", "dagster", "dev", "-w", str(REPOSITORY / "workspace.yaml"),
        "-h", HOST, "-p", str(port),
    )  # fmt: skip
    ready = answers_http(port, "/server_info")
    dagster = Service(
        "dagster-dev", "`dagster dev`", command, {**environment, "PYTHONWARNINGS": "ignore"},
        ready, PATIENCE_SECONDS,
    )  # fmt: skip
    platform.supervisor.wait_until_ready(platform.supervisor.start(dagster))
    _await_location(platform.ui)
    limit_pool(port, services.LISTS_POOL, 1)  # as `seda up` does


def _await_location(ui: DagsterUi) -> None:

    def loaded() -> bool | None:
        try:
            return bool(ui.sensor("canaries"))
        except DagsterUiError:
            return None

    ui.awaited(loaded, "the code location")
