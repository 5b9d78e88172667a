"""The linear ranker: calibrated signals times weights, and a score in [0, 1].

Every contribution is kept, so that a score explains itself and can be recomputed from the stored
features of its pool. A learned ranker takes this function's place with the same feature table.
"""

from dataclasses import dataclass

import numpy as np

from seda.recommender.arrays import DoubleArray
from seda.recommender.features import FeatureTable
from seda.recommender.signals.calibration import calibrate

CONTRIBUTIONS = ("content", "collaborative", "social", "popularity")
"""Columns of `Ranked.contributions`."""


@dataclass(frozen=True)
class LinearWeights:
    """Weights of the calibrated signals; the defaults are the design's first model version."""

    content: float = 0.5
    """Of `embedding_similarity`."""
    collaborative: float = 0.25
    """Of `collaborative_score`."""
    social: float = 0.15
    """Of `social_score` and of `friend_presence_count`, each calibrated, then added."""
    popularity: float = 0.1
    """Of `popularity`."""


@dataclass(frozen=True, eq=False)
class Ranked:
    """`score` float64 `(nnz,)` in [0, 1]; `contributions` float64 `(nnz, 4)`, signed, before the
    score's logistic map, columns as `CONTRIBUTIONS`."""

    score: DoubleArray
    contributions: DoubleArray


def rank(features: FeatureTable, weights: LinearWeights) -> Ranked:
    """The calibrated linear blend of a feature table; missing signals contribute nothing.

    0.5 is an average candidate of that user; a candidate two standard scores up on every signal
    gets 0.88.
    """
    indptr = features.pool.indptr
    social = calibrate(features["social_score"], indptr)
    social += calibrate(features["friend_presence_count"], indptr)
    contributions = np.column_stack(
        [
            weights.content * calibrate(features["embedding_similarity"], indptr),
            weights.collaborative * calibrate(features["collaborative_score"], indptr),
            weights.social * social,
            weights.popularity * calibrate(features["popularity"], indptr),
        ]
    )
    return Ranked(score_of(contributions), contributions)


def score_of(contributions: DoubleArray) -> DoubleArray:
    """Logistic function of the sum of contributions `(..., 4)`: monotone, in [0, 1]."""
    return np.asarray(1.0 / (1.0 + np.exp(-contributions.sum(axis=-1))))
