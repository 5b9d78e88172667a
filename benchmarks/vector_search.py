"""Vector search at 100k × 1536: recall and latency by selectivity, builds, and usearch beside it.

    python -m benchmarks.vector_search [--items 100000] [--queries 50] [--data clustered|texts]

Starts its own Postgres in a temporary folder. `clustered` are unit vectors in genres that lie in
families, with noise of a falling spectrum, as embeddings are; `texts` are the local embedder's. The
line of usearch (f16, same M, ef_construction and ef) is left out where it cannot be imported.
"""

import argparse
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from seda.database.copy import copy_rows, text_arrays, texts, uuids
from seda.database.migrate import upgrade
from seda.database.regions import Databases, Region, RegionalDatabase
from seda.embeddings.providers.local import LocalEmbedder
from seda.embeddings.spaces import EmbeddingSpace
from seda.embeddings.texts import artist_text
from seda.settings import Settings
from seda.vectorstore.indexes import exact_cosines, rebuild_index
from seda.vectorstore.pgvector import PgVectorStore
from seda.vectorstore.quality import SearchedSpace, SearchQuality, load_searched, search_quality
from seda.vectorstore.rows import ensure_space, store_vectors

NOW = datetime(2026, 11, 1, tzinfo=UTC)
GENRES, FAMILIES = 120, 12
EFS = (64, 100, 200)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--dim", type=int, default=1536)
    parser.add_argument("--data", choices=("clustered", "texts"), default="clustered")
    arguments = parser.parse_args()
    made = clustered if arguments.data == "clustered" else from_texts
    vectors, genres = made(arguments.items, arguments.dim)
    space = EmbeddingSpace("bench", arguments.data, arguments.dim, "1", "global")
    with tempfile.TemporaryDirectory(prefix="seda-bench-") as home:
        databases = Databases(
            Settings(_env_file=None, home=Path(home), database_url=None, eu_database_url=None)
        )
        try:
            measure(databases[Region.GLOBAL], space, vectors, genres, arguments.queries)
        finally:
            databases.close()


def measure(
    database: RegionalDatabase,
    space: EmbeddingSpace,
    vectors: np.ndarray,
    genres: list[list[str]],
    queries: int,
) -> None:
    """Load, build, search; print what each took and what was found."""
    upgrade(database)
    ids = np.random.default_rng(1).integers(0, 256, (len(vectors), 16), np.uint8)
    load(database, space, ids, vectors, genres)
    started = time.perf_counter()
    index = rebuild_index(database, "artist", space, now=NOW)
    curve = zip(index.breadths, index.recalls, strict=True)
    print(
        f"index built and verified in {time.perf_counter() - started:.1f} s; recall@50 by ef "
        + ", ".join(f"{ef}: {recall:.3f}" for ef, recall in curve)
    )
    insertion(database, space, ids, vectors)
    searched = load_searched(database, "artist", space)
    store = PgVectorStore(database)
    search_quality(store, "artist", space, searched, queries=3)  # warms the caches
    print("| filter | matching | recall@50 | p50 | p95 | p99 ms |\n" + "| --- " * 6 + "|")
    for line in search_quality(store, "artist", space, searched, queries=queries, seed=2):
        print(row(line))
    beside_usearch(database, store, space, searched, queries)
    store.close()


def row(line: SearchQuality) -> str:
    share = "all" if line.decile < 0 else f"{line.decile * 10}–{line.decile * 10 + 10} %"
    return (
        f"| {line.relation} | {share} | {line.recall:.4f} | {line.p50_ms:.1f} | {line.p95_ms:.1f} "
        f"| {line.p99_ms:.1f} |"
    )


def load(
    database: RegionalDatabase,
    space: EmbeddingSpace,
    ids: np.ndarray,
    vectors: np.ndarray,
    genres: list[list[str]],
) -> None:
    """Artists with their genres, then their vectors as a refresh stores them."""
    with database.transaction() as connection:
        lengths = np.array([len(each) for each in genres])
        flat = [genre for each in genres for genre in each]
        columns = {
            "id": uuids(ids),
            "name": texts(["artist"] * len(ids)),
            "genres": text_arrays(flat, lengths),
        }
        copy_rows(connection, "seda.artists", columns)
        ensure_space(connection, space)
        started = time.perf_counter()
        for first in range(0, len(ids), 20_000):
            rows = slice(first, first + 20_000)
            block = vectors[rows]
            store_vectors(connection, "artist", space, ids[rows], block, ["h"] * len(block), NOW)
    print(f"{len(ids):,} × {space.dim} stored in {time.perf_counter() - started:.1f} s")
    with database.connect(autocommit=True) as connection:
        connection.execute("vacuum analyze seda.artists_vectors")
        connection.execute("vacuum analyze seda.artists_sketches")


