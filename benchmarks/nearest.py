"""Measures the exact top-k against plain sgemm in the same process, per CPU second.

Run with `python -m benchmarks.nearest [--users 4096] [--items 100000] [--dim 1536] [--k 200]`. The
ratio is what counts; both sides use one thread each, on the same tiles.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

from seda.recommender.cores import single_threaded_blas
from seda.recommender.nearest import top_k_products


def main() -> None:
    """Prints CPU seconds of both sides, users per CPU second and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=4096)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=1536)
    parser.add_argument("--k", type=int, default=200)
    parser.add_argument("--half", action="store_true", help="items as float16")
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    users = random.standard_normal((arguments.users, arguments.dim), dtype=np.float32)
    items = random.standard_normal((arguments.items, arguments.dim), dtype=np.float32)
    stored = items.astype(np.float16) if arguments.half else items
    top_k_products(users[:8], stored[:5000], arguments.k, threads=1)  # compiles or loads the kernel
    multiplied = min(_cpu_seconds(lambda: _multiply(users, items)) for _ in range(2))
    searched = min(
        _cpu_seconds(lambda: top_k_products(users, stored, arguments.k, threads=1))
        for _ in range(2)
    )
    print(f"sgemm {multiplied:.2f} CPU s, top-{arguments.k} {searched:.2f} CPU s")
    print(f"{arguments.users / searched:.0f} users/CPU s, {multiplied / searched:.2f} of sgemm")


def _multiply(users: np.ndarray, items: np.ndarray) -> None:
    scores = np.empty((2048, 4096), np.float32)
    with single_threaded_blas():
        for first in range(0, items.shape[0], 4096):
            tile = items[first : first + 4096]
            for low in range(0, users.shape[0], 2048):
                block = users[low : low + 2048]
                if (block.shape[0], tile.shape[0]) == scores.shape:
                    np.matmul(block, tile.T, out=scores)
                else:
                    np.matmul(block, tile.T)


def _cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
