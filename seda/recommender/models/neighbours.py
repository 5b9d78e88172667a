"""Item–item neighbours: cosine of the items' TF-IDF listener vectors (Sarwar et al. 2001).

A listener of few items says more about each of them than one of many; each item keeps its nearest
neighbours only.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from seda.recommender.arrays import Csr, FloatArray
from seda.recommender.models.item_weights import dense_scores, nearest_sources, supported
from seda.recommender.models.listening import (
    Listening,
    log_strengths,
    relative_strengths,
)


@dataclass(frozen=True)
class NeighboursConfig:
    """Hyper-parameters of one fit."""

    neighbours: int = 300
    """Nearest items that each item keeps."""
    shrinkage: float = 1.0
    """Added to the product of lengths relative to the mean length: an item with few listeners
    has no certain neighbours."""
    items_at_most: int = 15_000
    """Items with neighbours at all, those with most listeners first."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """`weights` CSR float32 `(items, items)`: from a heard item to the items near to it."""

    weights: Csr
    config: NeighboursConfig

    def scores(self, listening: Listening) -> FloatArray:
        """`(rows, items)` float32: the sum of similarities to what the user listens to."""
        return dense_scores(relative_strengths(listening.plays), self.weights)


def train_neighbours(listening: Listening, *, config: NeighboursConfig) -> Neighbours:
    """Finds each item's neighbours; deterministic. Items nobody plays have none."""
    items = listening.plays.shape[1]
    listeners = np.bincount(log_strengths(listening.plays).indices, minlength=items)
    heard = supported(listeners, config.items_at_most)
    vectors = _listener_vectors(listening.plays)[heard]
    norms = np.sqrt(np.asarray(vectors.multiply(vectors).sum(axis=1)).ravel())
    floor = config.shrinkage * norms.mean() if heard.size else 0.0
    scaled = (sp.diags((1 / (norms + floor + 1e-12)).astype(np.float32)) @ vectors).tocsr()
    weights = nearest_sources(scaled, scaled.T.tocsr(), heard, config.neighbours, items)
    return Neighbours(weights, config)


def _listener_vectors(plays: Csr) -> Csr:
    """`(items, users)`: log plays times the listener's inverse frequency."""
    strengths = log_strengths(plays)
    counts = np.diff(strengths.indptr)
    rarity = np.log((plays.shape[1] + 1) / (counts + 1)).astype(np.float32)
    return (sp.diags(rarity) @ strengths).T.tocsr().astype(np.float32)
