"""Means over users with bootstrap intervals, and paired differences of two methods."""

from dataclasses import dataclass

import numpy as np

from seda.recommender.arrays import DoubleArray

LEVEL = 0.95
CHUNK = 4_000_000
"""Draws that are held at once."""


@dataclass(frozen=True)
class Estimate:
    """A mean over users with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def bootstrap(per_user: DoubleArray, seed: int, resamples: int = 1000) -> Estimate:
    """Mean and 95 % percentile interval over users drawn with replacement (Efron 1979).

    NaN entries (users for whom the metric says nothing) are left out; nothing left gives zeros.
    """
    values = per_user[np.isfinite(per_user)]
    if values.size == 0:
        return Estimate(0.0, 0.0, 0.0)
    random = np.random.default_rng(seed)
    height = max(1, CHUNK // values.size)
    means = [
        values[random.integers(0, values.size, (min(height, resamples - done), values.size))].mean(
            axis=1
        )
        for done in range(0, resamples, height)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(values.mean()), float(low), float(high))


def paired_difference(
    left: DoubleArray, right: DoubleArray, seed: int, resamples: int = 1000
) -> Estimate:
    """Mean of left - right over the same users, with its interval."""
    return bootstrap(left - right, seed, resamples)
