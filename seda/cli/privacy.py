"""The commands about people's data: running jobs, proving erasure, residency, the audit log."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

if TYPE_CHECKING:
    from seda.privacy.verification import Verification

privacy = typer.Typer(no_args_is_help=True, help="Exports, deletions, and proof of both.")
audit = typer.Typer(no_args_is_help=True, help="The audit log.")

FOUND = 3
"""Exit code where something was found that should not be there; 1 is a refusal or a failure."""


def _now() -> datetime:
    return datetime.now(UTC)


@privacy.command()
def run(
    most: Annotated[int, typer.Option(min=1, help="Jobs of a region at most.")] = 200,
    again: Annotated[bool, typer.Option("--again", help="Also what has failed for good.")] = False,
) -> None:
    """Work on the exports and deletions that are due, and on what follows from them.

    Who was erased and came back with a restored backup is deleted again.
    """
    from seda.cli.session import open_databases
    from seda.database.storage import storages
    from seda.privacy.erasure import Places
    from seda.privacy.jobs import revive_failed
    from seda.privacy.notices import open_mailer
    from seda.privacy.running import run_privacy_jobs

    with open_databases() as databases:
        for database in databases if again else ():
            with database.transaction() as connection:
                revive_failed(connection, _now())
        places = Places(databases, storages(databases.settings))
        mailer = open_mailer(databases.settings, _now)
        report = run_privacy_jobs(places, mailer, _now, most=most)
    done = ", ".join(f"{count} {what}" for what, count in sorted(report.jobs.items()))
    typer.echo(f"Jobs: {done or 'none was due'}.")
    typer.echo(
        f"{report.expired} exports were taken back; {report.restored} people of a restored backup "
        f"are deleted again; {report.to_be_remade} files wait for the next run of the graph."
    )
    for region, each in report.rewritten.items():
        typer.echo(f"{region}: {len(each.tables)} tables are written anew.")
        if each.locked:
            typer.echo(f"{region}: {_listed(each.locked)} were held: tried again in five minutes.")
        if each.large:
            typer.echo(
                f"{region}: rows are gone; bytes of {len(each.large)} large tables leave with "
                f"`seda privacy rewrite-tables`, on Sunday at the latest: {_listed(each.large)}."
            )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (" …" if len(names) > 8 else "")


@privacy.command("rewrite-tables")
def rewrite_tables() -> None:
    """Write the tables that hold people anew, so that no byte of deleted rows stays on disk.

    Locks a table while it is written: run it in a quiet hour, within thirty days of a deletion.
    """
    from seda.cli.session import open_databases
    from seda.privacy.rewriting import rewrite_regions

    with open_databases() as databases:
        done = rewrite_regions(databases, _now, wanted=lambda standing: True)
    for region, each in done.items():
        typer.echo(
            f"{region}: {len(each.tables)} tables are written anew"
            + (f", {', '.join(each.locked)} stayed locked" if each.locked else "")
            + ("." if each.log_renewed else "; the write-ahead log was not renewed.")
        )
    if any(each.locked for each in done.values()):
        raise typer.Exit(1)


@privacy.command("verify-erasure")
def verify_erasure(
    user: Annotated[UUID, typer.Option(help="users.id of who was erased.")],
    also: Annotated[
        list[str] | None,
        typer.Option(help="A text to look for: subject, e-mail, name. May be repeated."),
    ] = None,
    server_files: Annotated[
        bool, typer.Option(help="Look at the server's write-ahead log and log, too.")
    ] = True,
) -> None:
    """Look for a person in every place, row by row and byte by byte.

    Exit code 0: nothing is left anywhere; 3: something is, and the places are listed.
    """
    from seda.cli.session import open_databases
    from seda.database.storage import storages
    from seda.privacy.traces import Traces
    from seda.privacy.verification import record_verification
    from seda.privacy.verification import verify_erasure as verify

    ids, texts = [user], []
    for text in also or ():
        try:
            ids.append(UUID(text))
        except ValueError:
            texts.append(text)
    traces = Traces(tuple(ids), tuple(texts))
    with open_databases() as databases:
        found = verify(databases, storages(databases.settings), traces, server_files=server_files)
        for database in databases:
            with database.transaction() as connection:
                record_verification(connection, user, found, _now())
    _print(found)
    if not found.clean:
        raise typer.Exit(FOUND)


def _print(found: "Verification") -> None:
    typer.echo(f"Looked at {', '.join(found.places)}.")
    for why in found.unseen:
        typer.echo(f"Not looked at – {why}.")
    if found.stale:
        typer.echo(
            f"{len(found.stale)} files were computed with people who are gone and wait to be made "
            f"again: {_listed(found.stale)}."
        )
    if found.waiting:
        typer.echo(f"Tables that are still to be written anew: {_listed(found.waiting)}.")
    if found.clean:
        typer.echo("Nothing is left.")
    for each in found.findings:
        typer.echo(f"LEFT  {each.place}: {each.name} ({each.what})")


@privacy.command("scan-residency")
def scan_residency() -> None:
    """Look for rows and files of a person that are in the other region. Exit code 3: some are."""
    from seda.cli.session import open_databases
    from seda.database.storage import storages
    from seda.privacy.residency import scan

    with open_databases() as databases:
        found = scan(databases, storages(databases.settings))
    for each in found:
        typer.echo(f"ASTRAY  {each.region}: {each.where}: {each.count} {each.what}")
    if found:
        raise typer.Exit(FOUND)
    typer.echo("Everybody's data is in their own region.")


@audit.command("verify")
def verify_audit() -> None:
    """Check the chain of both regions' logs. Exit code 3: it is broken, and where is said."""
    from seda.cli.session import open_databases
    from seda.database.storage import storages
    from seda.privacy.audit import verify_chain

    broken = False
    with open_databases() as databases:
        places = storages(databases.settings)
        for database in databases:
            with database.transaction() as connection:
                first = verify_chain(connection, places[database.region])
                row = connection.execute("select count(*) from seda.audit_log").fetchone()
            if first:
                broken = True
                typer.echo(f"{database.region}: row {first.id} is broken: {first.why}.")
            else:
                typer.echo(f"{database.region}: {row[0] if row else 0} rows, and the chain holds.")
    if broken:
        raise typer.Exit(FOUND)


@audit.command("trim")
def trim_audit() -> None:
    """Take out rows that are older than three years; the log says so."""
    from seda.cli.session import open_databases
    from seda.privacy.audit import trim

    with open_databases() as databases:
        for database in databases:
            with database.transaction() as connection:
                typer.echo(f"{database.region}: {trim(connection, _now())} rows were taken out.")
