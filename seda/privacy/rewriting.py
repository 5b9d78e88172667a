"""Rewrites tables so that no byte of deleted rows is left on disk.

Postgres frees the room of a deleted row and does not overwrite it: after a plain VACUUM its bytes
are still in the file, between the live rows, and so are the sampled values in its statistics and
the records in its write-ahead log. `VACUUM FULL` writes the table and its indexes anew. It locks a
table while it does, so it belongs into a quiet hour; deletions may wait for it for thirty days.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from seda.privacy.datamap import data_map, holds_people
from seda.privacy.sweep_database import data_directory

LOCK_TIMEOUT: Final = "10s"
_DUE: Final = """
    select exists (
        select from seda.audit_log
        where action in ('privacy.account_erased', 'privacy.imports_erased')
          and id > coalesce((select max(id) from seda.audit_log
                             where action = 'privacy.tables_rewritten'), 0))
"""
_MOST_SEGMENTS: Final = 64
_TABLES: Final = """
    select relname::text from pg_class
    where relnamespace = 'seda'::regnamespace and relkind = 'r' and relname = any (%s)
    union all
    select c.relname::text from pg_class c join pg_inherits i on i.inhrelid = c.oid
    join pg_class parent on parent.oid = i.inhparent
    where c.relnamespace = 'seda'::regnamespace and c.relkind = 'r' and parent.relname = any (%s)
    order by 1
"""


@dataclass(frozen=True)
class Rewriting:
    """Tables that were written anew, those that stayed locked, and whether old write-ahead log went
    (where the server's files are ours)."""

    tables: tuple[str, ...]
    locked: tuple[str, ...]
    log_renewed: bool


def rewrite_tables(
    connection: psycopg.Connection, only: Iterable[str] | None = None, *, renew_log: bool = True
) -> Rewriting:
    """Rewrite every table that can hold people's rows, or `only` those; `connection` in autocommit,
    as the database's owner. Call it again for tables that were locked. `renew_log`: the server's
    write-ahead log, too, which all of its databases share."""
    people = sorted(only if only is not None else (n for n in data_map() if holds_people(n)))
    names = [name for (name,) in connection.execute(_TABLES, [people, people]).fetchall()]
    connection.execute("select set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
    done, locked = [], []
    for name in names:
        try:
            connection.execute(
                sql.SQL("vacuum (full, analyze) {}").format(sql.Identifier("seda", name))
            )
            done.append(name)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.UndefinedTable):
            locked.append(name)
    renewed = _rewrite_server(connection, renew_log)
    return Rewriting(tuple(done), tuple(locked), renewed)


def is_due(connection: psycopg.Connection) -> bool:
    """Whether somebody was erased since the tables were last written anew."""
    row = connection.execute(_DUE).fetchone()
    return bool(row and row[0])


def record_rewriting(connection: psycopg.Connection, done: Rewriting, now: datetime) -> None:
    """An audit row: the bytes of whoever was erased before it are gone; none where a table stayed
    locked, so that it is due again."""
    if done.locked:
        return
    connection.execute(
        "insert into seda.audit_log (occurred_at, actor, action, details) "
        "values (%s, 'privacy', 'privacy.tables_rewritten', %s)",
        [now, Jsonb({"tables": len(done.tables), "log_renewed": done.log_renewed})],
    )


def _rewrite_server(connection: psycopg.Connection, renew_log: bool) -> bool:
    """Postgres' samples of our values, and old log; only a superuser may, on its own server."""
    ((superuser,),) = connection.execute("select current_setting('is_superuser') = 'on'")
    if not superuser:
        connection.execute("checkpoint" if _may_checkpoint(connection) else "select")
        return False
    # ANALYZE leaves the samples of a table that has become empty as they are.
    connection.execute(
        "delete from pg_catalog.pg_statistic s using pg_class c where c.oid = s.starelid "
        "and c.relnamespace = 'seda'::regnamespace"
    )
    connection.execute("vacuum (full) pg_catalog.pg_statistic")
    connection.execute("analyze")
    connection.execute("checkpoint")
    return renew_log and _renew_log(connection)


def _may_checkpoint(connection: psycopg.Connection) -> bool:
    row = connection.execute(
        "select pg_has_role(current_user, 'pg_checkpoint', 'member')"
    ).fetchone()
    return bool(row and row[0])


def _renew_log(connection: psycopg.Connection) -> bool:
    """Old segments of the write-ahead log are kept for reuse with what is in them: without reuse
    they are deleted, and what is reserved already is written over."""
    folder = data_directory(connection)
    if folder is None:
        return False
    before = {path.name for path in (folder / "pg_wal").iterdir() if len(path.name) == 24}
    connection.execute("alter system set wal_recycle = off")
    try:
        connection.execute("select pg_reload_conf()")
        for _ in range(_MOST_SEGMENTS):
            connection.execute("select pg_logical_emit_message(false, 'seda', '')")
            connection.execute("select pg_switch_wal()")
            connection.execute("checkpoint")
            if not before & {path.name for path in (folder / "pg_wal").iterdir()}:
                return True
    finally:
        connection.execute("alter system reset wal_recycle")
        connection.execute("select pg_reload_conf()")
    return False
