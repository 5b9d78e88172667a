"""What a server keeps of rows beside its tables: samples in its statistics, its write-ahead log.

Only a superuser may touch either. On a hosted server they are its operator's business.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

_MOST_SEGMENTS: Final = 1024
"""Of the write-ahead log that one renewal writes over: sixteen gigabytes."""
_CHECKPOINTS: Final = 8
HELD: Final = (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled)
"""Somebody held a table for longer than we may wait."""
STATISTICS: Final = "pg_statistic"
_PARENTS: Final = """
    select parent.relname::text from pg_class parent
    where parent.relnamespace = 'seda'::regnamespace and parent.relkind = 'p'
      and parent.relname = any (%s)
"""
# What was sampled before, and nothing else: null is every column, an empty list none.
_SAMPLED: Final = """
    select case when count(s.attname) < count(*)
        then coalesce(array_agg(s.attname) filter (where s.attname is not null), '{}') end
    from pg_attribute a left join pg_stats s
        on s.schemaname = 'seda' and s.tablename = %(name)s and s.attname = a.attname
    where a.attrelid = %(table)s::regclass and a.attnum > 0 and not a.attisdropped
"""
# Expressions that are indexed have samples of their own.
_FORGET: Final = """
    delete from pg_catalog.pg_statistic where starelid in (
        select %(table)s::regclass union all
        select indexrelid from pg_index where indrelid = %(table)s::regclass)
"""


def is_superuser(connection: psycopg.Connection) -> bool:
    """Whether the login may touch what is not a table's."""
    ((superuser,),) = connection.execute("select current_setting('is_superuser') = 'on'")
    return bool(superuser)


def partitioned(connection: psycopg.Connection, relations: Sequence[str]) -> list[str]:
    """Of these relations those that have rows in partitions only, but statistics of their own."""
    return [name for (name,) in connection.execute(_PARENTS, [list(relations)]).fetchall()]


def sample_anew(
    connection: psycopg.Connection, names: Sequence[str], parents: Sequence[str]
) -> tuple[str, ...]:
    """Take new samples of the columns of these tables that have some, the old ones' bytes with
    them; of `parents` among them drop theirs, which nobody keeps up to date. Which tables stayed
    locked, `pg_statistic` among them.

    ANALYZE alone leaves the samples of a table that has become empty as they are. Old and new are
    exchanged in one transaction per table, so that no query is planned without.
    """
    superuser, locked = is_superuser(connection), []
    for name in names:
        if name == STATISTICS:
            continue  # last, and always
        try:
            with connection.transaction():
                _sample(connection, name, forget=superuser, again=name not in parents)
        except psycopg.errors.UndefinedTable:
            continue
        except (*HELD, psycopg.errors.InternalError):
            locked.append(name)  # InternalError: an autovacuum sampled the same table meanwhile
    if superuser:
        try:
            connection.execute("vacuum (full) pg_catalog.pg_statistic")
        except HELD:
            locked.append(STATISTICS)
    return tuple(locked)


def _sample(connection: psycopg.Connection, name: str, *, forget: bool, again: bool) -> None:
    table = sql.Identifier("seda", name)
    place = {"name": name, "table": table.as_string(connection)}
    ((columns,),) = connection.execute(_SAMPLED, place).fetchall()
    if forget:
        connection.execute(_FORGET, place)
    if again and columns is None:
        connection.execute(sql.SQL("analyze {}").format(table))
    elif again and columns:
        chosen = sql.SQL(", ").join(map(sql.Identifier, columns))
        connection.execute(sql.SQL("analyze {} ({})").format(table, chosen))


def checkpoint(connection: psycopg.Connection) -> None:
    """Write what is in memory to the files, where the login may ask for it."""
    row = connection.execute(
        "select pg_has_role(current_user, 'pg_checkpoint', 'member')"
    ).fetchone()
    if is_superuser(connection) or (row and row[0]):
        connection.execute("checkpoint")


def renew_log(connection: psycopg.Connection, folder: Path) -> bool:
    """Let go of the write-ahead log that is in a server's folder now; whether all of it went.

    Old segments are kept for reuse with what is in them: without reuse they are deleted, and those
    that lie ready already are written over. `connection` in autocommit.
    """
    if not is_superuser(connection):
        return False
    before = _segments(folder)
    connection.execute("alter system set wal_recycle = off")
    try:
        connection.execute("select pg_reload_conf()")
        _write_past(connection, max(before, default=""))
        for _ in range(_CHECKPOINTS):
            connection.execute("checkpoint")
            if not before & _segments(folder):
                return True
            _write_past(connection, "")
    finally:
        connection.execute("alter system reset wal_recycle")
        connection.execute("select pg_reload_conf()")
    return False


def _segments(folder: Path) -> set[str]:
    return {path.name for path in (folder / "pg_wal").iterdir() if len(path.name) == 24}


def _write_past(connection: psycopg.Connection, last: str) -> None:
    """Begin new segments until one that comes after `last`; one at least."""
    for _ in range(_MOST_SEGMENTS):
        connection.execute("select pg_logical_emit_message(false, 'seda', '')")
        connection.execute("select pg_switch_wal()")
        row = connection.execute("select pg_walfile_name(pg_current_wal_lsn())").fetchone()
        if row and row[0] >= last:
            return
