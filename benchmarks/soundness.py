"""What it costs to look through a night's intermediate results, on arrays of a world's sizes.

    python -m benchmarks.soundness [--people 25000] [--items 100000]

The arrays hold random numbers, and are in memory as files are that were just written: the passes
alone are measured, not the reading, nor Great Expectations' validation of their counts.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

from seda.recommender.candidates import CandidatePool
from seda.recommender.soundness import list_counts, non_finite, pool_counts, repeated_ids
from seda_assets.assets.candidates import PER_SOURCE

TYPES, SOURCES, SHARDS, POOL, FACTORS, DIMENSIONS = 3, 4, 10, 500, 256, 1536


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=25_000)
    parser.add_argument("--items", type=int, default=100_000)
    asked = parser.parse_args()
    rng, people, items = np.random.default_rng(7), asked.people // SHARDS, asked.items
    pool = _pool(rng, people, items)
    lists = rng.integers(0, items, (people, PER_SOURCE)).astype(np.int32)
    scores, everybody = rng.random(lists.shape, np.float32), np.ones(people, bool)
    factors = rng.random((items, FACTORS), np.float32)
    tastes = rng.random((people, DIMENSIONS), np.float32)
    ids = rng.integers(0, 256, (items, 16), dtype=np.uint8)
    passes: dict[str, tuple[int, Callable[[], object]]] = {
        "candidate sets": (SHARDS * TYPES, lambda: pool_counts(
            pool, served=everybody, hungry=everybody, items=items)),
        "lists of the sources": (SHARDS * TYPES * SOURCES, lambda: list_counts(
            lists, scores, people=people, count=items)),
        "factors": (2 * TYPES, lambda: non_finite(factors)),
        "tastes": (SHARDS, lambda: non_finite(tastes)),
        "ids": (TYPES + 1, lambda: repeated_ids(ids)),
    }  # fmt: skip
    total = 0.0
    for name, (times, work) in passes.items():
        started = time.perf_counter()
        for _ in range(times):
            work()
        seconds = time.perf_counter() - started
        total += seconds
        print(f"{name}: {seconds:.2f} s")
    print(f"together {total:.2f} s")
    return 0


def _pool(rng: np.random.Generator, people: int, items: int) -> CandidatePool:
    """Everybody has as many candidates, in rising order."""
    rows = np.sort(rng.integers(0, items - POOL, (people, POOL), dtype=np.int32), axis=1)
    rows += np.arange(POOL, dtype=np.int32)
    indptr = np.arange(people + 1, dtype=np.int64) * POOL
    return CandidatePool(indptr, rows.ravel(), np.full(rows.size, 3, np.uint8))


if __name__ == "__main__":
    raise SystemExit(main())
