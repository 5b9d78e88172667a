"""Writes tables of rows: into an empty database at the speed of COPY, or over what is there.

Both ways work inside the caller's transaction, so that a load is seen whole or not at all.
"""

from collections import Counter
from collections.abc import Iterable

import psycopg
from psycopg import sql

from seda.database.copy import copy_rows
from seda.errors import SedaError
from seda.progress import Progress
from seda.sandbox.rows import TableRows
from seda.settings import Settings


class ProductionRefusedError(SedaError):
    """A sandbox tool was pointed at production."""


def refuse_production(settings: Settings, command: str) -> None:
    """Raise if these are production's settings; `command` is what the person ran."""
    if settings.env == "production":
        raise ProductionRefusedError(
            f"`{command}` writes sandbox data and SEDA_ENV is production: run it where SEDA_ENV "
            "is local, qa or sandbox."
        )


def append(connection: psycopg.Connection, tables: Iterable[TableRows], progress: Progress) -> int:
    """COPY rows that are not there yet; returns how many."""
    written: Counter[str] = Counter()
    for table in tables:
        written[table.relation] += copy_rows(connection, table.relation, table.columns)
        progress.advance(table.rows)
    _analyze(connection, written)
    return written.total()


def merge(connection: psycopg.Connection, tables: Iterable[TableRows], progress: Progress) -> int:
    """Insert what is missing and correct what differs; returns the rows inserted or changed."""
    changed: Counter[str] = Counter()
    for table in tables:
        changed[table.relation] += _merge_one(connection, table)
        progress.advance(table.rows)
    _analyze(connection, changed)
    return changed.total()


def _analyze(connection: psycopg.Connection, changed: Counter[str]) -> None:
    # Until its next vacuum the planner would believe a freshly filled table to be empty.
    for relation in sorted(relation for relation, rows in changed.items() if rows):
        connection.execute(sql.SQL("analyze {}").format(sql.Identifier(*relation.split("."))))


def _merge_one(connection: psycopg.Connection, table: TableRows) -> int:
    target = sql.Identifier(*table.relation.split("."))
    names = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    connection.execute(
        sql.SQL("create temp table staged on commit drop as select {} from {} with no data").format(
            names, target
        )
    )
    copy_rows(connection, "staged", table.columns)
    cursor = connection.execute(
        sql.SQL(
            "insert into {target} as existing ({names}) select {names} from staged "
            "where not exists (select from {target} as existing where {same}) "
            "on conflict ({key}) {resolution}"
        ).format(
            target=target,
            names=names,
            same=_same(table),
            key=sql.SQL(", ").join(map(sql.Identifier, table.key)),
            resolution=_resolution(table),
        )
    )
    connection.execute("drop table staged")
    return cursor.rowcount


def _same(table: TableRows) -> sql.Composable:
    """The row is there as it should be: left alone, where ON CONFLICT would lock and log it."""
    same = sql.SQL("({}) = ({})").format(
        _qualified("existing", table.key), _qualified("staged", table.key)
    )
    if not table.refresh:
        return same
    return sql.SQL("{} and ({}) is not distinct from ({})").format(
        same, _qualified("existing", table.refresh), _qualified("staged", table.refresh)
    )


def _resolution(table: TableRows) -> sql.Composable:
    if not table.refresh:
        return sql.SQL("do nothing")
    assignments = [
        sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in table.refresh
    ]
    if table.touched:
        assignments.append(sql.SQL("{} = now()").format(sql.Identifier(table.touched)))
    return sql.SQL("do update set {}").format(sql.SQL(", ").join(assignments))


def _qualified(owner: str, columns: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(owner, name) for name in columns)
