"""Removes a stream's old rows: once through the table, a few pages at a time, a commit after each.

A table is walked in the order in which it lies on disk, so no index is needed (the widest streams
have none by time: it would cost every write), every page is read once, and a step takes as long
however much there is. A row that somebody holds is left for the next time: nobody is waited for.
Dying in the middle costs nothing, and the next sweep removes what is left.
"""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import psycopg
from psycopg import sql

from seda.database.regions import RegionalDatabase
from seda.retention.streams import Stream

PAGES: Final = 64
"""Pages of 8 KiB in one step: two thousand rows at most, or so."""

_LEAVES: Final = """
    select c.relname, pg_relation_size(c.oid) / current_setting('block_size')::int
    from pg_class c
    where c.relkind = 'r' and (c.oid = %(table)s::regclass or c.oid in (
        select relid from pg_partition_tree(%(table)s::regclass)))
    order by c.relname
"""
_STEP: Final = """
    with old as materialized (
        select t.ctid as place from only {leaf} t
        where t.ctid >= %(first)s::tid and t.ctid < %(end)s::tid
          and t.{moment} < %(before)s and not ({needed})
        for update skip locked
    ), gone as (
        delete from only {leaf} t using old where t.ctid = old.place
        returning pg_column_size(t.*) as size
    )
    select count(*), coalesce(sum(size), 0) from gone
"""


@dataclass(frozen=True, slots=True)
class Swept:
    """What went from one table: rows, their bytes, how long it took, in how many steps, and the
    longest of them, in seconds: each is one transaction."""

    table: str
    rows: int
    bytes: int
    seconds: float
    steps: int
    longest: float


def sweep(
    database: RegionalDatabase, stream: Stream, *, now: datetime, pages: int = PAGES
) -> Swept:
    """Remove the rows of a stream that were kept for long enough at `now`."""
    started = time.perf_counter()
    rows = size = steps = 0
    longest = 0.0
    before = now - stream.kept
    with database.connect(autocommit=True) as connection:
        for leaf, length in _leaves(connection, stream.table):
            step = sql.SQL(_STEP).format(
                leaf=sql.Identifier("seda", leaf),
                moment=sql.Identifier(stream.moment),
                needed=sql.SQL(stream.needed),
            )
            for first in range(0, length, pages):
                began = time.perf_counter()
                found = connection.execute(
                    step,
                    {
                        "first": f"({first},0)",
                        "end": f"({first + pages},0)",
                        "before": before,
                        "last": before - stream.kept,
                    },
                ).fetchone()
                longest = max(longest, time.perf_counter() - began)
                steps += 1
                if found:
                    rows += int(found[0])
                    size += int(found[1])
    return Swept(stream.table, rows, size, time.perf_counter() - started, steps, longest)


def _leaves(connection: psycopg.Connection, table: str) -> list[tuple[str, int]]:
    """The tables that hold the rows, and their lengths in pages now: what comes later is young."""
    found = connection.execute(_LEAVES, {"table": f"seda.{table}"})
    return [(str(name), int(length)) for name, length in found]
