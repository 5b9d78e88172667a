"""Exact nearest items for all users at once: blocked matrix products and a threshold top-k.

A tile of products is scanned while it is still warm: a score enters a user's small buffer only if
it beats the user's threshold (the k-th best so far), so almost every score costs one vectorised
comparison. Exact search with recall 1; the online single query belongs to the vector store.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from seda.recommender.arrays import (
    Csr,
    FloatArray,
    IntArray,
    LongArray,
    SparseRows,
    has_vector,
    sparse_rows,
)
from seda.recommender.cores import available_cores, map_over_threads

SPAN_ROWS = 16_384
"""Queries whose buffers live at the same time in one thread (k = 200: 60 MB)."""


@dataclass(frozen=True, eq=False)
class TopK:
    """Best items per query, best first; equal scores are ordered by the lower item index.

    `items` int32 `(queries, k)`, padded with -1; `scores` float32 `(queries, k)`, padded with -inf.
    """

    items: IntArray
    scores: FloatArray


def top_k_products(
    queries: FloatArray,
    items: npt.NDArray[np.floating[Any]],
    k: int,
    *,
    exclude: Csr | None = None,
    tile: tuple[int, int] = (2048, 4096),
    threads: int | None = None,
) -> TopK:
    """The k items with the largest inner product per query, exactly.

    `queries` `(q, d)` float32, `items` `(n, d)` float32 or float16 (converted tile by tile),
    `exclude` CSR `(q, n)` whose stored entries may not appear. A row of zeros means "no vector":
    such a query gets no items and such an item is never returned; nor is a NaN or -inf product.
    `threads` None means every available core.
    """
    if queries.shape[1] != items.shape[1]:
        raise ValueError(f"queries have {queries.shape[1]} dimensions, items {items.shape[1]}")
    if exclude is not None and exclude.shape != (queries.shape[0], items.shape[0]):
        raise ValueError(f"exclude is {exclude.shape}, expected one row per query, column per item")
    top = TopK(
        np.full((queries.shape[0], k), -1, np.int32),
        np.full((queries.shape[0], k), -np.inf, np.float32),
    )
    if queries.shape[0] == 0 or items.shape[0] == 0 or k == 0:
        return top
    queries = np.ascontiguousarray(queries, np.float32)
    blocked = None if exclude is None else sparse_rows(exclude)
    workers = threads or available_cores()
    height = min(SPAN_ROWS, -(-queries.shape[0] // workers))
    spans = [
        slice(start, min(start + height, queries.shape[0]))
        for start in range(0, queries.shape[0], height)
    ]
    map_over_threads(
        lambda span: _search_span(queries, items, span, blocked, tile, top), spans, workers
    )
    return top


def gathered_products(
    users: FloatArray, items: FloatArray, indptr: LongArray, pool_items: IntArray
) -> FloatArray:
    """Inner products of the (user, item) pairs of a pool only.

    `users` `(u, d)` and `items` `(n, d)` float32; pair p of user u, for p in
    `indptr[u]:indptr[u + 1]`, is with item `pool_items[p]`. Returns float32 `(nnz,)`.
    """
    out = np.empty(pool_items.shape[0], np.float32)
    _gather(
        np.ascontiguousarray(users, np.float32),
        np.ascontiguousarray(items, np.float32),
        indptr.astype(np.int64, copy=False),
        pool_items.astype(np.int32, copy=False),
        out,
    )
    return out


def _search_span(
    queries: FloatArray,
    items: npt.NDArray[np.floating[Any]],
    span: slice,
    blocked: SparseRows | None,
    tile: tuple[int, int],
    top: TopK,
) -> None:
    # Item tiles in the outer loop: each is converted from float16 once per span, not per query.
    rows, kept = span.stop - span.start, min(top.items.shape[1], items.shape[0])
    capacity = kept + max(kept, 128)
    values = np.empty((rows, capacity), np.float32)
    indices = np.empty((rows, capacity), np.int32)
    counts = np.zeros(rows, np.int64)
    thresholds = np.full(rows, -np.inf, np.float32)
    cursors = np.empty(0, np.int64) if blocked is None else blocked.indptr[span].copy()
    scratch = np.empty(min(tile[0], rows) * min(tile[1], items.shape[0]), np.float32)
    for first in range(0, items.shape[0], tile[1]):
        item_tile = np.ascontiguousarray(items[first : first + tile[1]], np.float32)
        vectorless = np.flatnonzero(~has_vector(item_tile))
        for low in range(0, rows, tile[0]):
            high = min(low + tile[0], rows)
            shape = (high - low, item_tile.shape[0])
            scores = scratch[: shape[0] * shape[1]].reshape(shape)
            np.matmul(queries[span][low:high], item_tile.T, out=scores)
            scores[:, vectorless] = -np.inf
            if blocked is not None:
                ends = blocked.indptr[1:][span][low:high]
                _blank(scores, first, blocked.indices, cursors[low:high], ends)
            _offer(
                scores,
                first,
                values[low:high],
                indices[low:high],
                counts[low:high],
                thresholds[low:high],
                kept,
            )
    counts[~has_vector(queries[span])] = 0
    _finish(values, indices, counts, top.items[span], top.scores[span], kept)


@njit(cache=True, nogil=True)
def _blank(scores: Any, first: int, excluded: Any, cursors: Any, ends: Any) -> None:
    # Rows are visited with rising item tiles and the columns are sorted: one cursor per row.
    last = first + scores.shape[1]
    for row in range(scores.shape[0]):
        cursor = cursors[row]
        while cursor < ends[row] and excluded[cursor] < last:
            scores[row, excluded[cursor] - first] = -np.inf
            cursor += 1
        cursors[row] = cursor


@njit(cache=True, nogil=True)
def _offer(
    scores: Any, first: int, values: Any, indices: Any, counts: Any, thresholds: Any, kept: int
) -> None:
    width = scores.shape[1]
    capacity = values.shape[1]
    for row in range(scores.shape[0]):
        line = scores[row]
        threshold = thresholds[row]
        count = counts[row]
        for start in range(0, width, 64):
            stop = min(start + 64, width)
            hit = False
            for column in range(start, stop):
                hit |= line[column] > threshold
            if not hit:
                continue
            for column in range(start, stop):
                if line[column] > threshold:
                    values[row, count] = line[column]
                    indices[row, count] = first + column
                    count += 1
                    if count == capacity:
                        threshold = _prune(values[row], indices[row], count, kept)
                        count = kept
        thresholds[row] = threshold
        counts[row] = count


@njit(cache=True, nogil=True)
def _prune(values: Any, indices: Any, count: int, kept: int) -> Any:
    """Keeps the best `kept` of a buffer in item order; returns the worst score that was kept."""
    threshold = _kth_largest(values[:count].copy(), kept)
    ties = kept
    for position in range(count):
        if values[position] > threshold:
            ties -= 1
    written = 0
    for position in range(count):
        value = values[position]
        if value == threshold:
            ties -= 1
        if value > threshold or (value == threshold and ties >= 0):
            values[written] = value
            indices[written] = indices[position]
            written += 1
    return threshold


@njit(cache=True, nogil=True)
def _kth_largest(values: Any, k: int) -> Any:
    """Hoare's selection; reorders `values`."""
    low, high = 0, values.shape[0] - 1
    target = k - 1
    while low < high:
        pivot = values[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while values[left] > pivot:
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if target <= right:
            high = right
        elif target >= left:
            low = left
        else:
            break
    return values[target]


@njit(cache=True, nogil=True)
def _finish(
    values: Any, indices: Any, counts: Any, top_items: Any, top_scores: Any, kept: int
) -> None:
    for row in range(values.shape[0]):
        count = counts[row]
        if count > kept:
            _prune(values[row], indices[row], count, kept)
            count = kept
        # The buffer is in item order, so a stable sort leaves ties by lower item index.
        order = np.argsort(-values[row, :count], kind="mergesort")
        for rank in range(count):
            top_items[row, rank] = indices[row, order[rank]]
            top_scores[row, rank] = values[row, order[rank]]


# Only re-association: NaN and infinity keep their meaning, so a missing value stays visible.
@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _gather(users: Any, items: Any, indptr: Any, pool_items: Any, out: Any) -> None:
    for user in range(users.shape[0]):
        for position in range(indptr[user], indptr[user + 1]):
            item = pool_items[position]
            total = np.float32(0)
            for dimension in range(users.shape[1]):
                total += users[user, dimension] * items[item, dimension]
            out[position] = total
