"""Three-step random walks from a listener to items, damped by popularity (RP3beta, Paudel 2017).

What it adds to the other models are items that few people play.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from seda.recommender.arrays import Csr, FloatArray
from seda.recommender.models.item_weights import dense_scores, nearest_sources, supported
from seda.recommender.models.listening import Listening, log_strengths, relative_strengths


@dataclass(frozen=True)
class WalksConfig:
    """Hyper-parameters of one fit."""

    damping: float = 0.5
    """Power of an item's listeners that divides the walks which end there."""
    targets: int = 200
    """Items at which the walks from one item may end, most probable first."""
    items_at_most: int = 15_000
    """Items that take part, those with most listeners first."""


@dataclass(frozen=True, eq=False)
class Walks:
    """`weights` CSR float32 `(items, items)`: damped probability of a walk from item to item."""

    weights: Csr
    config: WalksConfig

    def scores(self, listening: Listening) -> FloatArray:
        """`(rows, items)` float32, zeros for users without plays."""
        return dense_scores(relative_strengths(listening.plays), self.weights)


def train_walks(listening: Listening, *, config: WalksConfig) -> Walks:
    """Computes the walks item → listener → item; deterministic."""
    strengths = log_strengths(listening.plays)
    items = strengths.shape[1]
    listeners = np.bincount(strengths.indices, minlength=items)
    heard = supported(listeners, config.items_at_most)
    strengths = strengths[:, heard]
    from_user = _shares(strengths)
    to_user = _shares(strengths.T.tocsr())
    damped = sp.diags(listeners[heard].astype(np.float32) ** np.float32(-config.damping))
    arriving = (damped @ from_user.T).tocsr()
    # Kept by where a walk starts: by its end, items with a single listener would be all sources.
    kept = nearest_sources(to_user, arriving.T.tocsr(), heard, config.targets, items)
    return Walks(kept.T.tocsr(), config)


def _shares(rows: Csr) -> Csr:
    totals = np.asarray(rows.sum(axis=1)).ravel()
    scale = np.divide(1.0, totals, out=np.zeros_like(totals), where=totals > 0)
    return (sp.diags(scale.astype(np.float32)) @ rows).tocsr()
