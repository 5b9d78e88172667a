"""Rewrites tables so that no byte of deleted rows is left on disk.

Postgres frees the room of a deleted row and does not overwrite it: after a plain VACUUM its bytes
are still in the file, between the live rows, and so are the sampled values in its statistics and
the records in its write-ahead log. `VACUUM FULL` writes the table and its indexes anew, and locks
it while it does. So small tables are rewritten right after a deletion, and large ones by a job in a
quiet hour; the audit log says which still wait.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from seda.database.regions import Databases, Region
from seda.privacy.datamap import data_map, holds_people
from seda.privacy.server_traces import (
    HELD,
    STATISTICS,
    checkpoint,
    partitioned,
    renew_log,
    sample_anew,
)
from seda.privacy.sweep_database import data_directory

RETRY_AFTER: Final = timedelta(minutes=5)
_PAUSE: Final = 1.0
_ERASURES: Final = (
    "privacy.account_erased", "privacy.imports_erased", "privacy.rows_erased",
)  # fmt: skip
_DONE, _PARTLY = "privacy.tables_rewritten", "privacy.tables_rewritten_in_part"
# A deletion that was recorded while tables were written anew is not counted as rewritten: a row
# says up to which one it does.
_STANDING: Final = """
    with last as (
        select action, details, occurred_at, coalesce((details ->> 'until')::bigint, id) as until
        from seda.audit_log where action = any (%(rewritings)s) order by id desc limit 1
    )
    select coalesce((select max(id) from seda.audit_log), 0),
           exists (select from seda.audit_log where action = any (%(erasures)s)
                   and id > coalesce((select until from last), 0)),
           (select details from last where action = %(partly)s), (select occurred_at from last)
"""
_TABLES: Final = """
    with named as (
        select oid, relname::text as name from pg_class
        where relnamespace = 'seda'::regnamespace and relkind = 'r' and relname = any (%(people)s)
        union all
        select c.oid, c.relname::text from pg_class c join pg_inherits i on i.inhrelid = c.oid
        join pg_class parent on parent.oid = i.inhparent
        where c.relnamespace = 'seda'::regnamespace and c.relkind = 'r'
          and parent.relname = any (%(people)s)
    )
    select name, pg_total_relation_size(oid) from named order by 1
"""
# Who reads in another database sees nothing of ours; but who writes there holds our own snapshots
# back, and with them what VACUUM FULL may drop.
_OLDER: Final = """
    select pg_snapshot_xmin(pg_current_snapshot()) <= %(moment)s::xid8 or exists (
        select from pg_stat_activity a where a.datname = current_database()
          and a.pid <> pg_backend_pid() and age(a.backend_xmin) > age(%(moment)s::xid8::xid))
