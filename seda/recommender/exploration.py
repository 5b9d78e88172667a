"""One place outside the top ten shows something that the ranking would not, with its probability.

What is drawn, how likely it was, and how likely the ranked item was are logged, so that feedback on
either can be weighed without bias (inverse propensity). Exports and offline evaluation do not call
this.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from seda.recommender.arrays import BoolArray, DoubleArray, IntArray, LongArray
from seda.recommender.candidates import CandidatePool
from seda.recommender.diversity import Cap, cap_labels
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
    if place < positions.shape[1]:
        stream = int(hashed(np.array([day]), np.array([0]), seed)[0])
        limits = [*caps, *([] if duplicate_group is None else [Cap(duplicate_group, 1)])]
        _explore(
            place, exploration.rate, np.isnan(scores), is_new, pool.indptr, pool.items,
            cap_labels(limits), np.array([cap.most for cap in limits], np.int64),
            uniform(user_keys, np.full(pool.users, 1), stream),
            uniform(user_keys, np.full(pool.users, 2), stream),
            changed, explored, propensity,
        )  # fmt: skip
    return Explored(changed, explored, propensity)


@njit(cache=True, nogil=True)
def _explore(
    place: int, rate: float, unscored: Any, is_new: Any, indptr: Any, items: Any, labels: Any,
    most: Any, chance: Any, choice: Any, changed: Any, explored: Any, propensity: Any,
) -> None:  # fmt: skip
    listed = np.zeros(items.shape[0], np.bool_)
    used = np.zeros((most.shape[0], labels.max() + 1 if labels.size else 0), np.int32)
    for user in range(changed.shape[0]):
        ranked = changed[user, place]
        if ranked < 0:
            continue
        _count(changed[user], ranked, items, labels, used, 1)
        listed[changed[user][changed[user] >= 0]] = True
        options = np.empty(indptr[user + 1] - indptr[user], np.int64)
        count = 0
        for position in range(indptr[user], indptr[user + 1]):
            free = not (unscored[position] or listed[position])
            free = free and (is_new[position] or not is_new[ranked])
            for cap in range(most.shape[0]):
                label = labels[cap, items[position]]
                free = free and (label < 0 or used[cap, label] < most[cap])
            if free:
                options[count] = position
                count += 1
        _count(changed[user], ranked, items, labels, used, -1)
        if count == 0:
            continue
        explored[user] = chance[user] < rate
        propensity[user] = rate / count if explored[user] else 1.0 - rate
        if explored[user]:
            changed[user, place] = options[int(choice[user] * count)]


@njit(cache=True, nogil=True)
def _count(row: Any, without: int, items: Any, labels: Any, used: Any, step: int) -> None:
    for position in row:
        if position < 0:
            break
        if position != without:
            for cap in range(labels.shape[0]):
                if labels[cap, items[position]] >= 0:
                    used[cap, labels[cap, items[position]]] += step
