"""What is hidden from a fit to see whether it is found again: per user, or after a moment."""

import numpy as np
import scipy.sparse as sp

from seda.recommender.arrays import BoolArray, Csr, DoubleArray, LongArray
from seda.recommender.seeding import hashed


def per_user_holdout(
    plays: Csr, fraction: float, seed: int, user_keys: LongArray | None = None
) -> tuple[Csr, Csr]:
    """Splits each user's items into (train, held out) with a seed of the user's own.

    round(fraction * items) of each user are held out. `user_keys` int64 `(users,)` are stable ids
    (positions if None): with them, adding a user reshuffles nobody else. An item that nobody would
    have left in train stays there: nothing could recommend it.
    """
    rows = _canonical(plays)
    owners = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    keys = owners if user_keys is None else user_keys[owners]
    draws = hashed(keys, rows.indices, seed)
    order = np.lexsort((draws, owners))
    places = np.empty(rows.nnz, np.int64)
    places[order] = np.arange(rows.nnz) - rows.indptr[owners]
    return _split(rows, owners, places < np.rint(fraction * np.diff(rows.indptr))[owners])


def time_aware_holdout(plays: Csr, times: DoubleArray, fraction: float) -> tuple[Csr, Csr]:
    """Splits all pairs at one moment into (train, held out): nothing later teaches the fit.

    `times` float64 `(nnz,)` are those of the stored entries of `plays`, in its order (sorted
    columns); larger is later. About `fraction` of the pairs are held out: all that are later than
    the moment. As above, an item that only the future knows stays in train.
    """
    rows = _canonical(plays)
    owners = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    moment = np.quantile(times, 1 - fraction) if times.size else 0.0
    return _split(rows, owners, times > moment)


def _canonical(plays: Csr) -> Csr:
    rows = sp.csr_matrix(plays, copy=True)
    rows.sum_duplicates()
    return rows


def _split(rows: Csr, owners: LongArray, held: BoolArray) -> tuple[Csr, Csr]:
    left = np.bincount(rows.indices[~held], minlength=rows.shape[1])
    held = held & (left[rows.indices] > 0)
    return _entries(rows, owners, ~held), _entries(rows, owners, held)


def _entries(rows: Csr, owners: LongArray, chosen: BoolArray) -> Csr:
    entries = (rows.data[chosen], (owners[chosen], rows.indices[chosen]))
    return sp.csr_matrix(entries, shape=rows.shape)
