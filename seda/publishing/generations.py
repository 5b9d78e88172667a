"""Publishing by generations: loaded beside, served by flipping a pointer, dropped when unread.

A generation is one shard's lists of one run, in a partition of its own in each table. Readers ask
`generation_pointer` which one is served, and a page's cursor keeps the number it started with.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import orjson
import psycopg
from psycopg.types.json import Jsonb

from seda.database import copy
from seda.database.regions import RegionalDatabase
from seda.errors import SedaError
from seda.publishing import partitions
from seda.publishing.cards import ENTITY_TYPES
from seda.publishing.partitions import LockedOutError, Patience
from seda.publishing.rows import CardRows, RecommendationRows

RECOMMENDATIONS = "recommendations"
CARDS = "mv_user_top_candidates"
TABLES = (RECOMMENDATIONS, CARDS)
_PATIENCE = Patience()


class UnknownGenerationError(SedaError):
    """No generation has this number."""


class GenerationStateError(SedaError):
    """A generation is not in a state in which this can be done."""


class EmptyGenerationError(SedaError):
    """A generation without rows would replace one that has some."""


class ExperimentOverError(SedaError):
    """The experiment whose arm would be served is served no more: it was rolled back meanwhile."""


@dataclass(frozen=True)
class PublishReport:
    """What a flip did: the types whose pointer moved, and the generations nobody points at now.

    `seconds` is the length of the transaction.
    """

    generation: int
    flipped: tuple[str, ...]
    superseded: tuple[int, ...]
    seconds: float


@dataclass(frozen=True)
class DropReport:
    """Generations whose tables are gone, and those whose tables stayed locked until later."""

    dropped: tuple[int, ...]
    postponed: tuple[int, ...]


def open_generation(
    database: RegionalDatabase,
    *,
    shard: str,
    model_version: str,
    run_id: str | None,
    data_versions: Mapping[str, Any],
    now: datetime,
    experiment: str | None = None,
) -> int:
    """A new generation of a shard, in state `loading`; returns its number.

    With an `experiment` it holds the lists of its canary's people; what is shown of it says so.
    """
    arm = "canary" if experiment else "control"
    with database.transaction() as connection:
        ((generation,),) = connection.execute(
            "insert into seda.generations (shard, model_version, run_id, data_versions, created_at,"
            " arm, experiment) values (%s, %s, %s, %s, %s, %s, %s) returning generation",
            [shard, model_version, run_id, Jsonb(dict(data_versions), orjson.dumps), now, arm,
             experiment],
        )  # fmt: skip
    return int(generation)


def load_recommendations(
    database: RegionalDatabase,
    generation: int,
    rows: RecommendationRows | Sequence[RecommendationRows],
    *,
    patience: Patience = _PATIENCE,
) -> int:
    """Load all of a generation's recommendations, once; returns the number of rows.

    One transaction: a crash leaves nothing behind.

    Raises:
        GenerationStateError: it is not loading, or was given its recommendations before.
        LockedOutError: the partition could not be attached.
    """
    blocks = [rows] if isinstance(rows, RecommendationRows) else rows
    return _load(database, generation, RECOMMENDATIONS, blocks, patience)


def load_cards(
    database: RegionalDatabase,
    generation: int,
    rows: CardRows | Sequence[CardRows],
    *,
    patience: Patience = _PATIENCE,
) -> int:
    """Load all of a generation's cards, once; returns the number of rows (people × types).

    Raises:
        GenerationStateError: it is not loading, or was given its cards before.
        LockedOutError: the partition could not be attached.
    """
    blocks = [rows] if isinstance(rows, CardRows) else rows
    return _load(database, generation, CARDS, blocks, patience)


def publish(
    database: RegionalDatabase,
    generation: int,
    *,
    entity_types: Sequence[str],
    arm: str = "control",
    experiment: str | None = None,
    now: datetime,
    allow_empty: bool = False,
) -> PublishReport:
    """Serve the generation to its shard's arm for these types, in one short transaction.

    An older generation that still has its tables may be published again: that is a rollback. The
    arm of an `experiment` is served only while the experiment is.

    Raises:
        ExperimentOverError: the experiment was rolled back.
        UnknownGenerationError: there is none of this number.
        GenerationStateError: it is not fully loaded, or was dropped.
        EmptyGenerationError: it has no rows of a type of which the served one has some.
    """
    with database.connect(autocommit=True) as connection:
        started = time.perf_counter()
        with connection.transaction():
            shard, counts = _lock(connection, generation)
            if experiment:
                _require_serving(connection, experiment)
            pointers = _pointers(connection, shard, entity_types, arm)
            if not allow_empty:
                _refuse_empty(generation, counts, pointers)
            flipped = [
                kind
                for kind in entity_types
                if kind not in pointers or pointers[kind][0] != generation
            ]
            _flip(connection, generation, shard, flipped, arm, now)
            superseded = _supersede(
                connection, {before for before, _ in pointers.values()} - {generation}, now
            )
        seconds = time.perf_counter() - started
    return PublishReport(generation, tuple(flipped), superseded, seconds)


def drop_unreferenced(
    database: RegionalDatabase,
    *,
    now: datetime,
    cursor_lifetime: timedelta,
    patience: Patience = _PATIENCE,
) -> DropReport:
    """Drop the tables of generations that no pointer names and that no cursor can still read.

    Those are superseded for longer than a cursor lives, or were left in `loading` for as long by
    a run that died. What was begun before (a dropped state, a half-done detach) is finished.
    """
    with database.connect(autocommit=True) as connection:
        # One process at a time; held until the connection closes.
        lock = "select pg_try_advisory_lock(hashtext('seda.drop_unreferenced'))"
        if connection.execute(lock).fetchone() == (False,):
            return DropReport((), ())
        _mark_dropped(connection, now, now - cursor_lifetime)
        dropped, postponed = set(), set()
        for generation, parent in _tables_of_dropped(connection):
            try:
                partitions.remove(connection, parent, generation, patience)
                dropped.add(generation)
            except LockedOutError:
                postponed.add(generation)
    return DropReport(tuple(sorted(dropped - postponed)), tuple(sorted(postponed)))


# --- Loading --------------------------------------------------------------------------------------


def _load(
    database: RegionalDatabase,
    generation: int,
    table: str,
    blocks: Sequence[RecommendationRows] | Sequence[CardRows],
    patience: Patience,
) -> int:
    counts = np.zeros(len(ENTITY_TYPES), np.int64)
    with database.transaction() as connection:
        _require_loading(connection, generation, table)
        child = partitions.create_beside(connection, table, generation)
        for block in blocks:
            copy.copy_rows(connection, child, block.columns(generation), freeze=True)
            counts += np.bincount(block.codes(), minlength=len(ENTITY_TYPES))
        partitions.index_as_parent(connection, table, generation)
        partitions.analyse(connection, table, generation)
        # Of who was deleted while the lists were computed, none is ever served.
        connection.execute("select seda.forget_gone(%s)", [child])
        partitions.attach(connection, table, generation, patience)
        by_type = dict(zip(ENTITY_TYPES, counts.tolist(), strict=True))
        updated = connection.execute(
            "update seda.generations set row_counts = row_counts || %s "
            "where generation = %s and state = 'loading'",
            [Jsonb({table: by_type}), generation],
        )
        if not updated.rowcount:
            raise GenerationStateError(f"Generation {generation} was given up while it loaded.")
    return int(counts.sum())


def _require_loading(connection: psycopg.Connection, generation: int, table: str) -> None:
    row = connection.execute(
        "select state, row_counts ? %s from seda.generations where generation = %s",
        [table, generation],
    ).fetchone()
    if row is None:
        raise UnknownGenerationError(f"There is no generation {generation}: open one.")
    state, loaded = row
    if state != "loading" or loaded:
        raise GenerationStateError(
            f"Generation {generation} is {state} and {'has' if loaded else 'lacks'} its {table}: "
            "open a new one to load."
        )


# --- Flipping -------------------------------------------------------------------------------------

Counts = Mapping[str, Mapping[str, int]]


def _lock(connection: psycopg.Connection, generation: int) -> tuple[str, Counts]:
    """The generation's shard and row counts; one publisher per shard from here on.

    The table first, then rows, here and where generations are dropped: so neither waits for ever.
    """
    connection.execute("lock table seda.generation_pointer in row exclusive mode")
    row = connection.execute(
        "select shard, pg_advisory_xact_lock(hashtext('seda.publish'), hashtext(shard)) "
        "from seda.generations where generation = %s",
        [generation],
    ).fetchone()
    if row is None:
        raise UnknownGenerationError(f"There is no generation {generation}: open one.")
    ((state, counts),) = connection.execute(
        "select state, row_counts from seda.generations where generation = %s for update",
        [generation],
    )
    missing = [table for table in TABLES if table not in counts]
    if missing or state == "dropped":
        raise GenerationStateError(
            f"Generation {generation} of {row[0]} is {state}"
            + (f" without its {' and '.join(missing)}" if missing else "")
            + " and cannot be served: load a new one."
        )
    return str(row[0]), counts


def _require_serving(connection: psycopg.Connection, experiment: str) -> None:
    """Held until this commits: a rollback comes before or after, and then takes the pointers."""
    found = connection.execute(
        "select from seda.experiments where name = %s and serving for share", [experiment]
    )
    if not found.rowcount:
        raise ExperimentOverError(f"The experiment {experiment} is over: its lists are not served.")


def _pointers(
    connection: psycopg.Connection, shard: str, entity_types: Sequence[str], arm: str
) -> dict[str, tuple[int, Counts]]:
    """By type, the generation that is served now and its row counts."""
    rows = connection.execute(
        "select p.entity_type, p.generation, g.row_counts from seda.generation_pointer p "
        "join seda.generations g using (generation) "
        "where p.shard = %s and p.arm = %s and p.entity_type = any (%s)",
        [shard, arm, list(entity_types)],
    )
    return {str(kind): (int(generation), counts) for kind, generation, counts in rows}


def _refuse_empty(
    generation: int, counts: Counts, pointers: Mapping[str, tuple[int, Counts]]
) -> None:
    for kind, (before, counts_before) in pointers.items():
        for table in TABLES:
            if counts_before[table][kind] and not counts[table][kind]:
                raise EmptyGenerationError(
                    f"Generation {generation} has no {table} of type {kind}, and generation "
                    f"{before}, which is served, has {counts_before[table][kind]}: look at the "
                    "run, or publish it with allow_empty."
                )


def _flip(
    connection: psycopg.Connection,
    generation: int,
    shard: str,
    entity_types: Sequence[str],
    arm: str,
    now: datetime,
) -> None:
    connection.execute(
        "insert into seda.generation_pointer (shard, entity_type, arm, generation, flipped_at) "
        "select %s, unnest(%s::text[]), %s, %s, %s on conflict (shard, entity_type, arm) "
        "do update set generation = excluded.generation, flipped_at = excluded.flipped_at",
        [shard, list(entity_types), arm, generation, now],
    )
    connection.execute(
        "update seda.generations set state = 'published', superseded_at = null, "
        "published_at = case state when 'published' then published_at else %s end "
        "where generation = %s",
        [now, generation],
    )


def _supersede(
    connection: psycopg.Connection, generations: set[int], now: datetime
) -> tuple[int, ...]:
    """Of these generations, those that no pointer names any more."""
    rows = connection.execute(
        "update seda.generations g set state = 'superseded', superseded_at = %s "
        "where generation = any (%s) and not exists "
        "(select from seda.generation_pointer p where p.generation = g.generation) "
        "returning generation",
        [now, list(generations)],
    )
    return tuple(sorted(generation for (generation,) in rows))


# --- Dropping -------------------------------------------------------------------------------------


def _mark_dropped(connection: psycopg.Connection, now: datetime, before: datetime) -> None:
    """The state comes first: whoever publishes sees it, and a crash leaves only tables to drop."""
    with connection.transaction():
        # No pointer moves for a moment: a condition on another table is not checked again by an
        # update that had to wait.
        connection.execute("lock table seda.generation_pointer in share row exclusive mode")
        # An arm whose pointers were deleted: its cursors live on from now.
        connection.execute(
            "update seda.generations g set state = 'superseded', superseded_at = %s "
            "where state = 'published' and not exists "
            "(select from seda.generation_pointer p where p.generation = g.generation)",
            [now],
        )
        connection.execute(
            "update seda.generations g set state = 'dropped' "
            "where ((state = 'superseded' and superseded_at <= %(before)s) "
            "    or (state = 'loading' and created_at <= %(before)s)) and not exists "
            "(select from seda.generation_pointer p where p.generation = g.generation)",
            {"before": before},
        )


def _tables_of_dropped(connection: psycopg.Connection) -> list[tuple[int, str]]:
    rows = connection.execute(
        "select g.generation, parent from seda.generations g "
        "cross join unnest(%s::text[]) as parent "
        "where g.state = 'dropped' "
        "and to_regclass(format('seda.%%I', parent || '_g' || g.generation)) is not null "
        "order by g.generation",
        [list(TABLES)],
    )
    return [(int(generation), str(parent)) for generation, parent in rows]
