"""The HNSW index of a space's entities: built beside the served one, verified, swapped (VEC-4).

A space and entity have two colours of index, told apart by a clause that is always true and that
the planner does not see through: a query that repeats one colour's clause can use that index and
no other. `vector_indexes` says which colour serves. How a search uses it is in `pgvector`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from time import perf_counter
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import psycopg
from pgvector import HalfVector
from pgvector.psycopg import register_vector
from psycopg import sql

from seda.database.regions import RegionalDatabase
from seda.embeddings.spaces import EmbeddingSpace
from seda.errors import SedaError
from seda.vectorstore.rows import complete_sketches, load_vectors
from seda.vectorstore.store import RECALL, check

M: Final = 16
EF_CONSTRUCTION: Final = 200
# A smaller memory makes a build several times slower; a server may be set to more.
BUILD_MEMORY_MB: Final = 1024
BUILD_WORKERS: Final = 4
VERIFY_K: Final = 50
VERIFY_QUERIES: Final = 64
BREADTHS: Final = (64, 100, 150, 200, 300, 400)
# Share of changed rows from which building anew is cheaper than inserting (decision 0003).
REBUILD_SHARE: Final = 0.4
COLOURS: Final = {
    "blue": sql.SQL("octet_length(content_hash) >= 0"),
    "green": sql.SQL("char_length(content_hash) >= 0"),
}


class RebuildRefusedError(SedaError):
    """A new index was not good enough to serve, or another rebuild is under way."""


@dataclass(frozen=True)
class LiveIndex:
    """The index that serves: its colour, and recall@50 by breadth of search (ef_search)."""

    colour: str
    vectors: int
    breadths: Sequence[int]
    recalls: Sequence[float]

    def breadth(self, recall: float, k: int) -> int | None:
        """The smallest measured breadth that reaches the recall, wider for more than 50."""
        for breadth, reached in zip(self.breadths, self.recalls, strict=True):
            if reached >= recall:
                return max(breadth, -(-breadth * k // VERIFY_K))
        return None


def live_index(
    connection: psycopg.Connection, entity: str, space: EmbeddingSpace
) -> LiveIndex | None:
    """The index that serves this entity in this space, if there is one."""
    row = connection.execute(
        "select colour, vectors, breadths, recalls from seda.vector_indexes "
        "where space_id = %s and entity_type = %s",
        [space.id, entity],
    ).fetchone()
    return None if row is None else LiveIndex(*row)


def note_latencies(
    connection: psycopg.Connection,
    entity: str,
    space: EmbeddingSpace,
    milliseconds: tuple[float, float, float],
    now: datetime,
) -> None:
    """Keep what unfiltered searches through the entity's index took: P50, P95 and P99."""
    connection.execute(
        "update seda.vector_indexes set latencies_ms = %s::real[], measured_at = %s "
        "where space_id = %s and entity_type = %s",
        [list(milliseconds), now, space.id, entity],
    )


def index_name(entity: str, space: EmbeddingSpace, colour: str) -> str:
    """Its name in schema seda; a hash stands for the space, whose id is too long for a name."""
    return f"hnsw_{entity}_{blake2b(space.id.encode(), digest_size=6).hexdigest()}_{colour}"


def nearest_by_index(space: EmbeddingSpace, entity: str, colour: str) -> sql.Composed:
    """Selects entity_id and distance of the %(limit)s nearest to %(query)s through one index."""
    return sql.SQL(
        "select entity_id, embedding::halfvec({dim}) <=> %(query)s as distance from {table} "
        "where space_id = {space} and {colour} "
        "order by embedding::halfvec({dim}) <=> %(query)s limit %(limit)s"
    ).format(
        dim=sql.Literal(space.dim),
        table=_table(entity),
        space=sql.Literal(space.id),
        colour=COLOURS[colour],
    )


def ensure_index(
    database: RegionalDatabase, entity: str, space: EmbeddingSpace, *, now: datetime
) -> bool:
    """Build the index if there is none that serves; returns whether it built.

    Also completes the sketches, which search needs with or without an index.
    """
    check(str(database.region), entity, space)
    with database.transaction() as connection:
        complete_sketches(connection, entity, space)
        live = live_index(connection, entity, space)
        if live is not None and _is_valid(connection, index_name(entity, space, live.colour)):
            return False
    rebuild_index(database, entity, space, now=now)
    return True


