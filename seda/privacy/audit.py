"""The audit log's chain: verified row by row, its head kept outside of the database, its retention.

The chain itself is made by the database (migrations 0016 and 0018), which also keeps its last row
apart, so that rows cut off the end are missed at once. Whoever can write the database as its owner
could forge both; the head in the region's storage tells then.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import orjson
import psycopg

from seda.database.storage import NotStoredError, RegionalStorage

AUDIT_LIFETIME: Final = timedelta(days=3 * 365)
HEAD: Final = "audit/head"

_BROKEN = """
    with chained as (
        select a.*, lag(hash) over (order by id) as before, lag(id) over (order by id) as id_before,
               seda.audit_digest(previous, id, occurred_at, actor, action, subject, details)
                   as computed
        from seda.audit_log a
    )
    select id, case
        when hash <> computed then 'its contents are not what was hashed'
        when id_before is null then 'it begins the log, and no trimming says that it may'
        when id <> id_before + 1 then 'rows before it are missing'
        else 'it does not follow from the row before it' end
    from chained c
    where hash <> computed
       or case when id_before is not null then id <> id_before + 1 or previous <> before
               else previous <> '\\x'::bytea and not exists (
                   select from seda.audit_log t where t.action = 'audit.trimmed'
                     and t.subject = (c.id - 1)::text
                     and t.details ->> 'hash' = encode(c.previous, 'hex')) end
    order by id limit 1
"""
# Cut at its end, the rest of the log holds together; what it ended with stands apart.
_CUT = """
    select coalesce(h.id, last.id) from (select max(id) as id from seda.audit_log) last
    left join seda.audit_head h on true
    where last.id is distinct from h.id or h.hash is distinct from (
        select a.hash from seda.audit_log a where a.id = h.id)
"""


@dataclass(frozen=True)
class BrokenChain:
    """The first row that does not hold, and why."""

    id: int
    why: str


def verify_chain(connection: psycopg.Connection, storage: RegionalStorage) -> BrokenChain | None:
    """The first broken row of the log, or None. It must end with the row that was written last,
    and have the row of the storage's head, unless retention took that."""
    row = connection.execute(_BROKEN).fetchone()
    if row:
        return BrokenChain(int(row[0]), str(row[1]))
    row = connection.execute(_CUT).fetchone()
    if row and row[0] is not None:
        return BrokenChain(int(row[0]), "the log does not end with the row that was written last")
    try:
        head = orjson.loads(storage.get_bytes(HEAD))
    except NotStoredError:
        return None
    found = connection.execute(
        "select encode(hash, 'hex') from seda.audit_log where id = %s", [head["id"]]
    ).fetchone()
    if found is None or found[0] != head["hash"]:
        return BrokenChain(head["id"], "it is gone or another than when the head was kept")
    return None


def keep_head(connection: psycopg.Connection, storage: RegionalStorage) -> None:
    """Keep the newest row's id and hash in the region's storage; never an older one's."""
    row = connection.execute(
        "select id, encode(hash, 'hex') from seda.audit_log order by id desc limit 1"
    ).fetchone()
    if row is None or verify_chain(connection, storage) is not None:
        return  # a broken log must not get a head that fits it
    storage.put_bytes(HEAD, orjson.dumps({"id": row[0], "hash": row[1]}))


def trim(connection: psycopg.Connection, now: datetime) -> int:
    """Take out what is older than three years, and say so in the log; how many rows."""
    row = connection.execute(
        "select seda.trim_audit(%s, %s)", [now - AUDIT_LIFETIME, now]
    ).fetchone()
    return int(row[0]) if row else 0
