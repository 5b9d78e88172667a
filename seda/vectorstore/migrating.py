"""Two stores behind one: every write and search goes where the entity's route says (VEC-3).

A small stable cohort is written to the second store first, then everything; searches are compared,
then a share of them is answered by the second store, then all. Postgres is written to in every
stage, which is what makes the way back one row. Routes and their rules are in `routes`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from time import perf_counter
from typing import Any, Final

import numpy as np
from psycopg import sql

from seda.database import copy
from seda.database.identifiers import Ids, uuids_of
from seda.database.regions import RegionalDatabase
from seda.embeddings.spaces import EmbeddingSpace
from seda.vectorstore.connections import IdleConnections
from seda.vectorstore.routes import (
    BACK,
    STAGES,
    Comparison,
    Route,
    Stage,
    StageRefusedError,
    load_agreement,
    load_fill,
    load_route,
    record,
    refusal,
    save_fill,
    save_stage,
)
from seda.vectorstore.store import (
    EVERYTHING,
    RECALL,
    Filter,
    Neighbours,
    SpaceVector,
    StoreStats,
    StoreUnreachableError,
    Upsert,
    VectorStore,
    check,
)

FILL_BATCH: Final = 1000
_COHORT_STEPS: Final = 1 << 32


@dataclass(frozen=True)
class Timed:
    """An answer and the milliseconds it took."""

    neighbours: Neighbours
    milliseconds: float


class MigratingStore:
    """`first` is Postgres, `second` the store that searches move to.

    `draw` gives numbers in [0, 1): it decides which searches are compared and which are the
    canary's. A second store that does not answer never fails a search.
    """

    def __init__(
        self,
        database: RegionalDatabase,
        first: VectorStore,
        second: VectorStore,
        *,
        draw: Callable[[], float],
        now: Callable[[], datetime],
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._database, self._first, self._second = database, first, second
        self._connections = IdleConnections(database)
        self._draw, self._now, self._clock = draw, now, clock

    def upsert(self, entity: str, space: EmbeddingSpace, rows: Upsert, *, now: datetime) -> int:
        """To Postgres, then to the second store: the cohort in stage shadow, all from dual on.

        Raises:
            StoreUnreachableError: the second store does not answer; Postgres has the rows, and
                `fill` brings them over.
        """
        stored = self._first.upsert(entity, space, rows, now=now)
        self.follow(entity, space, rows, now=now)
        return stored

    def follow(self, entity: str, space: EmbeddingSpace, rows: Upsert, *, now: datetime) -> int:
        """Bring to the second store what Postgres has got already, as far as the stage goes.

        Raises:
            StoreUnreachableError: it does not answer; `fill` brings the rows over later.
        """
        route = self._route(entity)
        if route.stage == "pgvector":
            return 0
        if route.stage == "shadow":
            rows = _subset(rows, in_cohort(rows.ids, route.cohort_share))
        return self._second.upsert(entity, space, rows, now=now) if len(rows.ids) else 0

    def delete(self, entity: str, space: EmbeddingSpace, ids: Ids, *, now: datetime) -> int:
        """From both, the second first: what it would keep, nobody would look for again."""
        self.forget(entity, space, ids, now=now)
        return self._first.delete(entity, space, ids, now=now)

    def forget(self, entity: str, space: EmbeddingSpace, ids: Ids, *, now: datetime) -> int:
        """Delete from the second store alone, if it has anything.

        Raises:
            StoreUnreachableError: it does not answer; it finds out when it is searched.
        """
        if self._route(entity).stage == "pgvector":
            return 0
        return self._second.delete(entity, space, ids, now=now)

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
        """See `VectorStore`."""
        route = self._route(entity)

        def ask(store: VectorStore) -> Timed:
            started = self._clock()
            found = store.nearest(entity, query, k, where, recall=recall, ef=ef)
            return Timed(found, (self._clock() - started) * 1e3)

        if route.stage == "qdrant" or (
            route.stage == "canary" and self._draw() < route.canary_share
        ):
            try:
                return ask(self._second).neighbours
            except StoreUnreachableError as problem:
                first = ask(self._first)
                self._record(route, query, k, first, None, str(problem))
                return first.neighbours
        first = ask(self._first)
        if route.stage != "pgvector" and self._draw() < route.compared_share:
            try:
                self._record(route, query, k, first, ask(self._second), None)
            except StoreUnreachableError as problem:
                self._record(route, query, k, first, None, str(problem))
        return first.neighbours

    def count(self, entity: str, space: EmbeddingSpace, where: Filter = EVERYTHING) -> int:
        """Postgres's, which has everything in every stage."""
        return self._first.count(entity, space, where)

    def stats(self, entity: str, space: EmbeddingSpace) -> StoreStats:
        """Of the store that searches are answered from."""
        serving = self._second if self._route(entity).stage == "qdrant" else self._first
        return serving.stats(entity, space)

    def rebuild(self, entity: str, space: EmbeddingSpace, *, now: datetime) -> StoreStats:
        """Of the store that searches are answered from."""
        serving = self._second if self._route(entity).stage == "qdrant" else self._first
        return serving.rebuild(entity, space, now=now)

    def advance(self, entity: str, space: EmbeddingSpace) -> Stage:
        """Take the next stage.

        Raises:
            StageRefusedError: the second store is not complete, or does not agree enough.
            StoreUnreachableError: it does not answer.
        """
        check(str(self._database.region), entity, space)
        second = self._second.count(entity, space)
        with self._connections.transaction() as connection:
            route = load_route(connection, entity)
            agreement = load_agreement(connection, route)
            first = self._first.count(entity, space)
            problem = refusal(route.stage, first, second, agreement)
            if problem is not None:
                raise StageRefusedError(problem)
            stage = STAGES[STAGES.index(route.stage) + 1]
            save_stage(connection, entity, stage, now=self._now())
        return stage

    def compare(self, entity: str, query: SpaceVector, k: int) -> None:
        """Ask both stores the same and keep the comparison."""
        route = self._route(entity)
        started = self._clock()
        found = self._first.nearest(entity, query, k)
        first = Timed(found, (self._clock() - started) * 1e3)
        started = self._clock()
        second = Timed(self._second.nearest(entity, query, k), (self._clock() - started) * 1e3)
        self._record(route, query, k, first, second, None)

    def fill(
        self,
        entity: str,
        space: EmbeddingSpace,
        *,
        batch: int = FILL_BATCH,
        advanced: Callable[[int], object] = lambda _: None,
    ) -> int:
        """Bring every visible vector over, in the order of the ids; a killed fill goes on.

        In stage shadow, the cohort's only. `advanced` hears of each batch's size.
        """
        check(str(self._database.region), entity, space)
        route, written = self._route(entity), 0
        while True:
            with self._connections.transaction() as connection:
                after = load_fill(connection, entity, space.id)
                ids, vectors = copy.read_fixed(
                    connection,
                    _FILL.format(
                        sketches=sql.Identifier("seda", f"{entity}s_sketches"),
                        vectors=sql.Identifier("seda", f"{entity}s_vectors"),
                    ),
                    ["uuid", ("halfvec", space.dim)],
                    {"space": space.id, "after": after, "batch": batch},
                )
                rows = Upsert(ids, vectors, [""] * len(ids))
                if route.stage == "shadow":
                    rows = _subset(rows, in_cohort(ids, route.cohort_share))
                if len(rows.ids):
                    written += self._second.upsert(entity, space, rows, now=self._now())
                last = uuids_of(ids[-1:])[0] if len(ids) == batch else None
                save_fill(connection, entity, space.id, last)
            advanced(len(ids))
            if last is None:
                return written

    def close(self) -> None:
        """Close both stores."""
        self._connections.close()
        self._first.close()
        self._second.close()

    def _route(self, entity: str) -> Route:
        with self._connections.transaction() as connection:
            return load_route(connection, entity)

    def _record(
        self,
        route: Route,
        query: SpaceVector,
        k: int,
        first: Timed,
        second: Timed | None,
        failure: str | None,
    ) -> None:
        overlap = None
        if second is not None:
            share = route.cohort_share if route.stage == "shadow" else 1.0
            overlap = overlap_of(first.neighbours, second.neighbours, share)
        comparison = Comparison(
            route.entity,
            query.space.id,
            route.stage,
            k,
            overlap,
            first.milliseconds,
            None if second is None else second.milliseconds,
            failure,
        )
        with self._connections.transaction() as connection:
            record(connection, comparison, now=self._now())


