"""Accuracy of full rankings, one value per user; means and intervals are made elsewhere.

Definitions: Recall@k = hits / |held out|; NDCG@k is binary, its ideal DCG over min(k, |held out|);
MAP@10 divides by min(10, |held out|).
"""

import numpy as np

from seda.recommender.arrays import (
    BoolArray,
    Csr,
    DoubleArray,
    IntArray,
    LongArray,
    sparse_rows,
    stored_at,
)


def hit_table(lists: IntArray, held_out: Csr) -> BoolArray:
    """Whether each place of `lists` holds a held-out item, bool `(users, k)`."""
    users, k = lists.shape
    indptr = np.arange(users + 1, dtype=np.int64) * k
    flat = np.ascontiguousarray(lists, np.int32).ravel()
    return stored_at(sparse_rows(held_out), indptr, flat).reshape(users, k)


def recall_at(hits: BoolArray, truths: LongArray, k: int) -> DoubleArray:
    """Hits in the first k places over the number held out, float64 `(users,)`."""
    return np.asarray(hits[:, :k].sum(axis=1) / np.maximum(truths, 1))


def ndcg_at(hits: BoolArray, truths: LongArray, k: int) -> DoubleArray:
    """Binary NDCG@k (Järvelin and Kekäläinen 2002), float64 `(users,)`."""
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[np.inf], np.cumsum(discounts)])
    gained = hits[:, :k] @ discounts[: hits[:, :k].shape[1]]
    return np.asarray(gained / ideal[np.minimum(truths, k)])


def average_precision_at(hits: BoolArray, truths: LongArray, k: int) -> DoubleArray:
    """Mean precision at the hits of the first k places, over min(k, |held out|)."""
    first = hits[:, :k]
    precision = np.cumsum(first, axis=1) / np.arange(1, first.shape[1] + 1)
    return np.asarray((precision * first).sum(axis=1) / np.maximum(np.minimum(truths, k), 1))
