"""The log of statements that changed what the catalogue's texts are made of.

Triggers write it; a refresh takes off what it has read. Ids and transactions do not commit in
order, so a reader looks only at transactions that are older than every open one.
"""

import psycopg

_PENDING = """
    select entity_type, max(id) from seda.catalogue_changes
    where transaction_id < pg_snapshot_xmin(pg_current_snapshot())
    group by entity_type order by entity_type"""


def pending_changes(connection: psycopg.Connection) -> dict[str, int]:
    """Entity types with changes that no refresh has read: type → the newest change's number."""
    return {str(kind): int(newest) for kind, newest in connection.execute(_PENDING)}


def oldest_open_transaction(connection: psycopg.Connection) -> str:
    """Everything of transactions before this one is visible to the statements that follow."""
    row = connection.execute("select pg_snapshot_xmin(pg_current_snapshot())::text").fetchone()
    return str(row[0]) if row else "0"


def take_off(connection: psycopg.Connection, entity_type: str, *, before: str) -> int:
    """Forget the changes of one type that were read; returns how many."""
    return connection.execute(
        "delete from seda.catalogue_changes where entity_type = %s and transaction_id < %s::xid8",
        [entity_type, before],
    ).rowcount
