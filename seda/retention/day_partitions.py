"""Day partitions of the social events: made ahead, so that a day is dropped in one piece.

Rows of days that had no partition of their own lie in the default one, which is swept like any
table. Partitions beside a default one cannot be detached concurrently: both ways take a lock for a
moment, wait for it for a bounded time, and are tried again.
"""

import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import psycopg
from psycopg import sql

from seda.database.regions import RegionalDatabase
from seda.publishing.partitions import Patience
from seda.retention.streams import Stream
from seda.retention.sweeping import Swept

AHEAD: Final = 3
"""Days for which there are partitions after a sweep, today's apart."""
_PATIENCE = Patience()

_DAYS: Final = """
    select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = %s::regclass and c.relname ~ '_[0-9]{8}$' order by c.relname
"""
_OVER: Final = """
    select count(*), pg_total_relation_size({day}::regclass) from {leaf} t
    having count(*) filter (where t.{moment} >= %(before)s or ({needed})) = 0
"""


def make_days_ahead(
    database: RegionalDatabase, table: str, *, now: datetime, patience: Patience = _PATIENCE
) -> int:
    """Make the partitions of the days to come; how many were made.

    Raises:
        LockedOutError: the table stayed locked; nothing was made.
    """
    tomorrow = now.astimezone(UTC).date() + timedelta(days=1)
    made = 0

    def attempt() -> None:
        nonlocal made
        with database.transaction() as connection:
            _bound(connection, patience)
            row = connection.execute(
                "select seda.ensure_day_partitions(%s::regclass, %s, %s)",
                [f"seda.{table}", tomorrow, AHEAD],
            ).fetchone()
            made = int(row[0]) if row else 0

    patience.retry(attempt, f"Making partitions of {table}")
    return made


def drop_days(
    database: RegionalDatabase,
    stream: Stream,
    *,
    now: datetime,
    patience: Patience = _PATIENCE,
) -> Swept:
    """Drop the days whose rows were all kept for long enough, and that nobody needs.

    Raises:
        LockedOutError: a day stayed locked; those before it are gone.
    """
    started = time.perf_counter()
    rows = size = steps = 0
    longest = 0.0
    times = {"before": now - stream.kept, "last": now - 2 * stream.kept}
    with database.connect(autocommit=True) as connection:
        names = [str(name) for (name,) in connection.execute(_DAYS, [f"seda.{stream.table}"])]
        youngest = f"{stream.table}_{times['before'].astimezone(UTC):%Y%m%d}"
        for name in [each for each in names if each < youngest]:
            found = connection.execute(_over(stream, name), times).fetchone()
            if found is None:
                continue
            began = time.perf_counter()
            drop = partial(_drop, connection, name, patience)
            patience.retry(drop, f"Dropping {name}")
            longest = max(longest, time.perf_counter() - began)
            steps += 1
            rows += int(found[0])
            size += int(found[1])
    return Swept(stream.table, rows, size, time.perf_counter() - started, steps, longest)


def _over(stream: Stream, name: str) -> sql.Composed:
    return sql.SQL(_OVER).format(
        day=sql.Literal(f"seda.{name}"),
        leaf=sql.Identifier("seda", name),
        moment=sql.Identifier(stream.moment),
        needed=sql.SQL(stream.needed),
    )


def _drop(connection: psycopg.Connection, name: str, patience: Patience) -> None:
    with connection.transaction():
        _bound(connection, patience)
        connection.execute(sql.SQL("drop table {}").format(sql.Identifier("seda", name)))


def _bound(connection: psycopg.Connection, patience: Patience) -> None:
    connection.execute(
        "select set_config('lock_timeout', %s, true), set_config('timezone', 'UTC', true)",
        [patience.setting],
    )
