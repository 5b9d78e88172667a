"""Counts of what intermediate results must not hold: numbers that are none, positions that point at
nothing, pairs that come twice.

Arrays may be mapped from files: each is passed over in pieces, and none is copied whole.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from seda.recommender.arrays import BoolArray, Csr, IntArray
from seda.recommender.candidates import CandidatePool, Source

_PIECE = 1 << 21
"""Elements that are looked at at once: temporary arrays stay near the processor."""
ANY_SOURCE = sum(Source)

Counts = dict[str, int]


def non_finite(values: npt.NDArray[Any]) -> int:
    """How many elements are NaN or infinite; none of an array of whole numbers."""
    if values.dtype.kind != "f":
        return 0
    flat = values.reshape(-1)
    pieces = (flat[start : start + _PIECE] for start in range(0, flat.size, _PIECE))
    return sum(piece.size - int(np.count_nonzero(np.isfinite(piece))) for piece in pieces)


def outside(positions: npt.NDArray[Any], count: int, *, padded: bool = False) -> int:
    """How many are not in [0, count), nor -1 where the array is `padded`."""
    low, flat = (-1 if padded else 0), positions.reshape(-1)
    pieces = (flat[start : start + _PIECE] for start in range(0, flat.size, _PIECE))
    return sum(int(np.count_nonzero((piece < low) | (piece >= count))) for piece in pieces)


def repeated(items: IntArray) -> int:
    """How often a row of `items` int32 `(people, k)`, padded with -1, names an item again."""
    height = max(1, _PIECE // max(1, items.shape[1]))
    found = 0
    for start in range(0, items.shape[0], height):
        rows = np.sort(items[start : start + height], axis=1)
        found += int(np.count_nonzero((rows[:, 1:] == rows[:, :-1]) & (rows[:, 1:] >= 0)))
    return found


def repeated_ids(ids: npt.NDArray[np.uint8]) -> int:
    """How many of `ids` uint8 `(n, 16)` were there before."""
    if not len(ids):
        return 0
    whole = np.ascontiguousarray(ids).view(f"V{ids.shape[1]}").ravel()
    return len(ids) - len(np.unique(whole))


def matrix_outside(matrix: Csr, shape: tuple[int, int]) -> int:
    """Stored entries whose column does not exist, or all and one where the shape is another."""
    if matrix.shape != shape:
        return int(matrix.nnz) + 1
    return outside(matrix.indices, shape[1])


def pool_counts(pool: CandidatePool, *, served: BoolArray, hungry: BoolArray, items: int) -> Counts:
    """Of a shard's candidates of one type: people and sizes that do not fit, positions that point
    outside of the `items`, pairs that come twice, candidates that no source proposed.

    `served` bool `(people,)`: wants recommendations; `hungry` bool `(people,)`: has played
    something and does not know everything, so that some source must have found something.
    `largest_pool` is no defect but a size.
    """
    people, sizes = len(served), np.diff(pool.indptr)
    fits = (
        pool.indptr[0] == 0
        and pool.indptr[-1] == len(pool.items) == len(pool.sources)
        and not (sizes < 0).any()
    )
    if pool.users != people or not fits:
        return {"wrong_people": max(1, abs(pool.users - people))}
    falls = pool.items[1:] <= pool.items[:-1]
    # From the last candidate of one person to the first of the next one it may fall.
    starts = pool.indptr[1:-1]
    falls[starts[(starts > 0) & (starts < len(pool.items))] - 1] = False
    return {
        "wrong_people": 0,
        "outside_catalogue": outside(pool.items, items),
        "repeated_pairs": int(np.count_nonzero(falls)),
        "unsourced": outside(pool.sources, ANY_SOURCE + 1) + int((pool.sources == 0).sum()),
        "unwanted": int(sizes[~served].sum()),
        "empty_shards": int(not len(pool.items) and bool((hungry & served).any())),
        "largest_pool": int(sizes.max(initial=0)),
    }


def list_counts(items: IntArray, scores: npt.NDArray[Any], *, people: int, count: int) -> Counts:
    """Of lists `items` int32 `(people, k)`, padded with -1, and their `scores` of that shape: rows
    that are too many or too few, positions outside of `count` items, items that come twice, scores
    that are no numbers."""
    if items.shape[0] != people or scores.shape != items.shape:
        return {"wrong_people": max(1, abs(items.shape[0] - people))}
    return {
        "wrong_people": 0,
        "outside_catalogue": outside(items, count, padded=True),
        "repeated_pairs": repeated(items),
        "non_finite": _non_finite_where(scores, items),
    }


def _non_finite_where(scores: npt.NDArray[Any], items: IntArray) -> int:
    height = max(1, _PIECE // max(1, items.shape[1]))
    return sum(
        int(np.count_nonzero(~np.isfinite(scores[start : start + height])
                             & (items[start : start + height] >= 0)))
        for start in range(0, items.shape[0], height)
    )  # fmt: skip