def index_upkeep(
    database: RegionalDatabase, entity: str, space: EmbeddingSpace, *, changing: int, total: int
) -> bool:
    """Before `changing` of `total` vectors are written: drop the index if building anew is cheaper.

    Returns whether it did; `ensure_index` builds it again afterwards. Searches meanwhile read the
    sketches: the same answers, slower. An index that is being rebuilt is left alone.
    """
    if not total or changing / total < REBUILD_SHARE:
        return False
    with database.connect(autocommit=True) as connection:
        if live_index(connection, entity, space) is None:
            return False
        try:
            with _alone(connection, entity, space):
                _forget(connection, entity, space)
                for colour in COLOURS:
                    _drop(connection, entity, space, colour)
        except RebuildRefusedError:
            return False
    return True


def rebuild_index(
    database: RegionalDatabase,
    entity: str,
    space: EmbeddingSpace,
    *,
    now: datetime,
    recall: float = RECALL,
    breadths: Sequence[int] = BREADTHS,
    seed: int = 0,
) -> LiveIndex:
    """Build beside, verify recall@50 against exact search, swap, drop the old one.

    Reads are served throughout. An index that a killed rebuild left behind is dropped first. Needs
    a direct connection: an index built concurrently outlives no transaction pooler.

    Raises:
        RebuildRefusedError: no breadth reaches the recall (the old index goes on serving), or
            another process is rebuilding this one.
    """
    check(str(database.region), entity, space)
    with database.connect(autocommit=True) as connection, _alone(connection, entity, space):
        live = live_index(connection, entity, space)
        colour = "green" if live is not None and live.colour == "blue" else "blue"
        _drop(connection, entity, space, colour)
        started = perf_counter()
        _build(connection, entity, space, colour)
        seconds = perf_counter() - started
        count, recalls = _verify(connection, entity, space, colour, breadths, seed)
        if recalls[-1] < recall:
            _drop(connection, entity, space, colour)
            served = "the old one goes on serving" if live else "searches stay exact"
            raise RebuildRefusedError(
                f"The new {entity} index of {space.id} reaches recall {recalls[-1]:.3f}, not "
                f"{recall}: it was dropped and {served}."
            )
        swapped = LiveIndex(colour, count, breadths[: len(recalls)], recalls)
        _serve(connection, entity, space, swapped, seconds, now)
        if live is not None:
            _drop(connection, entity, space, live.colour)
    return swapped


