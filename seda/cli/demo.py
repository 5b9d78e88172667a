"""What `seda demo` and `seda up` do: everything on this machine, from nothing to a feed.

What is there already is not made again: the second demo starts what the first one computed.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import typer

from seda.cli import services
from seda.cli.feed import describe, fetch_feed, print_feed, somebody
from seda.cli.materialising import materialise
from seda.cli.processes import Supervisor
from seda.cli.progress import ShownProgress
from seda.cli.readiness import HOST, claim_ports
from seda.cli.session import open_databases
from seda.cli.signals import StopRequested, follow_make
from seda.database.migrate import migrate
from seda.database.regions import Databases, Region
from seda.people.tokens import token_of
from seda.sandbox.loading import refuse_production
from seda.sandbox.profiles import PROFILES
from seda.sandbox.seeding import seed_sandbox
from seda.settings import Settings, load_settings

_DEMO_BYTES = 500 << 20
_TOKEN_LIFETIME = timedelta(hours=24)
_INTERRUPTED = 130


def run_demo(profile: str, *, once: bool) -> None:
    """Seed and materialise what is missing, start the services, print a feed; stay, or stop."""
    settings = load_settings()
    refuse_production(settings, "seda demo")

    def work(supervisor: Supervisor) -> None:
        ports = _ports(settings, once=once)
        databases, environment = _open(settings, supervisor, room=_DEMO_BYTES)
        _seed_if_empty(databases, profile)
        _materialise_if_unpublished(databases, supervisor, environment)
        _start_api(supervisor, environment, ports)
        token = _show_feeds(settings, databases, ports)
        if not once:
            _start_others(supervisor, environment, ports)
            _show_addresses(settings, ports, token)
            _stay(supervisor)

    _supervise(settings, work)


def run_services() -> None:
    """Start the services on whatever is in the databases, and stay."""
    settings = load_settings()

    def work(supervisor: Supervisor) -> None:
        ports = _ports(settings, once=False)
        _, environment = _open(settings, supervisor)
        _start_api(supervisor, environment, ports)
        _start_others(supervisor, environment, ports)
        _show_addresses(settings, ports, None)
        _stay(supervisor)

    _supervise(settings, work)


def _supervise(settings: Settings, work: Callable[[Supervisor], None]) -> None:
    follow_make()
    try:
        with Supervisor(settings.home_directory()) as supervisor:
            work(supervisor)
            typer.echo("Stopping.")
    except StopRequested:
        typer.echo("Stopped before everything was up.")
        raise typer.Exit(_INTERRUPTED) from None


def _stay(supervisor: Supervisor) -> None:
    try:
        supervisor.watch()
    except StopRequested:
        return


def _ports(settings: Settings, *, once: bool) -> services.Ports:
    """Checked before anything is started; a demo that stops at once needs the API's alone."""
    if once:
        claimed = claim_ports({"SEDA_API_PORT": settings.api_port})
        return services.Ports(api=claimed["SEDA_API_PORT"], realtime=0, notifier=0, dagster=0)
    return services.Ports.claim(settings)


def _open(
    settings: Settings, supervisor: Supervisor, *, room: int = 0
) -> tuple[Databases, dict[str, str]]:
    """The databases, up to date, and the environment of whatever uses them."""
    typer.echo("Starting the databases.")
    databases = supervisor.keep_open(open_databases(settings, room=room))
    environment = services.child_environment(settings, databases)
    migrate(databases)
    return databases, environment


def _seed_if_empty(databases: Databases, profile: str) -> None:
    with databases[Region.GLOBAL].transaction() as connection:
        if _exists(connection.execute("select exists (select from seda.users)").fetchone()):
            return
    typer.echo(f"Seeding the sandbox `{profile}`.")
    with ShownProgress() as progress:
        seed_sandbox(databases, PROFILES[profile], now=datetime.now(UTC), progress=progress)


def _materialise_if_unpublished(
    databases: Databases, supervisor: Supervisor, environment: Mapping[str, str]
) -> None:
    if all(_is_published(databases, region) for region in Region):
        return
    typer.echo("Materialising the graph through Dagster; this takes a minute or two.")
    materialise(supervisor, environment, [])


def _is_published(databases: Databases, region: Region) -> bool:
    """Whether the region serves lists, or has nobody to serve them to."""
    with databases[region].transaction() as connection:
        return _exists(
            connection.execute(
                "select exists (select from seda.generation_pointer) "
                "or not exists (select from seda.users)"
            ).fetchone()
        )


def _exists(row: tuple[object, ...] | None) -> bool:
    return bool(row and row[0])


def _start_api(
    supervisor: Supervisor, environment: Mapping[str, str], ports: services.Ports
) -> None:
    typer.echo("Starting the API.")
    supervisor.wait_until_ready(supervisor.start(services.api(environment, ports)))


def _start_others(
    supervisor: Supervisor, environment: Mapping[str, str], ports: services.Ports
) -> None:
    typer.echo("Starting the real-time service, the notifier and Dagster.")
    realtime = supervisor.start(services.realtime(environment, ports))
    notifier = supervisor.start(services.notifier(environment, ports.notifier))
    supervisor.wait_until_ready(realtime)
    supervisor.wait_until_ready(notifier)
    services.start_dagster(supervisor, environment, ports)


def _show_feeds(settings: Settings, databases: Databases, ports: services.Ports) -> str | None:
    """Print one listener's feed and where a European's came from; returns the first one's token."""
    listener = somebody(databases, Region.GLOBAL)
    if listener is None:
        typer.echo("Nobody has a published feed yet: run `seda materialize`.")
        return None
    token = token_of(settings, listener.sub, _TOKEN_LIFETIME, datetime.now(UTC))
    typer.echo("")
    print_feed(listener, fetch_feed(ports.api, token))
    european = somebody(databases, Region.EU)
    if european:
        their_token = token_of(settings, european.sub, _TOKEN_LIFETIME, datetime.now(UTC))
        feed = fetch_feed(ports.api, their_token)
        typer.echo(f"EU listener {european.name}: {describe(feed)}, served from the EU database")
    typer.echo("")
    return token


def _show_addresses(settings: Settings, ports: services.Ports, token: str | None) -> None:
    typer.echo("")
    if settings.offers_demo:
        typer.echo(f"Demo page    http://{HOST}:{ports.api}/demo   (open this first)")
    typer.echo(f"Dagster UI   http://{HOST}:{ports.dagster}")
    typer.echo(f"API          http://{HOST}:{ports.api}/docs")
    typer.echo(f"Real-time    http://{HOST}:{ports.realtime}/socket.io/ (Socket.IO)")
    if token:
        typer.echo(f"Token        {token}")
        typer.echo(f"Try          curl -H 'Authorization: Bearer {token}' "
                   f"http://{HOST}:{ports.api}/feed")  # fmt: skip
    typer.echo("\nEverything is up. Ctrl-C stops it.")
