"""The vector store in Postgres: HNSW where many entities match, sketches where few or far do.

A search first asks how many match. If most do, it takes more than k from the index and keeps those
that match; if k are left, they are the answer. Otherwise, and whenever the index falls short, it
scans the matching rows' sketches and compares the best of them exactly: as many as its error calls
for, and all of them when they are few (docs/decisions/0003).
"""

from dataclasses import dataclass
from datetime import datetime
from math import ceil, inf
from operator import itemgetter
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import psycopg
from pgvector import HalfVector
from psycopg import sql

from seda.database.identifiers import Ids, ids_of
from seda.database.regions import RegionalDatabase
from seda.embeddings.spaces import EmbeddingSpace
from seda.vectorstore.connections import IdleConnections
from seda.vectorstore.indexes import (
    LiveIndex,
    index_name,
    live_index,
    nearest_by_index,
    rebuild_index,
)
from seda.vectorstore.rows import delete_vectors, store_vectors
from seda.vectorstore.sketches import PLANES, sketch_query
from seda.vectorstore.store import (
    EVERYTHING,
    RECALL,
    Filter,
    Neighbours,
    SpaceVector,
    StoreStats,
    Upsert,
    check,
)

# Wider searches of the index than this cost more than the sketches do.
MAX_BREADTH: Final = 400
MAX_EF_SEARCH: Final = 1000
# How many more than the expected number to take, so that chance rarely leaves fewer than k.
MARGIN: Final = 1.5
SHORTLIST_MINIMUM: Final = 400
SHORTLIST_PER_NEIGHBOUR: Final = 8
SHORTLIST_GROWTH: Final = 8


@dataclass(frozen=True)
class IndexSearch:
    """A search of the index: `breadth` candidates are looked at, `limit` of them filtered."""

    colour: str
    breadth: int
    limit: int


class PgVectorStore:
    """One region's vectors in its Postgres; safe to share between threads."""

    def __init__(self, database: RegionalDatabase) -> None:
        self._database = database
        self._connections = IdleConnections(database)

    def upsert(self, entity: str, space: EmbeddingSpace, rows: Upsert, *, now: datetime) -> int:
        """See `VectorStore`; the space must have been ensured."""
        self._check(entity, space)
        with self._connections.transaction() as connection:
            return store_vectors(
                connection, entity, space, rows.ids, rows.vectors, rows.content_hashes, now
            )

    def delete(self, entity: str, space: EmbeddingSpace, ids: Ids, *, now: datetime) -> int:
        """See `VectorStore`."""
        self._check(entity, space)
        with self._connections.transaction() as connection:
            return delete_vectors(connection, entity, space, ids, now)

    def nearest(
        self,
        entity: str,
        query: SpaceVector,
        k: int,
        where: Filter = EVERYTHING,
        *,
        recall: float = RECALL,
        ef: int | None = None,
    ) -> Neighbours:
        """See `VectorStore`; a `recall` of 1 compares with every matching vector."""
        self._check(entity, query.space, k)
        unit = query.vector / np.linalg.norm(query.vector)
        with self._connections.held() as connection:
            live = live_index(connection, entity, query.space)
            search = None
            if live is not None and recall < 1:
                share = _matching_share(connection, entity, query.space, where, live.vectors)
                search = choose(live, share, k, len(where.exclude), recall, ef)
            if search is not None:
                rows = _by_index(connection, entity, query.space, unit, k, where, search)
                if len(rows) == k:
                    return _neighbours(rows)
            return _neighbours(_by_sketch(connection, entity, query.space, unit, k, where, recall))

    def count(self, entity: str, space: EmbeddingSpace, where: Filter = EVERYTHING) -> int:
        """See `VectorStore`."""
        self._check(entity, space)
        clause, parameters = _matching(entity, space, where)
        with self._connections.transaction() as connection:
            statement = sql.SQL("select count(*) {}").format(clause)
            ((count,),) = connection.execute(statement, parameters, prepare=False)
        return int(count)

    def stats(self, entity: str, space: EmbeddingSpace) -> StoreStats:
        """See `VectorStore`."""
        self._check(entity, space)
        statement = sql.SQL("select count(*) from {} where space_id = %s").format(
            sql.Identifier("seda", f"{entity}s_sketches")
        )
        with self._connections.transaction() as connection:
            ((vectors,),) = connection.execute(statement, [space.id])
            live = live_index(connection, entity, space)
            name = "" if live is None else f"seda.{index_name(entity, space, live.colour)}"
            ((size,),) = connection.execute(
                "select coalesce(pg_relation_size(to_regclass(nullif(%s, ''))), 0)", [name]
            )
        return StoreStats(int(vectors), live is not None, int(size))

    def rebuild(self, entity: str, space: EmbeddingSpace, *, now: datetime) -> StoreStats:
        """See `VectorStore`.

        Raises:
            RebuildRefusedError: the new index is not good enough; the old one serves on.
        """
        rebuild_index(self._database, entity, space, now=now)
        return self.stats(entity, space)

    def close(self) -> None:
        """Close the idle connections."""
        self._connections.close()

    def _check(self, entity: str, space: EmbeddingSpace, k: int = 1) -> None:
        check(str(self._database.region), entity, space, k)


