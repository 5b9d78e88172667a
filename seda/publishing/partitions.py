"""A generation's partitions: made beside, attached, detached and dropped without a reader waiting.

Every statement that waits for a lock does so for a bounded time and is tried again (`Patience`).
Which generation may go is not decided here.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from seda.errors import SedaError

_NOT_NOW = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)


class LockedOutError(SedaError):
    """A table stayed locked by others for as long as we were ready to try."""


@dataclass(frozen=True)
class Patience:
    """How long one attempt waits for a lock, how often it is repeated, with what pause (s)."""

    lock_timeout: float = 1.0
    attempts: int = 10
    pause: float = 0.1

    def retry(self, attempt: Callable[[], None], what: str) -> None:
        """Run the attempt until it gets its locks; the pause doubles up to ten times itself.

        Raises:
            LockedOutError: it never did.
        """
        pause = self.pause
        for remaining in reversed(range(self.attempts)):
            try:
                return attempt()
            except _NOT_NOW as problem:
                if not remaining:
                    raise LockedOutError(
                        f"{what} was locked out {self.attempts} times: look for a transaction "
                        "that stays open (pg_stat_activity), end it, and run this again."
                    ) from problem
                time.sleep(pause)
                pause = min(2 * pause, 10 * self.pause)

    @property
    def setting(self) -> str:
        """The value of Postgres' `lock_timeout`."""
        return f"{round(self.lock_timeout * 1000)}ms"


def partition_of(parent: str, generation: int) -> str:
    """The name of a generation's partition, without the schema."""
    return f"{parent}_g{generation}"


def create_beside(connection: psycopg.Connection, parent: str, generation: int) -> str:
    """A table of the parent's shape that nobody reads yet; returns its qualified name.

    The check constraint lets Postgres attach it later without scanning it. Row security and the
    missing grants matter after that: who may read a partition directly sees all of its rows.
    """
    child = sql.Identifier("seda", partition_of(parent, generation))
    statement = """
        create table {child} (like {parent} including defaults including constraints
            including storage including compression,
            constraint one_generation check (generation = {generation}));
        alter table {child} enable row level security;
        alter table {child} force row level security;
        revoke all on {child} from public, anon, authenticated
    """
    connection.execute(
        sql.SQL(statement).format(
            child=child,
            parent=sql.Identifier("seda", parent),
            generation=sql.Literal(generation),
        )
    )
    return f"seda.{partition_of(parent, generation)}"


def index_as_parent(connection: psycopg.Connection, parent: str, generation: int) -> None:
    """Build the parent's keys and indexes on the loaded table, so that attaching builds nothing."""
    child = sql.Identifier("seda", partition_of(parent, generation))
    relation = f"seda.{parent}"
    keys = connection.execute(
        "select pg_get_constraintdef(oid) from pg_constraint "
        "where conrelid = %s::regclass and contype in ('p', 'u')",
        [relation],
    ).fetchall()
    for (definition,) in keys:
        connection.execute(sql.SQL("alter table {} add {}").format(child, sql.SQL(definition)))
    indexes = connection.execute(
        "select pg_get_indexdef(indexrelid) from pg_index i where indrelid = %s::regclass "
        "and not exists (select from pg_constraint where conindid = i.indexrelid)",
        [relation],
    ).fetchall()
    for (definition,) in indexes:
        # After the index's own name and table come its method and columns.
        method = sql.SQL(definition.split(" USING ", 1)[1])
        connection.execute(sql.SQL("create index on {} using {}").format(child, method))


def analyse(connection: psycopg.Connection, parent: str, generation: int) -> None:
    """Tell the planner how many rows there are: nobody else would for hours.

    Only of what queries filter and join by; contexts and cards are large and in no condition.
    """
    child = sql.Identifier("seda", partition_of(parent, generation))
    connection.execute(sql.SQL("analyze {} (generation, user_id, entity_type)").format(child))


def attach(
    connection: psycopg.Connection, parent: str, generation: int, patience: Patience
) -> None:
    """Attach the table as a partition, in the caller's transaction; readers go on reading.

    Raises:
        LockedOutError: other DDL or a vacuum of the parent never ended.
    """
    statement = sql.SQL("alter table {} attach partition {} for values in ({})").format(
        sql.Identifier("seda", parent),
        sql.Identifier("seda", partition_of(parent, generation)),
        sql.Literal(generation),
    )

    def attempt() -> None:
        with connection.transaction():  # a savepoint: what was loaded survives a failed attempt
            connection.execute("select set_config('lock_timeout', %s, true)", [patience.setting])
            connection.execute(statement)
            connection.execute("set local lock_timeout to default")

    patience.retry(attempt, f"Attaching {partition_of(parent, generation)}")


def remove(
    connection: psycopg.Connection, parent: str, generation: int, patience: Patience
) -> None:
    """Detach, or finish detaching, and drop a partition; `connection` must be in autocommit.

    Raises:
        LockedOutError: a transaction that read the parent never ended; call again later.
    """
    name = partition_of(parent, generation)
    drop = sql.SQL("drop table if exists {}").format(sql.Identifier("seda", name))

    def attempt() -> None:
        # A parent has at most one partition that is half detached, and it comes first.
        for half in list(_attached(connection, parent, pending=True)):
            connection.execute(_detach(parent, half, "finalize"))
        if name in _attached(connection, parent, pending=False):
            connection.execute(_detach(parent, name, "concurrently"))
        connection.execute(drop)

    with _lock_timeout(connection, patience):
        patience.retry(attempt, f"Dropping {name}")


def _detach(parent: str, child: str, how: str) -> sql.Composed:
    return sql.SQL("alter table {} detach partition {} {}").format(
        sql.Identifier("seda", parent), sql.Identifier("seda", child), sql.SQL(how)
    )


def _attached(connection: psycopg.Connection, parent: str, *, pending: bool) -> set[str]:
    rows = connection.execute(
        "select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid "
        "where i.inhparent = %s::regclass and i.inhdetachpending = %s",
        [f"seda.{parent}", pending],
    )
    return {str(name) for (name,) in rows}


@contextmanager
def _lock_timeout(connection: psycopg.Connection, patience: Patience) -> Iterator[None]:
    connection.execute("select set_config('lock_timeout', %s, false)", [patience.setting])
    try:
        yield
    finally:
        connection.execute("reset lock_timeout")
