"""What every model is fitted on, and how counts become strengths.

Positions only: users and items are rows and columns, 0-based and dense.
"""

from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np
import scipy.sparse as sp

from seda.recommender.arrays import Csr, FloatArray, LongArray, sparse_rows


@dataclass(frozen=True, eq=False)
class Listening:
    """The interactions of one region and entity type, and what is known beside them."""

    plays: Csr
    """CSR `(users, items)` of counts."""
    item_tags: Csr | None = None
    """CSR `(items, tags)` of damped weights >= 0, e.g. log(1 + taggers); only their relations
    count. None: no item has a tag."""
    friends: Csr | None = None
    """CSR `(users, users)`, symmetric, 1 for a friendship; None: nobody has a friend."""
    picks: Csr | None = None
    """CSR `(users, tags)` of weights >= 0, columns those of `item_tags`: the tags that a user
    chose, or would choose."""

    def rows(self, chosen: slice | LongArray) -> Self:
        """The same items for some users; `friends` keeps a column for every user of the fit."""
        return replace(
            self,
            plays=self.plays[chosen],
            friends=None if self.friends is None else self.friends[chosen],
            picks=None if self.picks is None else self.picks[chosen],
        )


class Model(Protocol):
    """A fitted model: a frozen dataclass of arrays that scores anybody, seen in the fit or not."""

    def scores(self, listening: Listening) -> FloatArray:
        """`(rows, items)` float32 for the rows of `listening`: larger is better.

        Finite; a row is all zeros where the model knows nothing of the user. The rows need not
        have been in the fit (fold-in), the items and the friends' columns must be the fit's.
        """
        ...


def log_strengths(counts: Csr) -> Csr:
    """log(1 + count) as CSR float32 without zeros: the tenth play says less than the first."""
    strengths = sp.csr_matrix(counts, dtype=np.float32, copy=True)
    strengths.sum_duplicates()
    strengths.data = np.log1p(np.maximum(strengths.data, 0))
    strengths.eliminate_zeros()
    return strengths


def tag_strengths(item_tags: Csr) -> Csr:
    """The tags' weights over their mean, CSR float32 without zeros: units do not matter."""
    strengths = sp.csr_matrix(item_tags, dtype=np.float32, copy=True)
    strengths.sum_duplicates()
    strengths.data = np.maximum(strengths.data, 0)
    strengths.eliminate_zeros()
    if strengths.nnz:
        strengths.data /= np.float32(strengths.data.mean())
    return strengths


def tag_rows(item_tags: Csr, fewest_items: int) -> Csr:
    """The tags as rows over the items, CSR `(tags, items)`, of tags on enough items only."""
    rows = tag_strengths(item_tags).T.tocsr()
    return rows[np.flatnonzero(np.diff(rows.indptr) >= fewest_items)]


def relative_strengths(plays: Csr) -> Csr:
    """log(1 + plays) over the user's own mean of it: heavy listeners do not drown the others."""
    strengths = log_strengths(plays)
    counts = np.diff(strengths.indptr)
    owners = np.repeat(np.arange(strengths.shape[0]), counts)
    totals = np.bincount(owners, strengths.data, minlength=strengths.shape[0])
    means = totals / np.maximum(counts, 1)
    strengths.data = (strengths.data / means[owners]).astype(np.float32)
    return strengths


def unit_length_rows(matrix: Csr) -> Csr:
    """A copy whose rows have Euclidean length 1 (empty rows stay empty), CSR float32."""
    scaled = sp.csr_matrix(matrix, dtype=np.float32, copy=True)
    rows = sparse_rows(scaled)
    owners = np.repeat(np.arange(scaled.shape[0]), np.diff(rows.indptr))
    lengths = np.sqrt(np.bincount(owners, rows.data.astype(np.float64) ** 2, scaled.shape[0]))
    scaled.data = (scaled.data / np.maximum(lengths, 1e-12)[owners]).astype(np.float32)
    return scaled
