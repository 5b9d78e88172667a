"""Published lists that nobody can read any more.

A list that has expired stays while its generation is served: it is what a reader gets, marked as
stale, when nothing newer could be made. It goes with its generation.
"""

import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from seda.database.regions import RegionalDatabase
from seda.publishing.generations import TABLES, drop_unreferenced

_SIZE: Final = """
    select coalesce(sum(pg_total_relation_size(i.inhrelid)), 0)
    from pg_inherits i where i.inhparent = any (%s::regclass[])
"""
# Shards are renumbered when a region gets another number of them; nobody asks for the old ones.
_RETIRE: Final = """
    delete from seda.generation_pointer where shard <> all (%s) and flipped_at < %s
"""


@dataclass(frozen=True, slots=True)
class ListsDropped:
    """Pointers of shards that are gone, generations whose tables went, those that stayed locked
    until later, the bytes of the tables, and seconds."""

    pointers: int
    generations: tuple[int, ...]
    postponed: tuple[int, ...]
    bytes: int
    seconds: float


def drop_unread_lists(
    database: RegionalDatabase,
    shards: Collection[str],
    *,
    now: datetime,
    cursor_lifetime: timedelta,
    grace: timedelta = timedelta(days=2),
) -> ListsDropped:
    """Drop generations that no pointer names, after pointers of shards that are none of `shards`
    and moved last more than `grace` ago."""
    started = time.perf_counter()
    with database.transaction() as connection:
        pointers = connection.execute(_RETIRE, [list(shards), now - grace]).rowcount
    before = _size(database)
    report = drop_unreferenced(database, now=now, cursor_lifetime=cursor_lifetime)
    freed = max(0, before - _size(database))
    seconds = time.perf_counter() - started
    return ListsDropped(pointers, report.dropped, report.postponed, freed, seconds)


def _size(database: RegionalDatabase) -> int:
    with database.transaction() as connection:
        row = connection.execute(_SIZE, [[f"seda.{table}" for table in TABLES]]).fetchone()
    return int(row[0]) if row else 0