def exact_cosines(
    vectors: npt.NDArray[np.float16], queries: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Products `(queries, n)` float32 of unit vectors `(n, dim)` and queries `(queries, dim)`."""
    products = np.empty((len(queries), len(vectors)), np.float32)
    for start in range(0, len(vectors), 8192):
        block = vectors[start : start + 8192].astype(np.float32)
        products[:, start : start + 8192] = queries @ block.T
    return products


def recall_of(found: Sequence[float], best: npt.NDArray[np.floating]) -> float:
    """Share of the `best` similarities that were found; equal ones may stand for each other."""
    if not len(best):
        return 1.0
    # halfvec distances and float32 products differ in the fourth digit.
    return min(1.0, float(np.sum(np.asarray(found) >= best.min() - 2e-4)) / len(best))


def _verify(
    connection: psycopg.Connection,
    entity: str,
    space: EmbeddingSpace,
    colour: str,
    breadths: Sequence[int],
    seed: int,
) -> tuple[int, list[float]]:
    """How many vectors there are, and recall@50 at each breadth until one finds nearly all."""
    with connection.transaction():
        _, vectors = load_vectors(connection, entity, space)
    count = len(vectors)
    chosen = np.random.default_rng(seed).permutation(count)[:VERIFY_QUERIES]
    queries = vectors[chosen].astype(np.float32)
    k = min(VERIFY_K, count)
    best = -np.sort(-np.partition(exact_cosines(vectors, queries), count - k)[:, count - k :])
    register_vector(connection)
    recalls: list[float] = []
    for breadth in breadths:
        hits = [
            recall_of(_through(connection, entity, space, colour, query, breadth), row)
            for query, row in zip(queries, best, strict=True)
        ]
        recalls.append(float(np.mean(hits)) if hits else 1.0)
        if recalls[-1] >= 0.999:
            break
    return count, recalls


def _through(
    connection: psycopg.Connection,
    entity: str,
    space: EmbeddingSpace,
    colour: str,
    query: npt.NDArray[np.float32],
    breadth: int,
) -> list[float]:
    """Similarities of up to 50 that the index finds."""
    with connection.transaction():
        connection.execute(
            "select set_config('hnsw.ef_search', %s, true), "
            "set_config('enable_seqscan', 'off', true)",
            [str(breadth)],
        )
        parameters: dict[str, Any] = {"query": HalfVector(query), "limit": min(VERIFY_K, breadth)}
        statement = nearest_by_index(space, entity, colour)
        rows = connection.execute(statement, parameters, prepare=False).fetchall()
    return [1 - distance for _, distance in rows]


def _build(connection: psycopg.Connection, entity: str, space: EmbeddingSpace, colour: str) -> None:
    connection.execute(
        "select set_config('maintenance_work_mem', greatest(%s, "
        "(select setting::bigint / 1024 from pg_settings where name = 'maintenance_work_mem'))"
        " || 'MB', false), set_config('max_parallel_maintenance_workers', %s, false)",
        [BUILD_MEMORY_MB, str(BUILD_WORKERS)],
    )
    connection.execute(
        sql.SQL(
            "create index concurrently {name} on {table} "
            "using hnsw ((embedding::halfvec({dim})) halfvec_cosine_ops) "
            "with (m = {m}, ef_construction = {ef}) where space_id = {space} and {colour}"
        ).format(
            name=sql.Identifier(index_name(entity, space, colour)),
            table=_table(entity),
            dim=sql.Literal(space.dim),
            m=sql.Literal(M),
            ef=sql.Literal(EF_CONSTRUCTION),
            space=sql.Literal(space.id),
            colour=COLOURS[colour],
        )
    )
    # The choice between strategies reads the planner's statistics of genres and languages.
    connection.execute(sql.SQL("analyze {}").format(sql.Identifier("seda", f"{entity}s_sketches")))


def _serve(
    connection: psycopg.Connection,
    entity: str,
    space: EmbeddingSpace,
    index: LiveIndex,
    seconds: float,
    now: datetime,
) -> None:
    connection.execute(
        "insert into seda.vector_indexes (space_id, entity_type, colour, vectors, breadths, "
        "recalls, build_seconds, built_at) values (%s, %s, %s, %s, %s, %s, %s, %s) "
        "on conflict (space_id, entity_type) do update set colour = excluded.colour, "
        "vectors = excluded.vectors, breadths = excluded.breadths, recalls = excluded.recalls, "
        "build_seconds = excluded.build_seconds, built_at = excluded.built_at",
        [
            space.id,
            entity,
            index.colour,
            index.vectors,
            list(index.breadths),
            list(index.recalls),
            seconds,
            now,
        ],
    )


def _forget(connection: psycopg.Connection, entity: str, space: EmbeddingSpace) -> None:
    connection.execute(
        "delete from seda.vector_indexes where space_id = %s and entity_type = %s",
        [space.id, entity],
    )


def _drop(connection: psycopg.Connection, entity: str, space: EmbeddingSpace, colour: str) -> None:
    name = sql.Identifier("seda", index_name(entity, space, colour))
    connection.execute(sql.SQL("drop index concurrently if exists {}").format(name))


def _is_valid(connection: psycopg.Connection, name: str) -> bool:
    row = connection.execute(
        "select indisvalid from pg_index where indexrelid = to_regclass(%s)", [f"seda.{name}"]
    ).fetchone()
    return row is not None and bool(row[0])


def _table(entity: str) -> sql.Identifier:
    return sql.Identifier("seda", f"{entity}s_vectors")


@contextmanager
def _alone(connection: psycopg.Connection, entity: str, space: EmbeddingSpace) -> Iterator[None]:
    """Nobody else changes this index meanwhile; a session's lock, which dies with its process."""
    name = f"seda.vector_index {entity} {space.id}"
    got = connection.execute(
        "select pg_try_advisory_lock(hashtextextended(%s, 0))", [name]
    ).fetchone()
    if got != (True,):
        raise RebuildRefusedError(
            f"The {entity} index of {space.id} is being rebuilt by another process: wait for it."
        )
    try:
        yield
    finally:
        connection.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", [name])