def insertion(
    database: RegionalDatabase, space: EmbeddingSpace, ids: np.ndarray, vectors: np.ndarray
) -> None:
    """What replacing a vector costs while the index stands."""
    count = min(500, len(ids))
    started = time.perf_counter()
    with database.transaction() as connection:
        store_vectors(connection, "artist", space, ids[:count], vectors[:count], ["i"] * count, NOW)
    each = (time.perf_counter() - started) / count
    print(f"replacing a vector beside the index: {each * 1e3:.2f} ms each")


def beside_usearch(
    database: RegionalDatabase,
    store: PgVectorStore,
    space: EmbeddingSpace,
    searched: SearchedSpace,
    queries: int,
) -> None:
    """Unfiltered p50 and recall@50 at equal ef, both in this run."""
    try:
        from usearch.index import Index
    except ImportError:
        print("usearch is not installed: its lines are left out.")
        return
    index = Index(ndim=space.dim, metric="cos", dtype="f16", connectivity=16, expansion_add=200)
    started = time.perf_counter()
    index.add(np.arange(len(searched.ids)), searched.vectors, threads=2)
    print(f"usearch f16 built in {time.perf_counter() - started:.1f} s with 2 threads")
    chosen = np.random.default_rng(3).permutation(len(searched.ids))[: max(queries, 100)]
    cosines = exact_cosines(searched.vectors, searched.vectors[chosen].astype(np.float32))
    for ef in EFS:
        index.expansion_search = ef
        seconds, hits = [], []
        for place, position in enumerate(chosen):
            started = time.perf_counter()
            found = index.search(searched.vectors[position], 50)
            seconds.append(time.perf_counter() - started)
            best = np.partition(cosines[place], -50)[-50:]
            hits.append(np.mean(cosines[place][found.keys.astype(int)] >= best.min() - 2e-4))
        (ours,) = search_quality(
            store, "artist", space, searched, queries=len(chosen), seed=3, relations=(), ef=ef
        )
        theirs = float(np.median(seconds)) * 1e3
        print(
            f"ef {ef}: usearch recall {np.mean(hits):.3f} p50 {theirs:.2f} ms, pgvector recall "
            f"{ours.recall:.3f} p50 {ours.p50_ms:.2f} ms, ratio {ours.p50_ms / theirs:.1f} "
            "(target 4)"
        )


def clustered(items: int, dim: int) -> tuple[np.ndarray, list[list[str]]]:
    """Unit vectors `(items, dim)` float16 around one or two genres each, and those genres."""
    random = np.random.default_rng(0)
    families, centres = (
        random.standard_normal((FAMILIES, dim)),
        random.standard_normal((GENRES, dim)),
    )
    centres = 0.45 * families[random.integers(0, FAMILIES, GENRES)] + 0.5 * centres
    common = 0.5 * random.standard_normal(dim)
    basis, _ = np.linalg.qr(random.standard_normal((dim, dim)))
    spectrum = np.arange(1, dim + 1) ** -0.5
    noise = (basis * spectrum / np.linalg.norm(spectrum)).T.astype(np.float32)
    popularity = np.arange(1, GENRES + 1) ** -0.8
    genres = random.choice(GENRES, (items, 2), p=popularity / popularity.sum())
    weight = random.uniform(0.3, 1, (items, 1))
    vectors = np.empty((items, dim), np.float16)
    for first in range(0, items, 8192):
        rows = slice(first, first + 8192)
        mixed = (
            weight[rows] * centres[genres[rows, 0]] + (1 - weight[rows]) * centres[genres[rows, 1]]
        )
        own = random.standard_normal((len(mixed), dim), dtype=np.float32) @ noise
        block = (common + mixed) / np.sqrt(dim) + 0.75 * own
        vectors[rows] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return vectors, [[f"genre {genre}" for genre in set(pair)] for pair in genres.tolist()]


def from_texts(items: int, dim: int) -> tuple[np.ndarray, list[list[str]]]:
    """The local embedder's vectors of made-up artists of the sandbox's genres."""
    from seda.sandbox.generation.genres import LEAVES

    random = np.random.default_rng(0)
    popularity = np.arange(1, len(LEAVES) + 1) ** -0.8
    picks = random.choice(len(LEAVES), (items, 3), p=popularity / popularity.sum())
    genres = [sorted({LEAVES[pick] for pick in row}) for row in picks]
    syllables = ("an", "bel", "cor", "dra", "el", "fen", "gor", "hal", "is", "jun", "kel", "lor")
    names = [
        "".join(syllables[s] for s in row).title() for row in random.integers(0, 12, (items, 4))
    ]
    weights = [dict(zip(each, random.random(len(each)) + 0.1, strict=True)) for each in genres]
    embedder = LocalEmbedder(dim)
    lines = [artist_text(name, each) for name, each in zip(names, weights, strict=True)]
    return embedder.embed(lines).astype(np.float16), genres


if __name__ == "__main__":
    main()
