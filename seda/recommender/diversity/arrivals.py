"""Newly arrived items rotate in: each page after the first gives one of its new places to one."""

from typing import Any

import numpy as np
from numba import njit

from seda.recommender.arrays import BoolArray, DoubleArray, LongArray
from seda.recommender.candidates import CandidatePool
from seda.recommender.seeding import hashed


def rotating_arrivals(
    pool: CandidatePool,
    scores: DoubleArray,
    is_new: BoolArray,
    arrived: BoolArray,
    *,
    user_keys: LongArray,
    day: int,
    pages: int = 5,
) -> LongArray:
    """Whose turn it is on each page of ten, int64 `(users, pages)` of pool positions, -1 for none.

    Candidates are a user's new-to-them items with `arrived` bool `(items,)` true, best first; day
    by day the turn moves on by `pages - 1` of them, from a start of the user's own (`user_keys`
    int64 `(users,)`, stable ids), so that all of them come round. The first page keeps to
    relevance. Deterministic; a NaN score never has a turn.
    """
    turns = np.full((pool.users, pages), -1, np.int64)
    offsets = hashed(user_keys, np.zeros(pool.users, np.int64), 0) >> np.uint64(32)
    eligible = is_new & arrived[pool.items] & ~np.isnan(scores)
    _take_turns(pool.indptr, scores, eligible, offsets.astype(np.int64), day, turns)
    return turns


@njit(cache=True, nogil=True)
def _take_turns(
    indptr: Any, scores: Any, eligible: Any, offsets: Any, day: int, turns: Any
) -> None:
    slots = turns.shape[1] - 1
    for user in range(turns.shape[0]):
        start, stop = indptr[user], indptr[user + 1]
        fresh = start + np.flatnonzero(eligible[start:stop])
        ranked = fresh[np.argsort(-scores[fresh], kind="mergesort")]
        for slot in range(min(slots, ranked.shape[0])):
            turn = (offsets[user] + day * slots + slot) % ranked.shape[0]
            turns[user, slot + 1] = ranked[turn]
