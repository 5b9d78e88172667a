"""Offline metrics of full rankings with bootstrap intervals, and the seeded holdout they need.

Definitions: Recall@k = hits / |held out|; NDCG@k is binary, its ideal DCG over min(k, |held out|);
MAP@10 divides by min(10, |held out|); coverage@k = distinct items in all top-k / items. Every user
with a held-out item counts; one without a list scores 0.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from seda.recommender.arrays import (
    Csr,
    DoubleArray,
    IntArray,
    LongArray,
    sparse_rows,
    stored_at,
)


@dataclass(frozen=True)
class Estimate:
    """A mean over users with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Evaluation:
    """What a set of lists achieved; `users` is the number with a held-out item."""

    recall: Estimate
    """At 20."""
    ndcg: Estimate
    """At 10."""
    average_precision: Estimate
    """MAP at 10."""
    coverage: float
    """At 10."""
    users: int


def evaluate(
    lists: IntArray,
    held_out: Csr,
    *,
    seed: int,
    resamples: int = 1000,
    cutoffs: tuple[int, int] = (20, 10),
) -> Evaluation:
    """Recall@20, NDCG@10, MAP@10 and coverage@10 of `lists` against `held_out`.

    `lists` int32 `(users, k)`, best first, padded with -1; `held_out` CSR `(users, items)`, whose
    stored entries are the truth; `cutoffs` are those of recall and of NDCG.
    """
    hits = hit_table(lists, held_out)
    truths = np.diff(held_out.indptr)
    counted = truths > 0
    hits, truths = hits[counted], truths[counted]
    return Evaluation(
        recall=bootstrap(recall_at(hits, truths, cutoffs[0]), seed, resamples),
        ndcg=bootstrap(ndcg_at(hits, truths, cutoffs[1]), seed, resamples),
        average_precision=bootstrap(average_precision_at(hits, truths, 10), seed, resamples),
        coverage=coverage_at(lists, held_out.shape[1], 10),
        users=int(counted.sum()),
    )


def hit_table(lists: IntArray, held_out: Csr) -> np.ndarray:
    """Whether each place of `lists` holds a held-out item, bool `(users, k)`."""
    users, k = lists.shape
    indptr = np.arange(users + 1, dtype=np.int64) * k
    flat = np.ascontiguousarray(lists, np.int32).ravel()
    return stored_at(sparse_rows(held_out), indptr, flat).reshape(users, k)


def recall_at(hits: np.ndarray, truths: LongArray, k: int) -> DoubleArray:
    """Hits in the first k places over the number held out, float64 `(users,)`."""
    return hits[:, :k].sum(axis=1) / np.maximum(truths, 1)


def ndcg_at(hits: np.ndarray, truths: LongArray, k: int) -> DoubleArray:
    """Binary NDCG@k (Järvelin and Kekäläinen 2002), float64 `(users,)`."""
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[np.inf], np.cumsum(discounts)])
    gained = hits[:, :k] @ discounts[: hits[:, :k].shape[1]]
    return np.asarray(gained / ideal[np.minimum(truths, k)])


def average_precision_at(hits: np.ndarray, truths: LongArray, k: int) -> DoubleArray:
    """Mean precision at the hits of the first k places, over min(k, |held out|)."""
    first = hits[:, :k]
    precision = np.cumsum(first, axis=1) / np.arange(1, first.shape[1] + 1)
    return np.asarray((precision * first).sum(axis=1) / np.maximum(np.minimum(truths, k), 1))


def coverage_at(lists: IntArray, items: int, k: int) -> float:
    """Distinct items in all first-k lists over the number of items."""
    shown = lists[:, :k]
    return float(np.unique(shown[shown >= 0]).size / items) if items else 0.0


def bootstrap(per_user: DoubleArray, seed: int, resamples: int = 1000) -> Estimate:
    """Mean and 95 % percentile interval over users drawn with replacement (Efron 1979)."""
    if per_user.size == 0:
        return Estimate(0.0, 0.0, 0.0)
    random = np.random.default_rng(seed)
    means = np.empty(resamples)
    for sample in range(resamples):
        means[sample] = per_user[random.integers(0, per_user.size, per_user.size)].mean()
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(float(per_user.mean()), float(low), float(high))


def per_user_holdout(
    plays: Csr, fraction: float, seed: int, user_keys: LongArray | None = None
) -> tuple[Csr, Csr]:
    """Splits each user's items into (train, held out) with a seed of the user's own.

    round(fraction * items) of each user are held out. `user_keys` int64 `(users,)` are stable ids
    (positions if None): with them, adding a user reshuffles nobody else. An item that nobody would
    have left in train stays there: nothing could recommend it.
    """
    rows = sp.csr_matrix(plays, copy=True)
    rows.sum_duplicates()
    owners = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    keys = owners if user_keys is None else user_keys[owners]
    draws = _hashed(keys.astype(np.uint64), rows.indices.astype(np.uint64), seed)
    order = np.lexsort((draws, owners))
    places = np.empty(rows.nnz, np.int64)
    places[order] = np.arange(rows.nnz) - rows.indptr[owners]
    held = places < np.rint(fraction * np.diff(rows.indptr))[owners]
    left = np.bincount(rows.indices[~held], minlength=rows.shape[1])
    held &= left[rows.indices] > 0
    return _entries(rows, owners, ~held), _entries(rows, owners, held)


def _entries(rows: Csr, owners: LongArray, chosen: np.ndarray) -> Csr:
    entries = (rows.data[chosen], (owners[chosen], rows.indices[chosen]))
    return sp.csr_matrix(entries, shape=rows.shape)


def _hashed(keys: np.ndarray, items: np.ndarray, seed: int) -> np.ndarray:
    """One pseudo-random uint64 per (user, item) pair (splitmix64's finaliser, applied twice)."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    mixed = _mixed(keys * golden + np.uint64(seed % 2**64))
    return _mixed(mixed + (items + np.uint64(1)) * golden)


def _mixed(values: np.ndarray) -> np.ndarray:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(values ^ (values >> np.uint64(31)))
