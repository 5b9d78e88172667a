"""How often an item is answered when it is shown, without being fooled by few or low places."""

import numpy as np

from seda.recommender.arrays import DoubleArray, FloatArray, IntArray, LongArray

PRIOR_IMPRESSIONS = 20.0
"""Impressions at the general rate that every item starts with: a single lucky one proves little."""


def examination(
    positions: LongArray, shown: DoubleArray, answered: DoubleArray, *, most: int = 50
) -> DoubleArray:
    """How likely each place is looked at, relative to the first: float64 `(most,)`, falling.

    The position-based model (Richardson, Dominowska and Ragno 2007), as if relevance did not depend
    on the place; it does, so the curve is an upper bound of the bias. `positions` int64 `(n,)` from
    1, with `shown` impressions and `answered` of them `(n,)` each; places beyond `most` count as
    the last. Each place's rate is smoothed towards the one before it, and none is above it.
    """
    places = np.clip(positions, 1, most) - 1
    looks = np.bincount(places, weights=shown, minlength=most)
    hits = np.bincount(places, weights=answered, minlength=most)
    rates = np.empty(most)
    before = (hits[0] + 1) / (looks[0] + 2)
    for place in range(most):
        rate = (hits[place] + PRIOR_IMPRESSIONS * before) / (looks[place] + PRIOR_IMPRESSIONS)
        before = rates[place] = min(before, rate)
    return rates / rates[0]


def smoothed_rates(
    items: IntArray, positions: LongArray, shown: DoubleArray, answered: DoubleArray, *, count: int
) -> FloatArray:
    """Share of each item's examined impressions that was answered: float32 `(count,)`, in [0, 1].

    An impression counts as much as its place is examined. Every item starts with
    `PRIOR_IMPRESSIONS` at the rate of all (empirical Bayes); NaN for all where nothing was shown.
    `items` int32, `positions` int64, `shown` and `answered` float64 `(n,)`.
    """
    if not shown.sum():
        return np.full(count, np.nan, np.float32)
    looks = examination(positions, shown, answered)
    examined = shown * looks[np.clip(positions, 1, looks.size) - 1]
    totals = np.bincount(items, weights=examined, minlength=count)
    hits = np.bincount(items, weights=answered, minlength=count)
    general = min(1.0, hits.sum() / totals.sum())
    rates = (hits + PRIOR_IMPRESSIONS * general) / (totals + PRIOR_IMPRESSIONS)
    return np.minimum(rates, 1.0).astype(np.float32)