_FILL = sql.SQL(
    """
    select v.entity_id, v.embedding from {sketches} s
    join {vectors} v on v.space_id = s.space_id and v.entity_id = s.entity_id
    where s.space_id = %(space)s and s.visible
      and (%(after)s::uuid is null or s.entity_id > %(after)s::uuid)
    order by s.entity_id limit %(batch)s
    """
)


def go_back(
    database: RegionalDatabase, entity: str, *, now: datetime, to: Stage | None = None
) -> Stage:
    """Let Postgres answer again, at once and whatever the second store does; returns the stage.

    Raises:
        StageRefusedError: `to` is not behind the present stage.
    """
    with database.transaction() as connection:
        route = load_route(connection, entity)
        stage = to or BACK[route.stage]
        if STAGES.index(stage) > STAGES.index(route.stage):
            raise StageRefusedError(
                f"{stage} is ahead of {route.stage}: `seda vectors stage` leads there."
            )
        save_stage(connection, entity, stage, now=now)
    return stage


def in_cohort(ids: Ids, share: float) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which ids `(n, 16)` are among the share that is written first `(n,)`: the same every time,
    and a larger share holds the smaller one."""
    drawn = [
        int.from_bytes(blake2b(bytes(row), digest_size=4, key=b"seda cohort").digest(), "big")
        for row in ids
    ]
    return np.array(drawn, np.int64) < share * _COHORT_STEPS


def overlap_of(first: Neighbours, second: Neighbours, share: float) -> float | None:
    """Share of the first answer that the second one holds; of its cohort's part in stage shadow.

    None when that part is empty.
    """
    expected = first.ids[in_cohort(first.ids, share)] if share < 1 else first.ids
    if not len(expected):
        return None
    found = {bytes(row) for row in second.ids}
    return sum(bytes(row) in found for row in expected) / len(expected)


def _subset(rows: Upsert, chosen: np.ndarray[Any, np.dtype[np.bool_]]) -> Upsert:
    hashes = [rows.content_hashes[place] for place in np.flatnonzero(chosen).tolist()]
    return Upsert(rows.ids[chosen], rows.vectors[chosen], hashes)
