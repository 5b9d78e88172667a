"""From scores to lists: near-duplicates collapsed, best first, and a novelty quota at every prefix.

What counts as new to a user is decided here too. The order of relevance is only disturbed where
the quota would otherwise break, and then as late as it permits.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from seda.recommender.arrays import (
    BoolArray,
    Csr,
    DoubleArray,
    IntArray,
    LongArray,
    sparse_rows,
    stored_at,
)
from seda.recommender.candidates import CandidatePool

NEW_PER_TEN = 3
"""New items that each ten places of a list must hold."""


@dataclass(frozen=True, eq=False)
class SelectedLists:
    """`positions` int64 `(users, k)` into the pool, best first, padded with -1.

    `shortfall` int32 `(users,)`: new items that the whole list should have held beyond those the
    pool could give.
    """

    positions: LongArray
    shortfall: IntArray


def new_to_user(
    pool: CandidatePool,
    *,
    plays: Csr,
    shown_recently: Csr | None,
    clusters: IntArray | None,
    homes: IntArray | None,
) -> BoolArray:
    """Whether each candidate is new: never played, not shown recently, outside the home clusters.

    `plays` and `shown_recently` CSR `(users, items)`, of which stored entries count; `clusters`
    int32 `(items,)` and `homes` int32 `(users, 3)`, -1 for none. An item without a cluster is
    outside every home. Returns bool `(nnz,)`.
    """
    new = ~stored_at(sparse_rows(plays), pool.indptr, pool.items)
    if shown_recently is not None:
        new &= ~stored_at(sparse_rows(shown_recently), pool.indptr, pool.items)
    if clusters is not None and homes is not None:
        labels = clusters[pool.items]
        for slot in range(homes.shape[1]):
            new &= (labels < 0) | (labels != homes[pool.owners, slot])
    return new


def quota(prefix: int) -> int:
    """New items that a prefix of this length must hold: floor(0.3 n), from n = 10 on ceil(0.3 n).

    Since any prefix of ten or more may be somebody's whole list or first page, it gets the ceiling.
    """
    return (NEW_PER_TEN * prefix + (9 if prefix >= 10 else 0)) // 10


def select(
    scores: DoubleArray,
    pool: CandidatePool,
    is_new: BoolArray,
    *,
    k: int = 50,
    duplicate_group: IntArray | None = None,
) -> SelectedLists:
    """The k best of each user's pool with `quota(i)` new items at every prefix i.

    In addition each aligned block of ten holds floor(0.3 j) new items at its j-th place, so that
    pages cut at multiples of ten keep the quota too. Where the pool has no new item left, the next
    best follows. `scores` float64 and `is_new` bool `(nnz,)`; `duplicate_group` int32 `(items,)`,
    -1 for none: only the best candidate of a group stays. Ties go to the lower item; a candidate
    whose score is NaN is never selected.
    """
    users = pool.users
    positions = np.full((users, k), -1, np.int64)
    shortfall = np.zeros(users, np.int32)
    quotas = np.array([quota(length) for length in range(k + 1)], np.int64)
    groups = np.empty(0, np.int32) if duplicate_group is None else duplicate_group
    _select(
        np.ascontiguousarray(scores, np.float64), pool.indptr, pool.items, is_new,
        groups.astype(np.int32, copy=False), int(groups.max(initial=-1)) + 1, quotas,
        positions, shortfall,
    )  # fmt: skip
    return SelectedLists(positions, shortfall)


@njit(cache=True, nogil=True)
def _select(
    scores: Any, indptr: Any, items: Any, is_new: Any, groups: Any, group_count: int, quotas: Any,
    positions: Any, shortfall: Any,
) -> None:  # fmt: skip
    k = positions.shape[1]
    widest = 0 if positions.shape[0] == 0 else np.diff(indptr).max()
    fresh = np.empty(widest, np.int64)
    known = np.empty(widest, np.int64)
    best = np.full(group_count, -1, np.int64)
    for user in range(positions.shape[0]):
        start, stop = indptr[user], indptr[user + 1]
        fresh_count, known_count = _split(
            scores, items, is_new, groups, best, start, stop, fresh, known
        )
        _heapify(fresh, fresh_count, scores)
        _heapify(known, known_count, scores)
        length = min(k, fresh_count + known_count)
        chosen_new = block_new = 0
        for place in range(length):
            if place % 10 == 0:
                block_new = 0
            take_new = known_count == 0 or (
                fresh_count > 0
                and (
                    _ahead(fresh[0], known[0], scores)
                    or chosen_new < quotas[place + 1]
                    or block_new < NEW_PER_TEN * (place % 10 + 1) // 10
                )
            )
            if take_new:
                positions[user, place] = fresh[0]
                fresh_count = _pop(fresh, fresh_count, scores)
                chosen_new += 1
                block_new += 1
            else:
                positions[user, place] = known[0]
                known_count = _pop(known, known_count, scores)
        shortfall[user] = max(0, quotas[length] - chosen_new)


@njit(cache=True, nogil=True)
def _split(
    scores: Any, items: Any, is_new: Any, groups: Any, best: Any, start: int, stop: int,
    fresh: Any, known: Any,
) -> Any:  # fmt: skip
    """Positions of the new and of the other candidates, one per duplicate group."""
    grouped = best.shape[0] > 0
    if grouped:
        for position in range(start, stop):
            group = groups[items[position]]
            if group >= 0 and not np.isnan(scores[position]):
                # A leader before `start` was left by an earlier user.
                leader = best[group]
                if leader < start or _ahead(position, leader, scores):
                    best[group] = position
    fresh_count, known_count = 0, 0
    for position in range(start, stop):
        if np.isnan(scores[position]):
            continue
        if grouped:
            group = groups[items[position]]
            if group >= 0 and best[group] != position:
                continue
        if is_new[position]:
            fresh[fresh_count] = position
            fresh_count += 1
        else:
            known[known_count] = position
            known_count += 1
    return fresh_count, known_count


@njit(cache=True, nogil=True)
def _ahead(left: Any, right: Any, scores: Any) -> Any:
    """Whether position `left` ranks before `right`; positions rise with items within a user."""
    return scores[left] > scores[right] or (scores[left] == scores[right] and left < right)


# Heaps instead of a sort: 50 of 500 are wanted, and heapify is linear.
@njit(cache=True, nogil=True)
def _sift(heap: Any, count: int, root: int, scores: Any) -> None:
    while 2 * root + 1 < count:
        child = 2 * root + 1
        if child + 1 < count and _ahead(heap[child + 1], heap[child], scores):
            child += 1
        if not _ahead(heap[child], heap[root], scores):
            return
        heap[child], heap[root] = heap[root], heap[child]
        root = child


@njit(cache=True, nogil=True)
def _heapify(heap: Any, count: int, scores: Any) -> None:
    for root in range(count // 2 - 1, -1, -1):
        _sift(heap, count, root, scores)


@njit(cache=True, nogil=True)
def _pop(heap: Any, count: int, scores: Any) -> int:
    heap[0] = heap[count - 1]
    _sift(heap, count - 1, 0, scores)
    return count - 1
