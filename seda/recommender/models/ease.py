"""Closed-form linear item-to-item model (EASE, Steck 2019), with side information.

Tags join the Gram matrix as pseudo-users (rows over the items), friends as pseudo-items (columns
over the users), so that a friend has weights to items like any item. Solved in user space or in
item space, whichever is smaller (the two are one by the Woodbury identity). Each item keeps its
strongest weights only, so the model stays sparse.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy import linalg

from seda.recommender.arrays import Csr, FloatArray, IntArray, empty_rows
from seda.recommender.models.item_weights import by_source, dense_scores, strongest, supported
from seda.recommender.models.listening import (
    Listening,
    relative_strengths,
    tag_rows,
)

BLOCK = 2048
"""Target items whose weights are solved together."""


@dataclass(frozen=True)
class EaseConfig:
    """Hyper-parameters of one fit."""

    regularization: float = 150.0
    """Ridge on the diagonal of the Gram matrix, in units of one average listen squared."""
    tag_weight: float = 1.3
    """Strength of a tag of mean weight in its row over the items; 0 leaves tags out. Rows of
    length 1 instead were worth only half as much on an inner holdout of Last.fm 2K."""
    tag_items: int = 3
    """Fewest items of a tag that becomes a row: rarer ones say little and cost a row each."""
    friend_weight: float = 0.7
    """Strength of one friend in a listener's row, relative to an average listen; 0 leaves out."""
    items_at_most: int = 15_000
    """Items with weights at all, those with most listeners first."""
    system_at_most: int = 6_000
    """Rows of the matrix that is inverted (its cube is the cost, its square the memory). A larger
    system keeps this many items, and friends are no sources of it."""
    weights_per_item: int = 1000
    """Strongest weights that each item keeps."""


@dataclass(frozen=True, eq=False)
class Ease:
    """`weights` CSR float32 `(items + users, items)`: from what a row holds to an item."""

    weights: Csr
    config: EaseConfig

    def scores(self, listening: Listening) -> FloatArray:
        """`(rows, items)` float32, zeros for users of whom nothing is known."""
        return dense_scores(ease_rows(self, listening), self.weights)


def train_ease(listening: Listening, *, config: EaseConfig) -> Ease:
    """Solves the model; deterministic. An empty catalogue or no listener gives no weights."""
    items = listening.plays.shape[1]
    width = items + (0 if listening.friends is None else listening.friends.shape[1])
    matrix = _columns(listening, config, width)
    if listening.item_tags is not None and config.tag_weight:
        tags = tag_rows(listening.item_tags, config.tag_items) * np.float32(config.tag_weight)
        tags.resize(tags.shape[0], width)
        matrix = sp.vstack([matrix, tags], format="csr")
    support = np.bincount(matrix.indices, minlength=width)
    targets = supported(support[:items], config.items_at_most)
    friends = items + np.flatnonzero(support[items:])
    if min(matrix.shape[0], targets.size + friends.size) > config.system_at_most:
        targets, friends = supported(support[:items], config.system_at_most), friends[:0]
    sources = np.concatenate([targets, friends]).astype(np.int32)
    matrix = matrix[:, sources].tocsr()
    matrix = matrix[np.flatnonzero(np.diff(matrix.indptr))]
    solve = _in_user_space if matrix.shape[0] < matrix.shape[1] else _in_item_space
    if targets.size == 0:
        return Ease(empty_rows(width, items), config)
    blocks = solve(matrix, targets.size, config)
    kept = config.weights_per_item
    return Ease(_assembled(blocks, sources, targets, (width, items), kept), config)


def ease_rows(model: Ease, listening: Listening) -> Csr:
    """What each user's row holds, CSR `(rows, sources)`: items, then friends."""
    return _columns(listening, model.config, model.weights.shape[0])


def _columns(listening: Listening, config: EaseConfig, width: int) -> Csr:
    parts = [relative_strengths(listening.plays)]
    if listening.friends is not None:
        friends = sp.csr_matrix(listening.friends, dtype=np.float32, copy=True)
        parts.append(friends * np.float32(config.friend_weight))
    rows = sp.hstack(parts, format="csr")
    rows.eliminate_zeros()
    rows.resize(rows.shape[0], width)
    return rows


def _in_user_space(matrix: Csr, targets: int, config: EaseConfig) -> Iterator[FloatArray]:
    """Blocks of `(targets, sources)` weights, by `P = (I - A'(AA' + rI)^-1 A) / r`."""
    gram = np.asarray((matrix @ matrix.T).todense(), np.float32)
    inverse = _inverse(gram, config.regularization)
    transposed = matrix.T.tocsr()
    for start in range(0, targets, BLOCK):
        columns = transposed[start : min(start + BLOCK, targets)]
        half = np.asarray(columns @ inverse, np.float32)
        explained = np.asarray(columns.multiply(half).sum(axis=1)).ravel()
        weights = np.ascontiguousarray((transposed @ half.T).T)
        yield np.asarray(weights / (1 - explained)[:, None], np.float32)


def _in_item_space(matrix: Csr, targets: int, config: EaseConfig) -> Iterator[FloatArray]:
    gram = np.asarray((matrix.T @ matrix).todense(), np.float32)
    inverse = _inverse(gram, config.regularization)
    for start in range(0, targets, BLOCK):
        rows = inverse[start : min(start + BLOCK, targets)]
        yield -rows / np.diagonal(inverse)[start : start + rows.shape[0], None]


def _inverse(gram: FloatArray, ridge: float) -> FloatArray:
    """Inverse of `gram + ridge I`, symmetric positive definite, in its own memory."""
    gram[np.diag_indices(gram.shape[0])] += np.float32(ridge)
    # LAPACK wants Fortran order, and a symmetric matrix is its own transpose.
    factor, failed = linalg.lapack.spotrf(gram.T, lower=1, overwrite_a=1, clean=0)
    inverse, wrong = linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed or wrong:
        raise np.linalg.LinAlgError("the Gram matrix is not positive definite: raise the ridge")
    for start in range(0, gram.shape[0], BLOCK):
        rows = slice(start, start + BLOCK)
        block = np.tril(inverse[rows, rows])
        inverse[rows, rows] = block + np.tril(block, -1).T
        inverse[rows, start + BLOCK :] = inverse[start + BLOCK :, rows].T
    return np.asarray(inverse.T)


def _assembled(
    blocks: Iterator[FloatArray], sources: IntArray, targets: IntArray, shape: tuple[int, int],
    kept: int,
) -> Csr:  # fmt: skip
    """The strongest weights of every target, as CSR `(sources, targets)` of the whole shape."""
    kept = min(kept, max(sources.size - 1, 0))
    columns = np.empty((targets.size, kept), np.int32)
    weights = np.empty((targets.size, kept), np.float32)
    start = 0
    for block in blocks:
        stop = start + block.shape[0]
        # A target's own weight is no weight: an item does not recommend itself.
        block[np.arange(block.shape[0]), np.arange(start, stop)] = 0
        strongest(block, columns[start:stop], weights[start:stop])
        start = stop
    return by_source(targets, sources[columns], weights, shape)
