"""Our own standing with providers: Apple's developer token, sealed, and renewed in time."""

from collections.abc import Callable
from datetime import datetime

import psycopg
from pydantic import SecretStr

from seda.database.regions import RegionalDatabase
from seda.links.apple import DEVELOPER_TOKEN, RENEW_AFTER
from seda.links.connector import Sealer

_ISSUED = "select issued_at from seda.provider_credentials where name = %s"
_STORE = """
    insert into seda.provider_credentials (name, secret_encrypted, issued_at)
    values (%(name)s, %(sealed)s, %(now)s)
    on conflict (name) do update
    set secret_encrypted = excluded.secret_encrypted, issued_at = excluded.issued_at
"""
_FORGET = "delete from seda.link_attempts where expires_at <= %s"


def developer_token_due(connection: psycopg.Connection, *, now: datetime) -> bool:
    """Whether there is no developer token, or one that is 90 days old."""
    row = connection.execute(_ISSUED, [DEVELOPER_TOKEN]).fetchone()
    return row is None or now - row[0] >= RENEW_AFTER


def renew_developer_token(
    database: RegionalDatabase, sealer: Sealer, sign: Callable[[], SecretStr], *, now: datetime
) -> bool:
    """Store a developer token where there is none or it is 90 days old; whether it did."""
    with database.transaction() as connection:
        if not developer_token_due(connection, now=now):
            return False
        place = {
            "table": "provider_credentials", "column": "secret_encrypted", "row": DEVELOPER_TOKEN,
        }  # fmt: skip
        sealed = sealer.seal(sign(), **place)
        connection.execute(_STORE, {"name": DEVELOPER_TOKEN, "sealed": sealed, "now": now})
    return True


def forget_attempts(database: RegionalDatabase, *, now: datetime) -> int:
    """Delete attempts to link that are out of time; how many there were."""
    with database.transaction() as connection:
        return connection.execute(_FORGET, [now]).rowcount
