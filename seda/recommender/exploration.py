"""One place outside the top ten shows something that the ranking would not, with its probability.

What is drawn, how likely it was, and how likely the ranked item was are logged, so that feedback on
either can be weighed without bias (inverse propensity). Exports and offline evaluation do not call
this.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seda.recommender.arrays import BoolArray, DoubleArray, IntArray, LongArray
from seda.recommender.candidates import CandidatePool
from seda.recommender.diversity import Cap
from seda.recommender.seeding import hashed, uniform

FIRST_PLACE = 11
"""Counted from 1: a random place among the first ten costs several percent of NDCG@10."""


@dataclass(frozen=True)
class Exploration:
    """Where and how often."""

    place: int = 15
    """Of the list, counted from 1; never within the first ten."""
    rate: float = 1.0
    """Share of lists (per user and day) that explore."""

    def __post_init__(self) -> None:
        if self.place < FIRST_PLACE or not 0 <= self.rate <= 1:
            raise ValueError(
                f"exploration is outside the first ten, at a rate within [0, 1]: {self}"
            )


@dataclass(frozen=True, eq=False)
class Explored:
    """`positions` int64 `(users, k)`: the lists, at most one place of each changed.

    `explored` bool `(users,)` tells which list shows a drawn item; `propensity` float64 `(users,)`
    is the probability with which the item at the place stands there, 1 where nothing was at stake.
    """

    positions: LongArray
    explored: BoolArray
    propensity: DoubleArray


def explore(
    positions: LongArray,
    pool: CandidatePool,
    scores: DoubleArray,
    is_new: BoolArray,
    *,
    exploration: Exploration,
    user_keys: LongArray,
    day: int,
    seed: int,
    caps: Sequence[Cap] = (),
    duplicate_group: IntArray | None = None,
) -> Explored:
    """Draws one of each user's unlisted candidates for the exploring place, all equally likely.

    `positions` from `diversity.select`; `scores` float64 and `is_new` bool `(nnz,)` as given there.
    Only candidates that break no promise are drawn: a score, new where the ranked one is new, not
    over a cap, no second of a duplicate group. Seeded by `user_keys` int64 `(users,)` (stable ids)
    and `day`: the same list all day, whoever else is in the shard.
    """
    changed, place = positions.copy(), exploration.place - 1
    explored = np.zeros(pool.users, np.bool_)
    propensity = np.ones(pool.users, np.float64)
    stream = hashed(np.array([day]), np.array([0]), seed)[0]
    chance = uniform(user_keys, np.full(pool.users, 1), int(stream))
    choice = uniform(user_keys, np.full(pool.users, 2), int(stream))
    for user in range(pool.users if place < positions.shape[1] else 0):
        ranked = positions[user, place]
        if ranked < 0:
            continue
        options = _options(user, place, positions, pool, scores, is_new, caps, duplicate_group)
        if not options.size:
            continue
        explored[user] = chance[user] < exploration.rate
        if explored[user]:
            changed[user, place] = options[int(choice[user] * options.size)]
            propensity[user] = exploration.rate / options.size
        else:
            propensity[user] = 1.0 - exploration.rate
    return Explored(changed, explored, propensity)


def _options(
    user: int, place: int, positions: LongArray, pool: CandidatePool, scores: DoubleArray,
    is_new: BoolArray, caps: Sequence[Cap], groups: IntArray | None,
) -> LongArray:  # fmt: skip
    start, stop = pool.indptr[user], pool.indptr[user + 1]
    listed = positions[user][positions[user] >= 0]
    kept = pool.items[listed[listed != positions[user, place]]]
    free = ~np.isnan(scores[start:stop])
    free[listed - start] = False
    if is_new[positions[user, place]]:
        free &= is_new[start:stop]
    items = pool.items[start:stop]
    for cap in (*caps, *([] if groups is None else [Cap(groups, 1)])):
        used = cap.labels[kept]
        full = np.bincount(used[used >= 0], minlength=int(cap.labels.max(initial=-1)) + 1)
        labels = cap.labels[items]
        free &= (labels < 0) | (full[np.maximum(labels, 0)] < cap.most)
    return start + np.flatnonzero(free)
