"""The commands about embeddings: their state, filling and promoting a space, raising the cap."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from seda.cli.options import RegionName

if TYPE_CHECKING:
    import psycopg

    from seda.embeddings.routes import AnyEmbeddings

embeddings = typer.Typer(no_args_is_help=True, help="Providers, spaces, queue and spend.")

_RECENT = timedelta(days=7)
_REGION = Annotated[RegionName, typer.Option(help="Which region.")]
_SPACE = Annotated[str, typer.Argument(metavar="SPACE", help="provider:model:dim:version:region")]


@embeddings.command()
def status() -> None:
    """Show spaces, breakers, waiting texts and the month's spend, by region."""
    from seda.cli.session import open_databases
    from seda.embeddings.routes import embeddings_of
    from seda.settings import load_settings

    settings = load_settings()
    with open_databases(settings) as databases:
        for database in databases:
            with database.transaction() as connection:
                found = embeddings_of(settings, database.region, connection)
                _print_spaces(connection, found)
                _print_breakers(connection)
                _print_queue(connection)
                _print_spend(connection, found)


@embeddings.command()
def fill(space: _SPACE, region: _REGION = RegionName.GLOBAL) -> None:
    """Embed what a standby's space lacks, ahead of its promotion.

    Pauses at 80 % of the monthly cap; run it again to go on where it stopped.
    """
    import os
    import socket

    from seda.cli.progress import ShownProgress
    from seda.cli.session import open_databases
    from seda.database.regions import Region
    from seda.embeddings.routes import embeddings_of
    from seda.embeddings.spaces import EmbeddingSpace
    from seda.settings import load_settings
    from seda.vectorstore.promotion import EMBEDDED_TYPES
    from seda.vectorstore.refresh import fill_space

    settings, chosen = load_settings(), EmbeddingSpace.parse(space)
    with open_databases(settings) as databases:
        database = databases[Region(region.value)]
        with database.transaction() as connection:
            found = embeddings_of(settings, database.region, connection)
        with ShownProgress() as progress:
            filled = [
                fill_space(
                    database, kind, found, chosen, worker=f"{socket.gethostname()}:{os.getpid()}",
                    clock=lambda: datetime.now(UTC), progress=progress,
                )
                for kind in EMBEDDED_TYPES
            ]  # fmt: skip
    embedded = sum(sum(done.embedded.values()) for done in filled)
    lacking = sum(done.without_vector for done in filled)
    typer.echo(f"{embedded:,} texts were embedded; {lacking:,} are still without a vector.")
    if lacking:
        typer.echo(
            "Not complete: a provider or the budget refused; see `seda embeddings status`.",
            err=True,
        )
        raise typer.Exit(1)


@embeddings.command()
def promote(space: _SPACE, region: _REGION = RegionName.GLOBAL) -> None:
    """Make a complete standby space the active one.

    The former active space becomes the standby, so the way back is the same command. Lists follow
    with the next `seda materialize` or nightly run.
    """
    import getpass

    from seda.cli.session import open_databases
    from seda.database.regions import Region
    from seda.embeddings.spaces import EmbeddingSpace
    from seda.vectorstore.promotion import promote_space

    with open_databases() as databases:
        before = promote_space(
            databases[Region(region.value)],
            EmbeddingSpace.parse(space),
            actor=getpass.getuser(),
            now=datetime.now(UTC),
        )
    typer.echo(f"{space} is active now" + (f"; {before.id} is a standby." if before else "."))


@embeddings.command()
def override(
    approver: Annotated[UUID, typer.Option(help="User id of the super_admin who approves.")],
    reason: Annotated[str, typer.Option(help="Stands in the audit log.")],
    cap_usd: Annotated[float, typer.Option(help="The month's cap meanwhile.", min=0.01)],
    hours: Annotated[float, typer.Option(help="How long; a week at most.", min=0.1)] = 24.0,
    region: _REGION = RegionName.GLOBAL,
) -> None:
    """Raise the monthly cap for a while, with a super_admin's approval."""
    from seda.cli.session import open_databases
    from seda.database.regions import Region
    from seda.embeddings.overrides import Override, record_override

    now = datetime.now(UTC)
    asked = Override(Decimal(str(cap_usd)), approver, reason, now + timedelta(hours=hours))
    with open_databases() as databases, databases[Region(region.value)].transaction() as connection:
        record_override(connection, asked, now=now)
    typer.echo(f"The cap is ${asked.cap_usd:,.2f} until {asked.expires_at:%Y-%m-%d %H:%M} UTC.")


def _print_spaces(connection: "psycopg.Connection", found: "AnyEmbeddings") -> None:
    from seda.cli.tables import new_table, print_table
    from seda.embeddings.space_rows import space_states
    from seda.vectorstore.rows import count_vectors

    table = new_table(
        f"{found.region}: embedding spaces", "space", "state", "provider", "vectors",
        right=("vectors",),
    )  # fmt: skip
    states = space_states(connection)
    for space in [*states, *(r.space for r in found.routes if r.space not in states)]:
        configured = "configured" if found.route(space) else "not configured"
        state = states.get(space, "unused")
        table.add_row(space.id, state, configured, f"{count_vectors(connection, space):,}")
    print_table(table)
    if states and found.preferred.space != found.active and found.preferred.is_hosted:
        typer.echo(
            f"{found.preferred.space.id} is configured but not active: "
            f"`seda embeddings fill` it, then `seda embeddings promote` it."
        )


def _print_breakers(connection: "psycopg.Connection") -> None:
    from seda.cli.tables import new_table, print_table
    from seda.embeddings.breaker_rows import breakers, transitions

    present = breakers(connection)
    if not present:
        return
    table = new_table("Breakers", "provider", "phase", "since", "last transition")
    log = transitions(connection, since=datetime.now(UTC) - _RECENT)
    for provider, breaker in present.items():
        mine = [entry for entry in log if entry.provider == provider]
        last = f"{mine[-1].before} → {mine[-1].after}: {mine[-1].reason}" if mine else ""
        table.add_row(provider, str(breaker.phase), f"{breaker.since:%Y-%m-%d %H:%M:%S}", last)
    print_table(table)


def _print_queue(connection: "psycopg.Connection") -> None:
    from seda.cli.tables import new_table, print_table
    from seda.embeddings.waiting import queue_depths

    depths = queue_depths(connection)
    if not depths:
        typer.echo("No text waits for a vector.")
        return
    table = new_table("Waiting texts", "space", "type", "why", "texts", "oldest", "next attempt",
                      right=("texts",))  # fmt: skip
    for depth in depths:
        oldest, upcoming = (f"{when:%Y-%m-%d %H:%M}" for when in (depth.oldest, depth.retry_at))
        table.add_row(depth.space_id, depth.entity_type, depth.reason, f"{depth.texts:,}",
                      oldest, upcoming)  # fmt: skip
    print_table(table)


def _print_spend(connection: "psycopg.Connection", found: "AnyEmbeddings") -> None:
    from seda.embeddings.spend import budget_status

    status = budget_status(connection, found.policy.rules.budget, now=datetime.now(UTC))
    typer.echo(
        f"This month: ${status.committed_usd:,.4f} of ${status.budget.cap_usd:,.2f} "
        f"({status.share:.1%}), projected ${status.projected_usd:,.2f}; what can wait pauses at "
        f"${status.budget.pause_usd:,.2f}."
    )
    if status.override:
        typer.echo(
            f"The cap is raised until {status.override.expires_at:%Y-%m-%d %H:%M} UTC: "
            f"{status.override.reason}"
        )
    typer.echo("")
