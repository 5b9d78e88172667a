"""The rankers: calibrated signals, weighed linearly or by trees, and a score in [0, 1].

Every listed row keeps its signed contributions: their sum is the score before its logistic map, so
a score explains itself. Both kinds read the same inputs, made from one feature table.
"""

from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np

from seda.recommender.arrays import DoubleArray, FloatArray
from seda.recommender.fatigue import fatigue_discount
from seda.recommender.features import FeatureTable
from seda.recommender.signals.calibration import calibrate
from seda.recommender.signals.social import newcomer_share
from seda.recommender.terms import AS_THEY_ARE, CONTRIBUTIONS, INPUTS, SIGNALS
from seda.recommender.trees import TreeRanker, tree_contributions, tree_scores

_IGNORED = INPUTS.index("ignored_impressions")


@dataclass(frozen=True)
class LinearWeights:
    """Weights of the calibrated signals; the defaults are the design's first model version."""

    content: float = 0.5
    """Of `embedding_similarity`."""
    collaborative: float = 0.25
    """Of `collaborative_score`."""
    social: float = 0.15
    """Of `social_score`."""
    popularity: float = 0.1
    """Of `popularity`."""
    presence: float = 0.15
    """Of `presence`; the design has one weight for both social signals."""
    ease: float = 0.0
    """Of `ease_score`."""
    neighbours: float = 0.0
    """Of `neighbour_score`."""
    walks: float = 0.0
    """Of `walk_score`."""
    tag_neighbours: float = 0.0
    """Of `tag_neighbour_score`."""
    tags: float = 0.0
    """Of `tag_similarity`."""
    medoids: float = 0.0
    """Of `medoid_similarity`."""
    recency: float = 0.0
    """Of `recency_score`."""
    response: float = 0.0
    """Of `response_rate`."""
    newcomers: float = 0.0
    """Added to the weight of `social_score` in the share that `newcomer_share` gives: friends
    speak louder where the listener has not spoken yet."""


Ranker: TypeAlias = LinearWeights | TreeRanker


@dataclass(frozen=True, eq=False)
class Ranked:
    """`score` float64 `(nnz,)` in [0, 1]; `inputs` float32 `(nnz, len(INPUTS))`, which alone
    determine score and contributions."""

    score: DoubleArray
    inputs: FloatArray


def rank(features: FeatureTable, ranker: Ranker) -> Ranked:
    """Scores a feature table; a missing signal is neutral."""
    inputs = ranker_inputs(features)
    return Ranked(_logistic(raw_scores(ranker, inputs)), inputs)


def raw_scores(ranker: Ranker, inputs: FloatArray) -> DoubleArray:
    """Scores before the logistic map, float64 `(rows,)`: the sums of `contributions_of`."""
    if isinstance(ranker, TreeRanker):
        return tree_scores(ranker, inputs) + fatigue_discount(inputs[:, _IGNORED])
    return _linear_scores(ranker, inputs) + fatigue_discount(inputs[:, _IGNORED])


def ranker_inputs(features: FeatureTable) -> FloatArray:
    """float32 `(nnz, len(INPUTS))` without NaN: signals calibrated within the user, and
    the others as they are (0 where not known)."""
    inputs = np.empty((len(INPUTS), features.values.shape[0]), np.float32).T
    for place, feature in enumerate(SIGNALS.values()):
        inputs[:, place] = calibrate(features[feature], features.pool.indptr)
    for place, feature in enumerate(AS_THEY_ARE, len(SIGNALS)):
        inputs[:, place] = np.nan_to_num(features[feature])
    return inputs


def contributions_of(ranker: Ranker, inputs: FloatArray) -> DoubleArray:
    """float64 `(rows, len(CONTRIBUTIONS))`, signed; their sum is the score before `score_of`.

    Of a linear ranker each is weight times signal; of trees see `trees.tree_contributions`.
    """
    if isinstance(ranker, TreeRanker):
        contributions = tree_contributions(ranker, inputs)
    else:
        contributions = _linear_contributions(ranker, inputs)
    contributions[:, _IGNORED] += fatigue_discount(inputs[:, _IGNORED])
    return contributions


def _linear_scores(ranker: LinearWeights, inputs: FloatArray) -> DoubleArray:
    """The sums of `_linear_contributions`, without them."""
    sums = np.zeros(inputs.shape[0])
    for place, name in enumerate(SIGNALS):
        if weight := float(getattr(ranker, name)):
            sums += inputs[:, place] * weight
    if ranker.newcomers:
        sums += _newcomers_term(ranker, inputs)
    return sums


def _newcomers_term(ranker: LinearWeights, inputs: FloatArray) -> DoubleArray:
    share = newcomer_share(np.expm1(inputs[:, INPUTS.index("profile_size")]))
    return ranker.newcomers * share * inputs[:, INPUTS.index("social")]


def _linear_contributions(ranker: LinearWeights, inputs: FloatArray) -> DoubleArray:
    contributions = np.zeros((inputs.shape[0], len(CONTRIBUTIONS)))
    for place, name in enumerate(SIGNALS):
        contributions[:, place] = inputs[:, place] * float(getattr(ranker, name))
    if ranker.newcomers:
        contributions[:, INPUTS.index("social")] += _newcomers_term(ranker, inputs)
    return contributions


def score_of(contributions: DoubleArray) -> DoubleArray:
    """Logistic function of the sum of contributions `(..., n)`: monotone, in [0, 1]."""
    return _logistic(contributions.sum(axis=-1))


def effective_shares(contributions: DoubleArray | FloatArray) -> dict[str, float]:
    """Each term's share of the mean absolute contribution: what really moves the lists."""
    sizes = np.abs(contributions.reshape(-1, contributions.shape[-1])[:, :-1]).mean(axis=0)
    total = sizes.sum()
    shares = sizes / total if total > 0 else sizes
    return dict(zip(CONTRIBUTIONS[:-1], shares.tolist(), strict=True))


def linear_weights(kind: str, config: dict[str, float]) -> LinearWeights:
    """The weights of a registry row of kind `linear`, in which what is not named weighs nothing.

    A row of the design's first version names one social weight, which is that of presence too. A
    row of another kind has no weights of its own: the design's stand in where nothing was learned.
    """
    if kind != "linear":
        return LinearWeights()
    named = {field.name: 0.0 for field in fields(LinearWeights)} | config
    if "presence" not in config:
        named["presence"] = named["social"]
    return LinearWeights(**named)


def _logistic(sums: DoubleArray) -> DoubleArray:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(sums, -700, 700))))
