"""The two social terms: what friends like, and which friends are there now.

Taste is a lasting matter and weighs a friend by how alike the two listen; presence is a matter of
minutes and knows only friends who show it. Both matter most to new listeners.
"""

from typing import Any

import numpy as np
import scipy.sparse as sp
from numba import njit

from seda.recommender.arrays import Csr, DoubleArray, FloatArray, sparse_rows
from seda.recommender.attention import ATTENTION, STALE_AFTER
from seda.recommender.models.listening import Listening, relative_strengths, unit_length_rows

STRANGER = 0.1
"""Weight of a friend with whom nothing is shared; identical listening adds 1."""
SMOOTHING = 2.0
"""Friends of no taste at all that everybody has: one friend's word counts a third."""
PROFILE_HALF = 10.0
"""Known items at which the social terms weigh half of what they do for a newcomer."""


def friend_taste(friends: Csr, plays: Csr, everyone: Csr) -> Csr:
    """What friends like: their relative log plays, weighted by likeness, over all friends' weight.

    `friends` CSR `(users, region_users)`, `plays` CSR `(users, items)` of the users themselves,
    `everyone` CSR `(region_users, items)`. Returns CSR `(users, items)` float32.
    """
    strengths = relative_strengths(everyone)
    profiles = unit_length_rows(strengths)
    own = unit_length_rows(relative_strengths(plays))
    weights = sp.csr_matrix(friends, dtype=np.float32, copy=True)
    _likeness(
        sparse_rows(own), sparse_rows(profiles), plays.shape[1], weights.indptr, weights.indices,
        weights.data,
    )  # fmt: skip
    weights.data += np.float32(STRANGER)
    totals = np.asarray(weights.sum(axis=1)).ravel() + SMOOTHING * STRANGER
    scores = (sp.diags((1 / totals).astype(np.float32)) @ weights @ strengths).tocsr()
    scores.sort_indices()
    return scores


def sighting_logs(seconds_ago: DoubleArray) -> DoubleArray:
    """log(1 - a) of each sighting of a friend, whose attention a decays with the sighting's age."""
    return np.log1p(-ATTENTION * np.exp(-np.maximum(seconds_ago, 0) / STALE_AFTER))


def saturated_presence(counts: FloatArray, logs: FloatArray | None) -> FloatArray:
    """`1 - prod(1 - a)` over friends present, float32 in [0, 1): the fifth friend adds little.

    `counts` of friends and, where sightings have times, `logs`: sums of `sighting_logs` (NaN in
    `counts` stays NaN). Without `logs` every friend was just seen.
    """
    sums = counts * np.float32(np.log1p(-ATTENTION)) if logs is None else logs + 0 * counts
    return np.asarray(-np.expm1(sums), np.float32)


def newcomer_share(profile_sizes: FloatArray) -> DoubleArray:
    """Weight of the social terms by known items: 1 for a newcomer, 1/2 at `PROFILE_HALF`."""
    return PROFILE_HALF / (PROFILE_HALF + np.asarray(profile_sizes, np.float64))


def social_taste(listening: Listening, everyone: Csr) -> Csr:
    """`friend_taste` of the rows of `listening`; an empty matrix where nobody has friends."""
    if listening.friends is None:
        return sp.csr_matrix(listening.plays.shape, dtype=np.float32)
    return friend_taste(listening.friends, listening.plays, everyone)


@njit(cache=True, nogil=True)
def _likeness(own: Any, profiles: Any, width: int, indptr: Any, friends: Any, out: Any) -> None:
    """Products of each user's own row with those of their friends, and with nobody else's."""
    buffer = np.zeros(width, np.float32)
    for user in range(indptr.shape[0] - 1):
        first, last = own[0][user], own[0][user + 1]
        buffer[own[1][first:last]] = own[2][first:last]
        for position in range(indptr[user], indptr[user + 1]):
            product = np.float32(0)
            for place in range(profiles[0][friends[position]], profiles[0][friends[position] + 1]):
                product += buffer[profiles[1][place]] * profiles[2][place]
            out[position] = product
        buffer[own[1][first:last]] = 0
