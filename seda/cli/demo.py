"""`seda demo` and `seda up`: everything on this machine, from nothing to a feed.

What is there already is not made again: the second demo starts what the first one computed.
"""

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import typer
from rich.console import Console

from seda.cli import services
from seda.cli.feed import describe, fetch_feed, print_feed, somebody, token_of
from seda.cli.processes import ServiceFailedError, Supervisor, describe_status
from seda.cli.progress import ShownProgress
from seda.cli.readiness import HOST, claim_ports
from seda.cli.session import open_databases
from seda.cli.signals import StopRequested, follow_make
from seda.database.migrate import migrate
from seda.database.regions import Databases, Region
from seda.errors import SedaError
from seda.sandbox.loading import refuse_production
from seda.sandbox.profiles import PROFILES
from seda.sandbox.seeding import seed_sandbox
from seda.settings import Settings, load_settings

_FIRST_START_BYTES = 700 << 20
_LATER_START_BYTES = 64 << 20
_TOKEN_LIFETIME = timedelta(hours=24)


class FullHomeError(SedaError):
    """There is not enough room for the embedded databases."""


def demo(profile: str, *, once: bool) -> None:
    """Seed and materialise what is missing, start the services, print a feed, stay or stop."""
    settings = load_settings()
    refuse_production(settings, "seda demo")
    with _running(settings) as (supervisor, console):
        ports = _ports(settings, once=once)
        _refuse_full(settings.home_directory())
        with _databases(settings, console) as databases:
            environment = services.child_environment(settings, databases)
            _seed_if_empty(databases, profile, console)
            _materialise_if_unpublished(databases, supervisor, environment, console)
            _start_api(supervisor, environment, ports.api, console)
            token = _show_feeds(settings, databases, ports.api, console)
            if once:
                return
            _start_others(supervisor, environment, ports, console)
            _show_addresses(console, ports, token)
            supervisor.watch()


def up() -> None:
    """Start the services on whatever is in the databases, and stay."""
    settings = load_settings()
    with _running(settings) as (supervisor, console):
        ports = services.Ports.claim(settings)
        _refuse_full(settings.home_directory())
        with _databases(settings, console) as databases:
            environment = services.child_environment(settings, databases)
            _start_api(supervisor, environment, ports.api, console)
            _start_others(supervisor, environment, ports, console)
            _show_addresses(console, ports, None)
            supervisor.watch()


@contextmanager
def _running(settings: Settings) -> Iterator[tuple[Supervisor, Console]]:
    """A supervisor and where to speak; a request to stop ends the block without a traceback."""
    console = Console()
    follow_make()
    try:
        with Supervisor(settings.home_directory()) as supervisor:
            yield supervisor, console
    except StopRequested:
        console.print("Stopped.")
        raise typer.Exit(0) from None


def _ports(settings: Settings, *, once: bool) -> services.Ports:
    """Checked before anything is started; a demo that stops at once needs the API's alone."""
    if once:
        claimed = claim_ports({"SEDA_API_PORT": settings.api_port})
        return services.Ports(api=claimed["SEDA_API_PORT"], realtime=0, dagster=0)
    return services.Ports.claim(settings)


def _refuse_full(home: Path) -> None:
    """The databases grow while they are filled: better to say so before than in the middle."""
    first = not (home / "postgres" / "PG_VERSION").exists()
    needed = _FIRST_START_BYTES if first else _LATER_START_BYTES
    free = shutil.disk_usage(home).free
    if free < needed:
        raise FullHomeError(
            f"SEDA_HOME {home} has {free >> 20} MB left and {needed >> 20} MB are needed: free "
            "some space there, or set SEDA_HOME to another folder."
        )


@contextmanager
def _databases(settings: Settings, console: Console) -> Iterator[Databases]:
    with console.status("Starting the databases"), open_databases(settings) as databases:
        ...
