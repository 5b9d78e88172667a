"""The command that acts for a person: `token`."""

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from seda.errors import SedaError

if TYPE_CHECKING:
    from seda.database.regions import Databases

_SUBJECT = """
select auth_user_id from seda.users
where deleted_at is null
  and (id::text = %(given)s or auth_user_id = %(given)s or external_ids ->> 'lastfm' = %(given)s)
limit 1
"""


class UnknownPersonError(SedaError):
    """There is nobody to mint a token for."""


def token(
    user: Annotated[
        str, typer.Option(help="users.id, auth_user_id, or the id in an imported source.")
    ],
    hours: Annotated[float, typer.Option(min=0.01, help="How long it is valid.")] = 24.0,
) -> None:
    """Print a token to try the API with."""
    from datetime import UTC, datetime, timedelta

    from seda.cli.session import open_databases
    from seda.people.tokens import token_of

    with open_databases() as databases:
        subject = _subject(databases, user)
        now = datetime.now(UTC)
        typer.echo(token_of(databases.settings, subject, timedelta(hours=hours), now))


def _subject(databases: "Databases", given: str) -> UUID:
    for database in databases:
        with database.transaction() as connection:
            row = connection.execute(_SUBJECT, {"given": given.strip().lower()}).fetchone()
        if row and row[0]:
            return UUID(row[0])
        if row:
            raise UnknownPersonError(
                f"{given} has never signed in, so no token can speak for them: choose another user."
            )
    raise UnknownPersonError(
        f"There is no user {given} in either region: give a value of seda.users.id."
    )
