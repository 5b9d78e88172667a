"""What people who picked certain tags listen to: a model for those who have played nothing yet.

Ridge regression from picks to strengths, learned from listeners and what they would have picked,
beside the mean of the friends. As pseudo-items of EASE, picks are worth less (.107 against .125
NDCG@10 on an inner holdout of Last.fm 2K): there a pick only says what the plays leave open.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from seda.recommender.arrays import Csr, FloatArray, empty_rows
from seda.recommender.models.item_weights import dense_scores
from seda.recommender.models.listening import Listening, relative_strengths

PICKS = 3
"""Tags that somebody picks."""


@dataclass(frozen=True)
class PicksConfig:
    """Hyper-parameters of one fit."""

    regularization: float = 3.0
    """Ridge, in people who picked nothing but one tag."""
    tags_at_most: int = 300
    """Tags with weights, those that most people picked first."""
    friend_weight: float = 0.5
    """Weight of the friends' mean beside what the picks say."""
    friend_smoothing: float = 2.0
    """Friends of no taste that everybody has."""
    least_weight: float = 1e-4
    """Smaller weights are left out."""


@dataclass(frozen=True, eq=False)
class Picks:
    """`weights` CSR float32 `(tags + users, items)`: from a pick, and from a friend, to an item."""

    weights: Csr
    config: PicksConfig

    def scores(self, listening: Listening) -> FloatArray:
        """`(rows, items)` float32 of expected strengths, by picks and friends alone."""
        return dense_scores(pick_rows(self, listening), self.weights)


def train_picks(listening: Listening, *, config: PicksConfig) -> Picks:
    """Solves the regression; deterministic. Without picks only friends have weights."""
    strengths = relative_strengths(listening.plays)
    by_tag = empty_rows(0, strengths.shape[1])
    if listening.picks is not None:
        heard = np.flatnonzero(np.diff(strengths.indptr))
        by_tag = _tag_weights(_shares(listening.picks)[heard], strengths[heard], config)
    return Picks(sp.vstack([by_tag, strengths], format="csr"), config)


def pick_rows(model: Picks, listening: Listening) -> Csr:
    """What each row holds, CSR `(rows, sources)`: shares of picked tags, then friends."""
    rows, sources = listening.plays.shape[0], model.weights.shape[0]
    users = 0 if listening.friends is None else listening.friends.shape[1]
    picks = empty_rows(rows, sources - users)
    if listening.picks is not None and listening.picks.shape[1] == sources - users:
        picks = _shares(listening.picks)
    if listening.friends is None:
        return picks
    friends = sp.csr_matrix(listening.friends, dtype=np.float32)
    counts = np.asarray(friends.sum(axis=1)).ravel() + model.config.friend_smoothing
    scale = np.float32(model.config.friend_weight) / counts.astype(np.float32)
    return sp.hstack([picks, sp.diags(scale) @ friends], format="csr")


def largest_picks(weights: Csr) -> Csr:
    """The `PICKS` heaviest tags of each row with weight 1, CSR: what somebody would pick."""
    rows = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))
    order = np.lexsort((weights.indices, -weights.data, rows))
    places = np.arange(order.size) - weights.indptr[rows]
    kept = order[(places < PICKS) & (weights.data[order] > 0)]
    entries = (np.ones(kept.size, np.float32), (rows[kept], weights.indices[kept]))
    return sp.csr_matrix(entries, shape=weights.shape)


def _tag_weights(picked: Csr, strengths: Csr, config: PicksConfig) -> Csr:
    counts = np.bincount(picked.indices, minlength=picked.shape[1])
    order = np.argsort(-counts, kind="stable")[: config.tags_at_most]
    tags = np.sort(order[counts[order] > 0])
    shape = (picked.shape[1], strengths.shape[1])
    if not tags.size:
        return empty_rows(*shape)
    chosen = picked[:, tags]
    # The mean over all people is what a pick of no meaning predicts: it is not shrunk.
    mean = np.asarray(strengths.mean(axis=0)).ravel()
    totals = np.asarray(chosen.sum(axis=0)).ravel()
    gram = (chosen.T @ chosen).toarray() + config.regularization * np.eye(tags.size)
    found = np.linalg.solve(gram, (chosen.T @ strengths).toarray() - np.outer(totals, mean)) + mean
    found[np.abs(found) < config.least_weight] = 0
    kept = sp.coo_matrix(found.astype(np.float32))
    return sp.csr_matrix((kept.data, (tags[kept.row], kept.col)), shape=shape)


def _shares(picks: Csr) -> Csr:
    counts = np.maximum(np.asarray(picks.sum(axis=1)).ravel(), 1e-9)
    return (sp.diags((1 / counts).astype(np.float32)) @ picks).tocsr().astype(np.float32)
