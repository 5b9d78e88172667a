"""The same for everybody, most listened first: the baseline that personal models must beat."""

from dataclasses import dataclass

import numpy as np

from seda.recommender.arrays import FloatArray
from seda.recommender.models.listening import Listening


@dataclass(frozen=True)
class PopularityConfig:
    """Hyper-parameters of one fit."""

    damping: float = 0.0
    """Listeners added to every item before the logarithm; changes the gaps, not the order."""


@dataclass(frozen=True, eq=False)
class PopularityScores:
    """`items` float32 `(items,)`: log(1 + damping + listeners), zeros for what nobody plays."""

    items: FloatArray
    config: PopularityConfig

    def scores(self, listening: Listening) -> FloatArray:
        """`(rows, items)` float32, every row the same: it needs to know nothing of a user."""
        return np.tile(self.items, (listening.plays.shape[0], 1))


def train_popularity(
    listening: Listening, *, config: PopularityConfig | None = None
) -> PopularityScores:
    """Counts listeners, not plays: one devoted listener does not make an item popular."""
    config = config or PopularityConfig()
    heard = listening.plays.tocsr()
    listeners = np.bincount(heard.indices[heard.data > 0], minlength=heard.shape[1])
    scores = np.where(listeners > 0, np.log1p(config.damping + listeners), 0)
    return PopularityScores(scores.astype(np.float32), config)
