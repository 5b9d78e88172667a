"""Measures scoring and selection of 500 candidates down to 50, as users per CPU second of one core.

Run with `python -m benchmarks.ranking [--users 2000] [--candidates 500] [--dim 384]`. Beside each
figure stands its ratio to the plain linear re-rank (score and sort) of the same run.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

from seda.recommender.candidates import CandidatePool
from seda.recommender.cores import single_threaded_blas
from seda.recommender.diversity import DISPERSED, MARGINAL, Cap, Diversity, project, select
from seda.recommender.features import build_features
from seda.recommender.learning import TrainingRows, TreeConfig, fit_trees
from seda.recommender.ranking import INPUTS, LinearWeights, Ranked, Ranker, rank
from seda.recommender.trees import TreeRanker

ITEMS = 100_000
CLUSTERS = 300
DESIGN = LinearWeights()


def main() -> None:
    """Prints a table: users per CPU second of each stage and its share of the linear re-rank."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--candidates", type=int, default=500)
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--factors", type=int, default=72)
    arguments = parser.parse_args()
    world = _World(arguments)
    stages = {
        "linear re-rank (order of scores)": world.linear,
        "features + scoring": world.scored,
        "quota, caps, duplicates": world.listed,
        "MMR": lambda: world.listed(MARGINAL),
        "dispersion": lambda: world.listed(DISPERSED),
        "DPP": lambda: world.listed(Diversity()),
        "DPP, same trade-off everywhere": lambda: world.listed(Diversity(tradeoffs=(6.0,))),
        "scoring + DPP": lambda: (world.scored(), world.listed(Diversity())),
        "features + scoring by 100 trees": lambda: world.scored(world.trees),
        "scoring by 100 trees + DPP": lambda: (
            world.scored(world.trees),
            world.listed(Diversity()),
        ),
    }
    rates = {name: arguments.users / _cpu_seconds(stage) for name, stage in stages.items()}
    linear = rates["linear re-rank (order of scores)"]
    print(f"{'stage':34s} {'users/CPU s':>12s} {'of linear':>10s}")
    for name, rate in rates.items():
        print(f"{name:34s} {rate:12,.0f} {rate / linear:10.3f}")


class _World:
    """Users with pools of clustered items, so that similarity means something."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        random = np.random.default_rng(0)
        users, size, items = arguments.users, arguments.candidates, arguments.items
        self.clusters = random.integers(0, CLUSTERS, items).astype(np.int32)
        centres = random.standard_normal((CLUSTERS, arguments.dim), dtype=np.float32)
        noise = random.standard_normal((items, arguments.dim), dtype=np.float32)
        self.vectors = _unit(centres[self.clusters] + noise)
        self.taste = self.vectors[random.integers(0, items, users)]
        self.factors = random.standard_normal((items, arguments.factors), dtype=np.float32)
        self.people = random.standard_normal((users, arguments.factors), dtype=np.float32)
        rows = np.sort(random.integers(0, items, (users, size), dtype=np.int32), axis=1)
        indptr = np.arange(users + 1, dtype=np.int64) * size
        self.pool = CandidatePool(indptr, rows.ravel(), np.ones(users * size, np.uint8))
        self.is_new = random.random(users * size) < 0.6
        self.popularity = random.random(items, dtype=np.float32)
        self.owners = random.integers(0, items // 5, items).astype(np.int32)
        self.groups = random.integers(-items, items // 4, items).astype(np.int32)
        self.projected = project(self.vectors)
        self.score = self.scored().score
        self.trees = _trees()

    def scored(self, ranker: Ranker = DESIGN) -> Ranked:
        with single_threaded_blas():
            features = build_features(
                self.pool,
                taste=self.taste,
                item_vectors=self.vectors,
                user_factors=self.people,
                item_factors=self.factors,
                popularity=self.popularity,
                clusters=self.clusters,
            )
            return rank(features, ranker)

    def linear(self) -> None:
        select(self.score, self.pool, np.ones_like(self.is_new), k=50)

    def listed(self, diversity: Diversity | None = None) -> None:
        select(
            self.score, self.pool, self.is_new, k=50,
            duplicate_group=np.maximum(self.groups, -1),
            vectors=None if diversity is None else self.projected,
            diversity=diversity,
            caps=[Cap(self.owners, 3), Cap(self.clusters, 12)],
        )  # fmt: skip


def _trees() -> TreeRanker:
    """As many trees, and as deep, as a region learns: the outcome bends with two inputs."""
    random = np.random.default_rng(1)
    inputs = random.standard_normal((40_000, len(INPUTS)), dtype=np.float32)
    wish = inputs[:, 0] + np.maximum(inputs[:, 1], 0) ** 2 + random.gumbel(size=len(inputs))
    relevant, sizes = wish > 4, np.full(400, 100)
    held = np.add.reduceat(relevant.astype(np.int64), np.arange(0, len(inputs), 100))
    shown = {"positions": np.zeros(len(inputs), np.int64), "weights": np.ones(len(inputs))}
    return fit_trees(
        TrainingRows(inputs, relevant, sizes, held, **shown), config=TreeConfig(), seed=1
    )


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _cpu_seconds(stage: Callable[[], object]) -> float:
    stage()  # compiles, or loads the kernels
    start = time.process_time()
    stage()
    return time.process_time() - start


if __name__ == "__main__":
    main()
