"""How well a stored space is searched: recall@k and latency by selectivity of the filter.

Stored vectors are the queries; filters are unions of the catalogue's own genres, drawn at random or
from the genres that are farthest from the query, where an index finds the least. The truth is
exact search in numpy. What the figures are compared with is not decided here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import sql
from scipy import sparse

from seda.database.identifiers import IdIndex, Ids
from seda.database.regions import RegionalDatabase
from seda.embeddings.spaces import EmbeddingSpace
from seda.vectorstore.indexes import exact_cosines, recall_of
from seda.vectorstore.rows import load_vectors
from seda.vectorstore.store import EVERYTHING, Filter, SpaceVector, VectorStore

Relation: TypeAlias = Literal["none", "uncorrelated", "anti-correlated"]

RELATIONS: Final[tuple[Relation, ...]] = ("uncorrelated", "anti-correlated")
DECILES: Final = 10
K: Final = 50
# Filters are made of the commonest genres; a catalogue may have tens of thousands.
MAX_GENRES: Final = 400


@dataclass(frozen=True)
class SearchQuality:
    """Recall@k, and milliseconds, of the queries whose filter lets through one decile.

    `decile` counts from 0 (up to a tenth matches); -1 is unfiltered.
    """

    relation: Relation
    decile: int
    queries: int
    recall: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, eq=False)
class SearchedSpace:
    """What can be found in a space: ids `(n, 16)`, vectors `(n, dim)` float16, and genres.

    `members` is `(n, genres)` of 0 and 1, for the commonest genres only.
    """

    ids: Ids
    vectors: npt.NDArray[np.float16]
    genres: Sequence[str]
    members: sparse.csc_matrix


def load_searched(database: RegionalDatabase, entity: str, space: EmbeddingSpace) -> SearchedSpace:
    """Every visible entity of a space that has a vector."""
    with database.transaction() as connection:
        ids, vectors = load_vectors(connection, entity, space)
        visible, of_genre = _genres(connection, entity, space)
    index = IdIndex(ids)
    rows = np.sort(index.positions(visible))
    place = np.full(len(ids), -1)
    place[rows] = np.arange(len(rows))
    genres = sorted(of_genre, key=lambda genre: -len(of_genre[genre]))[:MAX_GENRES]
    columns = [place[index.positions(_ids(of_genre[genre]))] for genre in genres]
    members = sparse.csc_matrix(
        (
            np.ones(sum(map(len, columns)), np.float32),
            np.concatenate([*columns, np.empty(0, np.int64)]).astype(np.int64),
            np.concatenate(([0], np.cumsum([len(column) for column in columns]))).astype(np.int64),
        ),
        shape=(len(rows), len(genres)),
    )
    return SearchedSpace(ids[rows], vectors[rows], genres, members)


def search_quality(
    store: VectorStore,
    entity: str,
    space: EmbeddingSpace,
    searched: SearchedSpace,
    *,
    queries: int,
    seed: int = 0,
    k: int = K,
    relations: Sequence[Relation] = RELATIONS,
    clock: Callable[[], float] = perf_counter,
    **options: Any,
) -> list[SearchQuality]:
    """Unfiltered, then each decile that the genres can make, by relation of filter to query.

    `queries` is their number per line; `options` go to `nearest`. No `relations`: unfiltered only.
    """
    random = np.random.default_rng(seed)
    chosen = random.permutation(len(searched.ids))[:queries]
    if not len(chosen):
        return []
    vectors = searched.vectors[chosen].astype(np.float32)
    cosines = exact_cosines(searched.vectors, vectors)
    measured: dict[tuple[Relation, int], list[tuple[float, float]]] = {}
    for row, vector in enumerate(vectors):
        query = SpaceVector(space, vector)
        cases: list[tuple[Relation, int, Filter, npt.NDArray[np.bool_]]] = [
            ("none", -1, EVERYTHING, np.ones(len(searched.ids), bool))
        ]
        for relation in relations:
            order = _genre_order(searched, cosines[row], relation, random)
            for decile in range(DECILES):
                made = _union(searched, order, decile)
                if made is not None:
                    cases.append((relation, decile, *made))
        for relation, decile, where, mask in cases:
            started = clock()
            found = store.nearest(entity, query, k, where, **options)
            milliseconds = (clock() - started) * 1e3
            matching = cosines[row][mask]
            least = len(matching) - min(k, len(matching))
            best = np.partition(matching, least)[least:] if least else matching
            outcome = (recall_of(found.similarities.tolist(), best), milliseconds)
            measured.setdefault((relation, decile), []).append(outcome)
    return [_summary(case, outcomes) for case, outcomes in sorted(measured.items(), key=_place)]


def _place(item: tuple[tuple[Relation, int], Any]) -> tuple[int, int]:
    (relation, decile), _ = item
    return ("none", *RELATIONS).index(relation), decile


def _summary(case: tuple[Relation, int], outcomes: Sequence[tuple[float, float]]) -> SearchQuality:
    recalls, milliseconds = np.array(outcomes).T
    percentiles = np.percentile(milliseconds, (50, 95, 99))
    return SearchQuality(*case, len(outcomes), float(recalls.mean()), *map(float, percentiles))


def _genre_order(
    searched: SearchedSpace,
    cosines: npt.NDArray[np.float32],
    relation: Relation,
    random: np.random.Generator,
) -> npt.NDArray[np.intp]:
    """Genres in the order in which a filter takes them: at random, or the farthest first."""
    if relation == "uncorrelated":
        return random.permutation(len(searched.genres))
    sizes = np.maximum(np.diff(searched.members.indptr), 1)
    return np.argsort(searched.members.T @ cosines / sizes)


def _union(
    searched: SearchedSpace, order: npt.NDArray[np.intp], decile: int
) -> tuple[Filter, npt.NDArray[np.bool_]] | None:
    """The first union of genres, taken in order, whose share of the entities is in the decile."""
    low, high = (len(searched.ids) * edge / DECILES for edge in (decile, decile + 1))
    mask = np.zeros(len(searched.ids), bool)
    count, taken = 0, []
    for genre in order:
        start, stop = searched.members.indptr[genre : genre + 2]
        rows = searched.members.indices[start:stop]
        fresh = rows[~mask[rows]]
        if not len(fresh) or count + len(fresh) > high:
            continue
        mask[fresh] = True
        count += len(fresh)
        taken.append(searched.genres[genre])
        if count > (low + high) / 2 or (decile == 0 and count >= high / 4):
            break
    return (Filter(genres=taken), mask) if count > low else None


def _genres(
    connection: psycopg.Connection, entity: str, space: EmbeddingSpace
) -> tuple[Ids, dict[str, list[bytes]]]:
    """Ids of everything visible, and of the members of each genre."""
    statement = sql.SQL(
        "select uuid_send(entity_id), genres from {} where space_id = %s and visible"
    ).format(sql.Identifier("seda", f"{entity}s_sketches"))
    visible: list[bytes] = []
    of_genre: dict[str, list[bytes]] = {}
    for entity_id, genres in connection.execute(statement, [space.id], binary=True):
        visible.append(entity_id)
        for genre in set(genres):
            of_genre.setdefault(genre, []).append(entity_id)
    return _ids(visible), of_genre


def _ids(values: list[bytes]) -> Ids:
    return np.frombuffer(b"".join(values), np.uint8).reshape(-1, 16)
