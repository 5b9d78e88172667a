"""Fatigue: what was shown again and again and never touched sinks, and comes back with time.

Dismissals are not decided here (they block); this is the softer sign of being ignored.
"""

from dataclasses import dataclass

import numpy as np

from seda.recommender.arrays import Csr, DoubleArray, FloatArray, sparse_rows, values_at


@dataclass(frozen=True)
class Fatigue:
    """How fast interest tires and recovers."""

    strength: float = 1.0
    """Largest discount, in units of the calibrated score (one standard score of full weight)."""
    half_life_days: float = 7.0
    """After so many days an impression counts half."""
    prior: float = 3.0
    """Ignored impressions of today that bring half of the largest discount: one says little."""


FATIGUE = Fatigue()


def ignored_impressions(
    shown: Csr, ages_days: FloatArray, touched: Csr | None, *, fatigue: Fatigue = FATIGUE
) -> Csr:
    """Impressions that still count, CSR `(users, items)` float32.

    `shown` CSR `(users, items)` holds impressions, `ages_days` float32 `(nnz,)` their mean age in
    the order of its stored entries (sorted columns); `touched` CSR `(users, items)` stores what was
    opened, played or joined: that was not ignored, however often it was shown. An age below zero
    (a clock that ran ahead) counts as zero.
    """
    rows = sparse_rows(shown)
    if ages_days.shape != rows.data.shape:
        raise ValueError(f"{rows.data.size} impressions need as many ages, not {ages_days.size}")
    weights = np.maximum(rows.data, 0) * np.exp2(
        -np.maximum(ages_days, 0).astype(np.float64) / fatigue.half_life_days
    )
    if touched is not None:
        weights[values_at(_ones(touched), rows.indptr, rows.indices) > 0] = 0
    return type(shown)((weights.astype(np.float32), rows.indices, rows.indptr), shape=shown.shape)


def fatigue_discount(ignored: FloatArray, *, fatigue: Fatigue = FATIGUE) -> DoubleArray:
    """What being ignored takes from a candidate's calibrated score, float64 `(n,)`, <= 0.

    `ignored` `(n,)` are its impressions that still count. The discount is
    `-strength * w / (w + prior)`: nothing at no impression, smooth, rising with each, never beyond
    `strength`; a contribution like any other.
    """
    weights = ignored.astype(np.float64)
    return -fatigue.strength * weights / (weights + fatigue.prior)


def _ones(matrix: Csr) -> Csr:
    rows = sparse_rows(matrix)
    return rows._replace(data=np.ones(rows.indices.shape[0], np.float32))