"""


@dataclass(frozen=True)
class Patience:
    """How much rewriting may disturb. A reader waits for a table for at most `statement`: behind us
    while we wait for it, at most `lock`, and while it is written.

    `rounds`: how often what was held is tried, a second apart. `largest`: bytes of a table with its
    indexes above which it is left to the job; None: any.
    `older`: how long to wait for transactions that may still see the deleted rows, whose bytes
    would be copied.
    """

    lock: timedelta
    statement: timedelta
    older: timedelta
    rounds: int = 1
    largest: int | None = None


QUIET_HOUR: Final = Patience(timedelta(seconds=10), timedelta(0), timedelta(minutes=1))


def at_once(largest_mib: int) -> Patience:
    """Right after a deletion, beside readers."""
    return Patience(
        lock=timedelta(milliseconds=300),
        statement=timedelta(milliseconds=1000),
        older=timedelta(seconds=5),
        rounds=6,
        largest=largest_mib * 2**20,
    )


@dataclass(frozen=True)
class Rewriting:
    """Tables that were written anew, that somebody held or a transaction may still see, and that
    were too large; and whether old write-ahead log went (where the server's files are ours)."""

    tables: tuple[str, ...]
    locked: tuple[str, ...] = ()
    large: tuple[str, ...] = ()
    log_renewed: bool = False

    @property
    def waiting(self) -> tuple[str, ...]:
        """Tables in whose files bytes of deleted rows may be left."""
        return (*self.locked, *self.large)


@dataclass(frozen=True)
class Standing:
    """What a region's audit log says of its tables: `until`, its newest row; whether somebody was
    erased since they were written anew; else which tables the last time left, and when that was."""

    until: int
    erased: bool
    locked: tuple[str, ...] = ()
    large: tuple[str, ...] = ()
    tried_at: datetime | None = None

    @property
    def is_due(self) -> bool:
        """Whether bytes of somebody may be left in any table."""
        return self.erased or bool(self.locked or self.large)

    def retry_is_due(self, now: datetime) -> bool:
        """Whether small tables that were locked should be tried again."""
        return bool(self.locked) and (self.tried_at or now) + RETRY_AFTER <= now


def standing(connection: psycopg.Connection) -> Standing:
    """How a region's tables stand."""
    values = {"rewritings": [_DONE, _PARTLY], "erasures": list(_ERASURES), "partly": _PARTLY}
    ((until, erased, left, at),) = connection.execute(_STANDING, values).fetchall()
    left = left or {}
    return Standing(
        int(until), bool(erased), tuple(left.get("locked", ())), tuple(left.get("large", ())), at
    )


def rewrite_tables(
    connection: psycopg.Connection,
    only: Iterable[str] | None = None,
    *,
    patience: Patience = QUIET_HOUR,
    sleep: Callable[[float], None] = time.sleep,
) -> Rewriting:
    """Rewrite every table that can hold people's rows, or `only` those; `connection` in autocommit,
    as the database's owner. Call it again for tables that were locked."""
    people = sorted(only if only is not None else (n for n in data_map() if holds_people(n)))
    found = connection.execute(_TABLES, {"people": people}).fetchall()
    small = [name for name, size in found if patience.largest is None or size <= patience.largest]
    large = tuple(name for name, _ in found if name not in small)
    if not _settled(connection, patience.older, sleep):
        return Rewriting((), tuple(small), large)
    _set_patience(connection, patience)
    done: list[str] = []

    def write(names: Sequence[str]) -> list[str]:
        return [name for name in names if not _written_anew(connection, name, done)]

    parents = partitioned(connection, people)
    locked = _in_rounds(small, write, patience.rounds, sleep)
    locked += _in_rounds(
        [*done, *parents, STATISTICS],
        lambda names: sample_anew(connection, names, parents),
        patience.rounds,
        sleep,
    )
    connection.execute("reset lock_timeout; reset statement_timeout")
    checkpoint(connection)
    return Rewriting(tuple(done), tuple(dict.fromkeys(locked)), large)


def _written_anew(connection: psycopg.Connection, name: str, done: list[str]) -> bool:
    """Whether no byte of deleted rows is left in the table; else somebody holds it."""
    try:
        connection.execute(sql.SQL("vacuum (full) {}").format(sql.Identifier("seda", name)))
    except psycopg.errors.UndefinedTable:
        return True  # a generation that was dropped meanwhile, its files with it
    except HELD:
        return False
    done.append(name)
    return True


def _in_rounds(
    names: Sequence[str],
    attempt: Callable[[Sequence[str]], Sequence[str]],
    rounds: int,
    sleep: Callable[[float], None],
) -> list[str]:
    """What of the names is left after some attempts, each at what the one before left."""
    left = list(names)
    for place in range(rounds if left else 0):
        if place:
            sleep(_PAUSE)
        left = list(attempt(left))
        if not left:
            break
    return left


def rewrite_regions(
    databases: Databases,
    clock: Callable[[], datetime],
    *,
    wanted: Callable[[Standing], bool],
    patience: Patience = QUIET_HOUR,
    renew: bool = True,
) -> dict[Region, Rewriting]:
    """Rewrite the tables of every region whose standing is `wanted`, and record it there.

    All that can hold people, unless the last time left some and nobody was erased since: then
    those. `renew`: also the write-ahead log of a server that is ours, once for its databases, where
    no table waits any more.
    """
    done: dict[Region, Rewriting] = {}
    until: dict[Region, int] = {}
    for database in databases:
        with database.connect(autocommit=True) as connection:
            before = standing(connection)
            if wanted(before):
                left = (*before.locked, *before.large)
                only = None if before.erased or not left else left
                done[database.region] = rewrite_tables(connection, only, patience=patience)
                until[database.region] = before.until
    renewed: dict[Path, bool] = {}
    for region, each in done.items():
        with databases[region].connect(autocommit=True) as connection:
            folder = data_directory(connection)
            if renew and folder is not None and not each.waiting:
                if folder not in renewed:
                    renewed[folder] = renew_log(connection, folder)
                done[region] = replace(each, log_renewed=renewed[folder])
            _record(connection, done[region], until[region], clock())
    return done


def _record(connection: psycopg.Connection, done: Rewriting, until: int, now: datetime) -> None:
    """An audit row: of whoever was erased by the row `until` the bytes are gone, or which tables
    still wait to be written anew."""
    details: dict[str, Any] = {
        "tables": len(done.tables), "log_renewed": done.log_renewed, "until": until,
    }  # fmt: skip
    if done.waiting:
        details |= {"locked": list(done.locked), "large": list(done.large)}
    connection.execute(
        "insert into seda.audit_log (occurred_at, actor, action, details) "
        "values (%s, 'privacy', %s, %s)",
        [now, _PARTLY if done.waiting else _DONE, Jsonb(details)],
    )


def _settled(
    connection: psycopg.Connection, patience: timedelta, sleep: Callable[[float], None]
) -> bool:
    """Whether every transaction that may still see what was deleted before now has ended, within
    that time: VACUUM FULL copies what anybody can still see."""
    ((moment,),) = connection.execute("select pg_current_xact_id()::text").fetchall()
    steps = int(patience / timedelta(milliseconds=100))
    for step in range(steps + 1):
        ((older,),) = connection.execute(_OLDER, {"moment": moment}).fetchall()
        if not older:
            return True
        if step < steps:
            sleep(0.1)
    return False


def _set_patience(connection: psycopg.Connection, patience: Patience) -> None:
    for name, span in (("lock_timeout", patience.lock), ("statement_timeout", patience.statement)):
        milliseconds = f"{int(span / timedelta(milliseconds=1))}ms"
        connection.execute("select set_config(%s, %s, false)", [name, milliseconds])
