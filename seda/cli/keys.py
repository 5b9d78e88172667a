"""The commands about the keys that seal tokens: their state, a new one, the end of an old one."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from seda.database.regions import Databases
    from seda.privacy.vault import Vault

_ACTOR = "seda keys"

keys = typer.Typer(no_args_is_help=True, help="The keys that seal people's tokens.")


@keys.command()
def status() -> None:
    """Show the current key, its age, and what each key wraps; exit 1 where a rotation is due."""
    from seda.cli.session import open_databases
    from seda.cli.tables import new_table, print_table
    from seda.privacy.keys import ROTATE_AFTER
    from seda.privacy.sealed_columns import key_counts
    from seda.privacy.vault import open_vault

    with open_databases() as databases:
        current = open_vault(databases.settings).keys.current()
        table = new_table("Sealed values", "region", "key", "values", right=("values",))
        for database in databases:
            with database.transaction() as connection:
                counts = key_counts(connection)
            for key_id, values in sorted(counts.items()):
                table.add_row(str(database.region), key_id, f"{values:,}")
    print_table(table)
    now = datetime.now(UTC)
    age = (now - current.created_at).days
    typer.echo(f"The current key is {current.key_id}, {age} days old.")
    if current.is_due(now):
        typer.echo(f"It is older than {ROTATE_AFTER.days} days: run `seda keys rotate`.", err=True)
        raise typer.Exit(1)


@keys.command()
def rotate(
    rewrap: Annotated[
        bool, typer.Option(help="Wrap everything again now; else at its next use, or nightly.")
    ] = True,
) -> None:
    """Make a new current key, while everything runs."""
    from seda.cli.session import open_databases
    from seda.privacy.sealed_columns import rotate_key
    from seda.privacy.vault import open_vault

    with open_databases() as databases:
        vault = open_vault(databases.settings)
        made = rotate_key(list(databases), vault, actor=_ACTOR, now=datetime.now(UTC))
        typer.echo(f"The current key is {made.key_id}.")
        if rewrap:
            _rewrap(databases, vault)


@keys.command("rewrap")
def rewrap_all() -> None:
    """Wrap by the current key what older keys still wrap."""
    from seda.cli.session import open_databases
    from seda.privacy.vault import open_vault

    with open_databases() as databases:
        _rewrap(databases, open_vault(databases.settings))


@keys.command()
def retire(
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="As `seda keys status` names it.")],
) -> None:
    """Take an old key out of use for ever; refused while it wraps anything."""
    from seda.cli.session import open_databases
    from seda.privacy.sealed_columns import retire_key
    from seda.privacy.vault import open_vault

    with open_databases() as databases:
        vault = open_vault(databases.settings)
        retire_key(list(databases), vault, key_id, actor=_ACTOR, now=datetime.now(UTC))
    typer.echo(f"{key_id} is retired.")


def _rewrap(databases: "Databases", vault: "Vault") -> None:
    from seda.privacy.sealed_columns import rewrap_values

    values = unreadable = 0
    for database in databases:
        done = rewrap_values(database, vault)
        values, unreadable = values + done.values, unreadable + done.unreadable
    typer.echo(f"{values:,} values were wrapped again.")
    if unreadable:
        typer.echo(
            f"{unreadable:,} cannot be opened: their owners are asked to link again.", err=True
        )
        raise typer.Exit(1)
