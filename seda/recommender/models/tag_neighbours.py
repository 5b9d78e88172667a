"""Neighbours by tags: items that share the most specific tags with what somebody plays.

The tag space blurs tags into genres; this model keeps the tags themselves, so it finds the item
next to one artist rather than the middle of a taste.
"""

from dataclasses import dataclass

import numpy as np

from seda.recommender.arrays import Csr, FloatArray, empty_rows
from seda.recommender.models.item_weights import dense_scores, nearest_sources, supported
from seda.recommender.models.listening import (
    Listening,
    log_strengths,
    relative_strengths,
    tag_strengths,
    unit_length_rows,
)


@dataclass(frozen=True)
class TagNeighboursConfig:
    """Hyper-parameters of one fit."""

    neighbours: int = 50
    """Nearest items that each item keeps."""
    items_at_most: int = 15_000
    """Items with neighbours at all, those with most listeners first."""


@dataclass(frozen=True, eq=False)
class TagNeighbours:
    """`weights` CSR float32 `(items, items)`: cosine of tag weights."""

    weights: Csr
    config: TagNeighboursConfig

    def scores(self, listening: Listening) -> FloatArray:
        """`(rows, items)` float32: the sum of similarities to what the user listens to."""
        return dense_scores(relative_strengths(listening.plays), self.weights)


def train_tag_neighbours(listening: Listening, *, config: TagNeighboursConfig) -> TagNeighbours:
    """Finds each item's neighbours; deterministic. Without tags nothing has any."""
    items = listening.plays.shape[1]
    if listening.item_tags is None:
        return TagNeighbours(empty_rows(items, items), config)
    listeners = np.bincount(log_strengths(listening.plays).indices, minlength=items)
    heard = supported(listeners, config.items_at_most)
    tags = tag_strengths(listening.item_tags)
    shared = np.flatnonzero(np.bincount(tags.indices, minlength=tags.shape[1]) >= 2)
    rows = unit_length_rows(tags[heard][:, shared])
    return TagNeighbours(
        nearest_sources(rows, rows.T.tocsr(), heard, config.neighbours, items), config
    )
