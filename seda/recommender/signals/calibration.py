"""One scale for all signals, within each user: a standard score over that user's candidates.

Raw signals come in units that mean nothing to each other (cosines, factor products, log plays).
Afterwards a weight means the same for every signal and every user, whatever units the raw one has.
"""

from typing import Any

import numpy as np
from numba import njit

from seda.recommender.arrays import FloatArray, LongArray

LIMIT = 6.0
"""Largest calibrated magnitude: a single friend in one room of 500 would otherwise weigh 22."""


def calibrate(raw: FloatArray, indptr: LongArray) -> FloatArray:
    """Standard scores `(x - mean) / deviation` within each user's pool, clipped to +-LIMIT.

    `raw` float32 `(nnz,)`, NaN = missing; user u has `indptr[u]:indptr[u + 1]`. Returns float32
    `(nnz,)` without NaN: missing is neutral (0), a signal that is constant over the pool says
    nothing (0), and a positive factor or a shift of `raw` changes nothing. Infinite raw values
    count as missing.

    Chosen on three inner holdouts of Last.fm 2K under the default weights: min-max lost about 1 %
    of NDCG@10 and 1 to 2 % of Recall@20, robust z 3 to 4 % of NDCG@10, percentiles 11 to 14 %.
    """
    out = np.zeros(raw.shape[0], np.float32)
    _standardise(np.ascontiguousarray(raw, np.float32), indptr.astype(np.int64, copy=False), out)
    return out


@njit(cache=True, nogil=True)
def _standardise(raw: Any, indptr: Any, out: Any) -> None:
    for user in range(indptr.shape[0] - 1):
        pool = raw[indptr[user] : indptr[user + 1]]
        count = 0
        total = 0.0
        smallest, largest = np.float32(np.inf), np.float32(-np.inf)
        for value in pool:
            if np.isfinite(value):
                count += 1
                total += value
                smallest = min(smallest, value)
                largest = max(largest, value)
        # The range, not the variance, tells a constant: rounding leaves a variance above zero.
        if count == 0 or smallest == largest:
            continue
        mean = total / count
        squares = 0.0
        for value in pool:
            if np.isfinite(value):
                squares += (value - mean) ** 2
        deviation = np.sqrt(squares / count)
        if not deviation > 0:
            continue
        scale = 1 / deviation
        for place in range(pool.shape[0]):
            value = pool[place]
            if np.isfinite(value):
                score = min(max((value - mean) * scale, -LIMIT), LIMIT)
                out[indptr[user] + place] = score
