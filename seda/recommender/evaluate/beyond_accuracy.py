"""What lists are like beside their hits: how much of the catalogue, how new, how varied, whose.

`lists` are int32 `(users, k)`, best first, padded with -1; per-user values are NaN where a user's
list does not define them.
"""

from typing import Any

import numpy as np
import scipy.sparse as sp

from seda.recommender.arrays import Csr, DoubleArray, FloatArray, IntArray, LongArray

CALIBRATION_SMOOTHING = 0.01
"""Share of the user's own distribution that is mixed into the list's (Steck 2018: alpha)."""


def coverage_at(lists: IntArray, items: int, k: int) -> float:
    """Distinct items in all first-k lists over the number of items."""
    shown = lists[:, :k]
    return float(np.unique(shown[shown >= 0]).size / items) if items else 0.0


def gini_at(lists: IntArray, items: int, k: int) -> float:
    """Gini coefficient of how often each item is in a first-k list: 0 all alike, near 1 a few
    items everywhere; 0 when nothing is shown."""
    shown = lists[:, :k]
    counts = np.sort(np.bincount(shown[shown >= 0], minlength=items))
    total = counts.sum()
    if not total:
        return 0.0
    ranks = np.arange(1, items + 1)
    return float((2 * ranks - items - 1) @ counts / (items * total))


def novelty_at(lists: IntArray, listeners: LongArray, users: int, k: int) -> DoubleArray:
    """Mean inverse user frequency in bits (Castells, Vargas and Wang 2011): float64 `(users,)`.

    `listeners` int64 `(items,)` counts who played each item among `users`; an item that nobody
    played counts as one that a single person did.
    """
    bits = -np.log2(np.maximum(listeners, 1) / max(users, 1))
    shown = lists[:, :k]
    return _mean(np.where(shown >= 0, bits[np.maximum(shown, 0)], np.nan))


def distance_at(lists: IntArray, vectors: FloatArray | Csr, k: int) -> DoubleArray:
    """Intra-list distance: mean of 1 - cosine over all pairs of the first k, float64 `(users,)`.

    `vectors` dense or CSR `(items, d)`; items without one (a row of zeros) are left out; NaN where
    fewer than two are left.
    """
    units = _unit_rows(vectors)
    shown = lists[:, :k]
    known = (shown >= 0) & _row_lengths(vectors).astype(bool)[np.maximum(shown, 0)]
    rows, _ = np.nonzero(known)
    members = sp.csr_matrix(
        (np.ones(rows.size, np.float32), (rows, shown[known])),
        shape=(lists.shape[0], units.shape[0]),
    )
    # The square of a sum of unit vectors holds every pair twice, and each vector once.
    sums = members @ units
    squares = sums.multiply(sums).sum(axis=1) if sp.issparse(sums) else (sums**2).sum(axis=1)
    counts = known.sum(axis=1).astype(np.float64)
    pairs = np.where(counts > 1, counts * (counts - 1), np.nan)
    return np.asarray(1 - (np.asarray(squares, np.float64).ravel() - counts) / pairs)


def miscalibration_at(lists: IntArray, item_genres: Csr, tastes: Csr, k: int) -> DoubleArray:
    """Kullback-Leibler divergence in nats of the first k's genres from the user's (Steck 2018).

    `item_genres` CSR `(items, genres)` and `tastes` CSR `(users, genres)`, rows of weights; float64
    `(users,)`, 0 when the list has each genre in its share, NaN without genres on either side.
    """
    shown = lists[:, :k]
    rows, columns = np.nonzero(shown >= 0)
    members = sp.csr_matrix(
        (np.ones(rows.size, np.float32), (rows, shown[rows, columns])),
        shape=(lists.shape[0], item_genres.shape[0]),
    )
    listed = _shares((members @ item_genres).toarray())
    wanted = _shares(tastes.toarray())
    mixed = (1 - CALIBRATION_SMOOTHING) * listed + CALIBRATION_SMOOTHING * wanted
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(wanted > 0, wanted * np.log(wanted / mixed), 0.0)
    defined = (wanted.sum(axis=1) > 0) & (listed.sum(axis=1) > 0)
    return np.where(defined, terms.sum(axis=1), np.nan)


def _shares(weights: np.ndarray) -> DoubleArray:
    totals = weights.sum(axis=1, keepdims=True, dtype=np.float64)
    return np.asarray(weights / np.where(totals > 0, totals, 1))


def _mean(values: DoubleArray) -> DoubleArray:
    defined = np.isfinite(values)
    counts = defined.sum(axis=1)
    return np.where(
        counts > 0, np.where(defined, values, 0).sum(axis=1) / np.maximum(counts, 1), np.nan
    )


def _row_lengths(vectors: FloatArray | Csr) -> DoubleArray:
    matrix: Any = vectors
    squares = matrix.multiply(matrix) if sp.issparse(matrix) else np.square(matrix)
    return np.asarray(np.sqrt(np.asarray(squares.sum(axis=1), np.float64)).ravel())


def _unit_rows(vectors: FloatArray | Csr) -> FloatArray | Csr:
    lengths = _row_lengths(vectors)
    scale = 1 / np.where(lengths > 0, lengths, 1)
    if sp.issparse(vectors):
        return sp.diags(scale) @ vectors
    return np.asarray(vectors * scale[:, None])
