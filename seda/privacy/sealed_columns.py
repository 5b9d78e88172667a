"""Every column that the vault seals: which keys it is wrapped by, and wrapping it again in parts.

The key's id stands in clear text at the head of a sealed value, so the database itself counts and
finds what an older key wraps, and no secret is opened for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql

from seda.database.regions import RegionalDatabase
from seda.errors import SedaError
from seda.privacy.keys import (
    ForeignCiphertextError,
    KeyInfo,
    RetiredKeyError,
    UnknownKeyError,
)
from seda.privacy.vault import Vault

BATCH = 200


class KeyInUseError(SedaError):
    """Rows are still wrapped by a key that should be retired."""


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column, and the expression that names its row for the vault (text, unique)."""

    table: str
    column: str
    row: str


LINK_TOKENS = SealedColumn(
    "linked_accounts", "refresh_token_encrypted", "user_id || '/' || provider"
)
VERIFIERS = SealedColumn(
    "link_attempts", "verifier_encrypted", "user_id || '/' || encode(state_hash, 'hex')"
)
CREDENTIALS = SealedColumn("provider_credentials", "secret_encrypted", "name")
SEALED_COLUMNS = (LINK_TOKENS, VERIFIERS, CREDENTIALS)

_KEY_ID = sql.SQL("substring({column} from 4 for get_byte({column}, 2))")


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """What a pass did: values wrapped again, and values that could not be opened (left alone)."""

    values: int
    unreadable: int


def key_counts(connection: psycopg.Connection) -> dict[str, int]:
    """How many values each key wraps, by key id."""
    counts: dict[str, int] = {}
    for each in SEALED_COLUMNS:
        query = _query(
            "select encode({key_id}, 'escape'), count(*) from {table} "
            "where octet_length({column}) > 3 group by 1",
            each,
        )
        for key_id, values in connection.execute(query).fetchall():
            counts[key_id] = counts.get(key_id, 0) + values
    return counts


def rewrap_values(
    database: RegionalDatabase, vault: Vault, *, most: int | None = None
) -> Rewrapped:
    """Wrap values of older keys by the current one, all or up to `most`, once through the columns.

    A value that somebody changes meanwhile stays as they wrote it. What cannot be opened is counted
    and passed over: its owner is told when it is next used.
    """
    values = unreadable = 0
    for each in SEALED_COLUMNS:
        after: str | None = ""
        while after is not None and (most is None or values < most):
            size = BATCH if most is None else min(BATCH, most - values)
            done, after = _rewrap_batch(database, vault, each, after, size)
            values, unreadable = values + done.values, unreadable + done.unreadable
    return Rewrapped(values, unreadable)


def rotate_key(
    databases: Sequence[RegionalDatabase], vault: Vault, *, actor: str, now: datetime
) -> KeyInfo:
    """Make a new current key; audited."""
    made = vault.keys.rotate(now)
    _audit(databases, "keys.rotated", made.key_id, actor, now)
    return made


def retire_key(
    databases: Sequence[RegionalDatabase], vault: Vault, key_id: str, *, actor: str, now: datetime
) -> None:
    """Take a key out of use, once nothing needs it; audited.

    Raises:
        KeyInUseError: it is the current one, or still wraps values in a region.
        UnknownKeyError, RetiredKeyError: there is no such key to retire.
    """
    if key_id == vault.keys.current().key_id:
        raise KeyInUseError(f"{key_id} is the current key: `seda keys rotate` first.")
    for database in databases:
        with database.transaction() as connection:
            left = key_counts(connection).get(key_id, 0)
        if left:
            raise KeyInUseError(
                f"{key_id} still wraps {left:,} values in the {database.region} region: run "
                "`seda keys rewrap` first."
            )
    vault.keys.retire(key_id)
    _audit(databases, "keys.retired", key_id, actor, now)


def _audit(
    databases: Sequence[RegionalDatabase], action: str, key_id: str, actor: str, now: datetime
) -> None:
    for database in databases:
        with database.transaction() as connection:
            connection.execute(
                "insert into seda.audit_log (occurred_at, actor, action, subject) "
                "values (%s, %s, %s, %s)",
                [now, actor, action, key_id],
            )


def _rewrap_batch(
    database: RegionalDatabase, vault: Vault, column: SealedColumn, after: str, most: int
) -> tuple[Rewrapped, str | None]:
    """What became of the next rows behind the row `after`, and the last of them; None at the end.

    Row by row, so that values which nothing opens keep nobody else from their turn.
    """
    current = vault.keys.current().key_id.encode()
    with database.transaction() as connection:
        found = connection.execute(
            _query(
                "select {row}, {column} from {table} where octet_length({column}) > 3 "
                "and {key_id} <> %s and {row} > %s order by 1 limit %s",
                column,
            ),
            [current, after, most],
        ).fetchall()
    if not found:
        return Rewrapped(0, 0), None
    # Outside of a transaction: a key service may take its time.
    names, before, rewrapped, unreadable = [], [], [], 0
    for row, sealed in found:
        try:
            again = vault.rewrap(sealed, table=column.table, column=column.column, row=row)
        except (ForeignCiphertextError, RetiredKeyError, UnknownKeyError):
            unreadable += 1
            continue
        names.append(row)
        before.append(sealed)
        rewrapped.append(again)
    with database.transaction() as connection:
        written = connection.execute(
            _query(
                "update {table} set {column} = v.after from unnest(%s::text[], %s::bytea[], "
                "%s::bytea[]) as v(row, before, after) where {row} = v.row "
                "and {column} = v.before",
                column,
            ),
            [names, before, rewrapped],
        ).rowcount
    return Rewrapped(written, unreadable), str(found[-1][0])


def _query(text: str, column: SealedColumn) -> sql.Composed:
    name = sql.Identifier(column.column)
    return sql.SQL(text).format(
        table=sql.Identifier("seda", column.table),
        column=name,
        key_id=_KEY_ID.format(column=name),
        row=sql.SQL(f"({column.row})"),
    )
