"""Seeded search over hyper-parameters with a scorer that is given, and when to search again.

The scorer decides what is good: ours is NDCG@10 on an inner holdout of the very data that a model
is fitted on. A choice stands until the data have drifted from those it was made on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seda.recommender.arrays import Csr
from seda.recommender.evaluate import hit_table, ndcg_at
from seda.recommender.models.listening import Listening, Model
from seda.recommender.nearest import top_k_products

CHUNK_USERS = 512
"""Users whose dense scores exist together."""


@dataclass(frozen=True)
class DataSize:
    """How much data a choice was made on."""

    users: int
    items: int
    entries: int
    answers: int = 0
    """Answered impressions."""

    def drifted(self, now: "DataSize", tolerance: float) -> bool:
        """Whether any count moved by more than this share of what it was."""
        counts = ((self.users, now.users), (self.items, now.items), (self.entries, now.entries),
                  (self.answers, now.answers))  # fmt: skip
        return any(abs(new - old) > tolerance * max(old, 1) for old, new in counts)


@dataclass(frozen=True)
class Trial:
    """One configuration and what it scored (larger is better)."""

    values: Mapping[str, Any]
    score: float


def search(
    space: Mapping[str, Sequence[Any]],
    score: Callable[[Mapping[str, Any]], float],
    *,
    trials: int,
    seed: int,
    start: Mapping[str, Any],
) -> list[Trial]:
    """At most `trials` configurations, best first; the first that was tried is `start`.

    Each next one changes one or two parameters of the best so far to values drawn from `space`
    (random local search); none is tried twice. Deterministic in `seed`; of equal scores the
    earlier stays ahead. `trials` below 1 gives `start` alone, unscored (NaN).
    """
    if trials < 1:
        return [Trial(dict(start), float("nan"))]
    random = np.random.default_rng(seed)
    best = Trial(dict(start), score(start))
    tried, done = {_key(start)}, [best]
    attempts = 0
    while len(done) < trials and attempts < 20 * trials:
        attempts += 1
        values = dict(best.values)
        for name in random.choice(sorted(space), size=min(2, len(space)), replace=False):
            values[str(name)] = space[str(name)][int(random.integers(len(space[str(name)])))]
        if _key(values) in tried:
            continue
        tried.add(_key(values))
        done.append(Trial(values, score(values)))
        best = max(done, key=lambda trial: trial.score)
    return sorted(done, key=lambda trial: -trial.score)


def holdout_ndcg(model: Model, listening: Listening, held: Csr) -> float:
    """Mean NDCG@10 of a model's full rankings of `held`, CSR `(users, items)`, beyond its plays."""
    gains = []
    for start in range(0, held.shape[0], CHUNK_USERS):
        rows = listening.rows(slice(start, start + CHUNK_USERS))
        scores = model.scores(rows)
        identity = np.eye(scores.shape[0], dtype=np.float32)
        lists = top_k_products(identity, scores.T, 10, exclude=rows.plays).items
        truth = held[start : start + CHUNK_USERS]
        counts = np.diff(truth.indptr)
        judged = counts > 0
        gains.append(ndcg_at(hit_table(lists, truth)[judged], counts[judged], 10))
    found = np.concatenate(gains) if gains else np.zeros(0)
    return float(found.mean()) if found.size else 0.0


def _key(values: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(values.items()))
