"""Searches databases for a person: every row of every relation as text, and the files on disk.

What exists is asked of the catalogue, in every schema and Postgres' own statistics among them.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from seda.privacy.traces import Traces

_RELATIONS = """
    select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'm') and has_table_privilege(c.oid, 'select')
      and n.nspname !~ '^pg_(toast|temp)'
      and (n.nspname not in ('pg_catalog', 'information_schema') or c.relname = 'pg_statistic')
    order by 1, 2
"""
_UNREADABLE = """
    select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'm') and not has_table_privilege(c.oid, 'select')
      and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
"""
_BY_FILE = """
    select coalesce(owner.oid, c.oid)::regclass::text from pg_class c
    left join pg_class owner on owner.reltoastrelid = c.oid
        or owner.reltoastrelid = (select indrelid from pg_index where indexrelid = c.oid)
    where c.oid = pg_filenode_relation(0, %s)
"""


@dataclass(frozen=True, order=True)
class Finding:
    """One place where something of the person is left; `what` names the trace, never its value."""

    place: str
    name: str
    what: str


def sweep_rows(connection: psycopg.Connection, place: str, traces: Traces) -> Iterator[Finding]:
    """Every table and materialised view that has a row with one of the words in any column."""
    patterns = [f"%{_escaped(word)}%" for word in traces.words]
    for schema, name in connection.execute(_RELATIONS).fetchall():
        query = sql.SQL("select count(*) from {} r where lower(r::text) like any (%s)").format(
            sql.Identifier(schema, name)
        )
        try:
            with connection.transaction():
                row = connection.execute(query, [patterns]).fetchone()
        except psycopg.errors.UndefinedTable:
            continue  # a generation that was dropped meanwhile
        if row and row[0]:
            yield Finding(place, f"{schema}.{name}", f"{row[0]} rows")


def unreadable(connection: psycopg.Connection) -> int:
    """How many relations this login may not read, and so are not searched as rows."""
    row = connection.execute(_UNREADABLE).fetchone()
    return int(row[0]) if row else 0


def sweep_files(connection: psycopg.Connection, place: str, traces: Traces) -> Iterator[Finding]:
    """The database's own files, after a checkpoint, byte by byte; autocommit, as superuser or a
    member of pg_monitor, and on the server's machine. Nothing where the files are elsewhere."""
    folder = data_directory(connection)
    if folder is None:
        return
    connection.execute("checkpoint")
    ((oid,),) = connection.execute("select oid from pg_database where datname = current_database()")
    for path in sorted((folder / "base" / str(oid)).iterdir()):
        for what in in_path(path, traces):
            node = path.name.split(".")[0].split("_")[0]
            row = connection.execute(_BY_FILE, [int(node)]).fetchone() if node.isdigit() else None
            yield Finding(f"{place} files", row[0] if row else path.name, what)


def sweep_server(connection: psycopg.Connection, traces: Traces) -> Iterator[Finding]:
    """What a server keeps for all of its databases: shared tables, write-ahead log, its log, what
    queries spilled; everything but the databases' own files."""
    folder = data_directory(connection)
    if folder is None:
        return
    databases = folder / "base"
    for part in (*sorted(folder.iterdir()), databases / "pgsql_tmp"):
        if part == databases:
            continue
        paths = sorted(part.rglob("*")) if part.is_dir() else [part]
        for path in paths:
            if path.is_file():
                for what in in_path(path, traces):
                    yield Finding("database server", str(path.relative_to(folder)), what)


def data_directory(connection: psycopg.Connection) -> Path | None:
    """Where the server's files are, if this process can read them."""
    try:
        with connection.transaction():
            row = connection.execute("select current_setting('data_directory')").fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return None
    folder = Path(row[0]) if row else None
    try:
        return folder if folder and (folder / "PG_VERSION").exists() else None
    except OSError:
        return None


def in_path(path: Path, traces: Traces) -> list[str]:
    """What a file has, without reading it into memory; nothing where it has just gone."""
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            return traces.in_bytes(data)
    except (FileNotFoundError, ValueError):  # ValueError: it is empty
        return []


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