def choose(
    live: LiveIndex, share: float, k: int, excluded: int, recall: float, ef: int | None
) -> IndexSearch | None:
    """How to search the index, or None where the sketches promise more.

    `share` of the entities match. The k nearest that match are found only if they are among the
    candidates, so the rarer they are the more candidates it takes.
    """
    breadth = ef or live.breadth(recall, k)
    if breadth is None or share <= 0:
        return None
    limit = ceil((k if share >= 1 else MARGIN * k / share) + excluded)
    if limit > max(MAX_BREADTH, 2 * k + excluded):
        return None
    breadth = max(breadth, limit)
    return IndexSearch(live.colour, breadth, limit) if breadth <= MAX_EF_SEARCH else None


def _matching_share(
    connection: psycopg.Connection, entity: str, space: EmbeddingSpace, where: Filter, total: int
) -> float:
    """The estimated share that matches, from the planner's statistics; 1 if unfiltered."""
    if not where.genres and not where.languages:
        return 1.0
    clause, parameters = _matching(entity, space, where)
    statement = sql.SQL("explain (format json) select {}").format(clause)
    ((plan,),) = connection.execute(statement, parameters, prepare=False)
    return min(1.0, float(plan[0]["Plan"]["Plan Rows"]) / max(total, 1))


def _matching(
    entity: str, space: EmbeddingSpace, where: Filter
) -> tuple[sql.Composed, dict[str, Any]]:
    """`from … where …` of the sketches `s` that match, and its parameters."""
    clauses = [sql.SQL("s.space_id = %(space)s and s.visible")]
    parameters: dict[str, Any] = {"space": space.id}
    if where.genres:
        # One condition per genre: a union of bitmaps, four times as fast as one `&&` of many.
        names = [f"genre{place}" for place in range(len(where.genres))]
        each = [
            sql.SQL("s.genres @> array[{}::text]").format(sql.Placeholder(name)) for name in names
        ]
        clauses.append(sql.SQL("({})").format(sql.SQL(" or ").join(each)))  # type: ignore[arg-type]
        parameters |= dict(zip(names, where.genres, strict=True))
    if where.languages:
        clauses.append(sql.SQL("s.language = any(%(languages)s)"))
        parameters["languages"] = list(where.languages)
    if where.exclude:
        clauses.append(sql.SQL("s.entity_id <> all(%(exclude)s)"))
        parameters["exclude"] = list(where.exclude)
    statement = sql.SQL("from {} s where {}").format(
        sql.Identifier("seda", f"{entity}s_sketches"), sql.SQL(" and ").join(clauses)
    )
    return statement, parameters


def _by_index(
    connection: psycopg.Connection,
    entity: str,
    space: EmbeddingSpace,
    unit: np.ndarray,
    k: int,
    where: Filter,
    search: IndexSearch,
) -> list[tuple[Any, ...]]:
    clause, parameters = _matching(entity, space, where)
    statement = sql.SQL(
        "select near.entity_id, near.distance from ({near}) near where exists "
        "(select {matching} and s.entity_id = near.entity_id) "
        "order by near.distance, near.entity_id limit %(k)s"
    ).format(near=nearest_by_index(space, entity, search.colour), matching=clause)
    _plan_for(connection, seqscan=False, ef_search=search.breadth)
    parameters |= {"query": HalfVector(unit), "limit": search.limit, "k": k}
    # Never prepared: a generic plan would ignore the settings.
    return connection.execute(statement, parameters, prepare=False, binary=True).fetchall()


