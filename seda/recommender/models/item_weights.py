"""Sparse weights from what a user's row holds to items: how EASE and item–item neighbours score.

A row of the weights belongs to a source (an item, a friend, a picked tag), a column to an item.
Kernels work user by user in one dense buffer, so memory does not grow with users times items.
"""

from typing import Any

import numpy as np
import scipy.sparse as sp
from numba import njit

from seda.recommender.arrays import (
    Csr,
    FloatArray,
    IntArray,
    LongArray,
    empty_rows,
    sparse_rows,
)
from seda.recommender.nearest import TopK

BLOCK = 1024
"""Target items whose products are computed together."""


def top_k_weighted(rows: Csr, weights: Csr, k: int, *, exclude: Csr | None = None) -> TopK:
    """The k items with the highest positive score `rows @ weights` of each row.

    `rows` CSR `(users, sources)`, `weights` CSR `(sources, items)`, `exclude` CSR `(users, items)`
    whose stored entries may not appear. Ties go to the lower item.
    """
    users, items = rows.shape[0], weights.shape[1]
    top = TopK(np.full((users, k), -1, np.int32), np.full((users, k), -np.inf, np.float32))
    left_out = sparse_rows(empty_rows(users, items) if exclude is None else exclude)
    _top(
        sparse_rows(rows), sparse_rows(weights), left_out.indptr, left_out.indices, items,
        top.items, top.scores,
    )  # fmt: skip
    return top


def weighted_at(rows: Csr, weights: Csr, indptr: LongArray, items: IntArray) -> FloatArray:
    """Scores `rows @ weights` at the ragged (row, item) pairs `items[indptr[u]:indptr[u + 1]]`.

    float32 `(nnz,)`; NaN for every pair of a row that holds nothing with a weight.
    """
    out = np.full(items.shape[0], np.nan, np.float32)
    _gathered(sparse_rows(rows), sparse_rows(weights), weights.shape[1], indptr, items, out)
    return out


def dense_scores(rows: Csr, weights: Csr) -> FloatArray:
    """`rows @ weights` as a dense float32 array."""
    return np.asarray((rows @ weights).todense(), np.float32)


def by_source(
    targets: IntArray, sources: IntArray, weights: FloatArray, shape: tuple[int, int]
) -> Csr:
    """CSR `shape` (sources, items) of the kept weights `(targets, kept)` of each target."""
    entries = (weights.ravel(), (sources.ravel(), np.repeat(targets, weights.shape[1])))
    matrix = sp.csr_matrix(entries, shape=shape, dtype=np.float32)
    matrix.eliminate_zeros()
    return matrix


def supported(listeners: LongArray, at_most: int) -> IntArray:
    """Positions of the items with most listeners, rising, int32; none without a listener."""
    order = np.argsort(-listeners, kind="stable")[:at_most]
    return np.sort(order[listeners[order] > 0]).astype(np.int32)


def nearest_sources(rows: Csr, columns: Csr, positions: IntArray, kept: int, items: int) -> Csr:
    """CSR `(items, items)`: for each target in `positions` its `kept` largest products.

    Products are those of the rows of `rows` `(n, d)` (targets) and of `columns` `(d, n)`
    (sources), both over `positions` `(n,)`; an item is no source of its own.
    """
    kept = min(kept, positions.size)
    sources = np.empty((positions.size, kept), np.int32)
    weights = np.empty((positions.size, kept), np.float32)
    for start in range(0, positions.size, BLOCK):
        block = np.asarray((rows[start : start + BLOCK] @ columns).todense(), np.float32)
        places = np.arange(block.shape[0])
        block[places, start + places] = 0
        strongest(block, sources[start : start + BLOCK], weights[start : start + BLOCK])
    return by_source(positions, positions[sources], weights, (items, items))


@njit(cache=True, nogil=True)
def strongest(block: Any, columns: Any, weights: Any) -> None:
    """The largest magnitudes of each row of `block`, `(n, m)` float32, in column order.

    Fills `columns` and `weights` `(n, kept)`, kept <= m; of equals the first columns stay.
    """
    kept = columns.shape[1]
    if kept == 0:
        return
    for row in range(block.shape[0]):
        sizes = np.abs(block[row])
        least = np.partition(sizes, sizes.shape[0] - kept)[sizes.shape[0] - kept]
        ties = kept - np.sum(sizes > least)
        place = 0
        for column in range(sizes.shape[0]):
            tied = sizes[column] == least
            if sizes[column] > least or (tied and ties > 0):
                ties -= tied
                columns[row, place] = column
                weights[row, place] = block[row, column]
                place += 1


@njit(cache=True, nogil=True)
def _accumulate(rows: Any, weights: Any, user: int, buffer: Any) -> bool:
    buffer[:] = 0
    known = False
    for position in range(rows[0][user], rows[0][user + 1]):
        source, strength = rows[1][position], rows[2][position]
        for place in range(weights[0][source], weights[0][source + 1]):
            buffer[weights[1][place]] += strength * weights[2][place]
            known = True
    return known


@njit(cache=True, nogil=True)
def _gathered(rows: Any, weights: Any, width: int, indptr: Any, items: Any, out: Any) -> None:
    buffer = np.empty(width, np.float32)
    for user in range(indptr.shape[0] - 1):
        if _accumulate(rows, weights, user, buffer):
            for position in range(indptr[user], indptr[user + 1]):
                out[position] = buffer[items[position]]


@njit(cache=True, nogil=True)
def _top(
    rows: Any, weights: Any, excluded_indptr: Any, excluded: Any, width: int, items: Any,
    scores: Any,
) -> None:  # fmt: skip
    buffer = np.empty(width, np.float32)
    for user in range(items.shape[0]):
        if not _accumulate(rows, weights, user, buffer):
            continue
        for position in range(excluded_indptr[user], excluded_indptr[user + 1]):
            buffer[excluded[position]] = 0
        positive = np.flatnonzero(buffer > 0)
        values = buffer[positive]
        kept = min(items.shape[1], positive.shape[0])
        if kept == 0:
            continue
        least = np.partition(values, values.shape[0] - kept)[values.shape[0] - kept]
        head = np.flatnonzero(values >= least)
        order = np.argsort(-values[head], kind="mergesort")
        for rank in range(kept):
            items[user, rank] = positive[head[order[rank]]]
            scores[user, rank] = values[head[order[rank]]]