def _by_sketch(
    connection: psycopg.Connection,
    entity: str,
    space: EmbeddingSpace,
    unit: np.ndarray,
    k: int,
    where: Filter,
    recall: float,
) -> list[tuple[Any, ...]]:
    """The k best by sketch and then exactly, in one scan of the sketches.

    The first of the shortlist are compared; then as many more as could, by the sketches' error,
    be nearer than the k-th of those.
    """
    sketch = sketch_query(unit)
    clause, parameters = _matching(entity, space, where)
    score = sql.SQL(" + ").join(
        sql.SQL("{} * (s.sketch <~> {}::varbit)").format(
            sql.Literal(1 << plane), sql.Placeholder(f"plane{plane}")
        )
        for plane in range(PLANES)
    )
    compared = max(SHORTLIST_MINIMUM, SHORTLIST_PER_NEIGHBOUR * k)
    exact = not 0 < recall < 1
    slack = 0.0 if exact else NormalDist().inv_cdf(recall) * sketch.noise
    parameters |= {f"plane{plane}": bits for plane, bits in enumerate(sketch.planes)}
    parameters |= {
        "query": HalfVector(unit),
        "k": k,
        "compared": compared,
        "shortlist": None if exact else compared * SHORTLIST_GROWTH,
        # The score is linear in the distance: of the k-th's, and of one whose sketch errs.
        "base": inf if exact else sketch.distance(1 - slack),
        "slope": sketch.distance(0) - sketch.distance(1),
    }
    statement = _SKETCH_SEARCH.format(
        score=score, matching=clause, vectors=sql.Identifier("seda", f"{entity}s_vectors")
    )
    _plan_for(connection, seqscan=not where.genres)
    return connection.execute(statement, parameters, prepare=False, binary=True).fetchall()


_SKETCH_SEARCH: Final = sql.SQL(
    """
    with scored as (
        select s.entity_id, {score} as score {matching} order by score limit %(shortlist)s
    ), shortlist as materialized (
        select entity_id, score, row_number() over () as place from scored
    ), first as materialized (
        select v.entity_id, v.embedding <=> %(query)s as distance
        from shortlist l join {vectors} v
          on v.space_id = %(space)s and v.entity_id = l.entity_id
        where l.place <= %(compared)s
    ), bound as materialized (
        select %(base)s::float8 + %(slope)s::float8 * max(distance) as score
        from (select distance from first order by distance limit %(k)s) as best
    )
    select entity_id, distance from (
        select * from first
        union all
        select v.entity_id, v.embedding <=> %(query)s
        from shortlist l join {vectors} v
          on v.space_id = %(space)s and v.entity_id = l.entity_id
        where l.place > %(compared)s and l.score <= (select score from bound)
    ) as found
    order by distance, entity_id limit %(k)s
    """
)


def _plan_for(connection: psycopg.Connection, *, seqscan: bool, ef_search: int = 64) -> None:
    """The planner knows neither sketches nor distances, so it is told how to go about them.

    Set on the connection, which is the store's own, before every search: a transaction around it
    would cost as much as a third of an unfiltered one.
    """
    connection.execute(
        "select set_config('hnsw.ef_search', %s, false), "
        "set_config('enable_seqscan', %s, false), set_config('enable_hashjoin', 'off', false), "
        "set_config('enable_mergejoin', 'off', false), set_config('jit', 'off', false)",
        [str(ef_search), "on" if seqscan else "off"],
    )


def _neighbours(rows: list[tuple[Any, ...]]) -> Neighbours:
    # An iterative index scan gives its batches one after the other, each in order by itself.
    rows = sorted(rows, key=itemgetter(1))
    similarities = 1 - np.array([row[1] for row in rows], np.float32)
    return Neighbours(ids_of(row[0] for row in rows), similarities)
