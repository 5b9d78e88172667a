"""All models of one region and entity type, fitted together, and what ranking takes from them.

Nightly assets, learning to rank and offline evaluation share this path, so that what is learned
and what is measured is what is published.
"""

from dataclasses import dataclass, field

import numpy as np

from seda.recommender.arrays import Csr, IntArray
from seda.recommender.candidates import (
    CandidateLists,
    Source,
    friend_counts,
    nearest_candidates,
    social_candidates,
    with_presence,
)
from seda.recommender.features import WeightedRows
from seda.recommender.models.als import AlsConfig, AlsFactors, fold_in, train_als
from seda.recommender.models.ease import Ease, EaseConfig, ease_rows, train_ease
from seda.recommender.models.item_weights import top_k_weighted
from seda.recommender.models.listening import Listening, relative_strengths
from seda.recommender.models.neighbours import Neighbours, NeighboursConfig, train_neighbours
from seda.recommender.models.tag_neighbours import (
    TagNeighbours,
    TagNeighboursConfig,
    train_tag_neighbours,
)
from seda.recommender.models.walks import Walks, WalksConfig, train_walks
from seda.recommender.recommend import RankingInputs
from seda.recommender.signals.content import TagSpace, TagSpaceConfig, medoids, train_tag_space
from seda.recommender.signals.social import social_taste


@dataclass(frozen=True)
class SignalConfig:
    """The configuration of every fitted model."""

    als: AlsConfig = field(default_factory=AlsConfig)
    ease: EaseConfig = field(default_factory=EaseConfig)
    neighbours: NeighboursConfig = field(default_factory=NeighboursConfig)
    walks: WalksConfig = field(default_factory=WalksConfig)
    tag_neighbours: TagNeighboursConfig = field(default_factory=TagNeighboursConfig)
    tags: TagSpaceConfig = field(default_factory=TagSpaceConfig)


@dataclass(frozen=True, eq=False)
class SignalModels:
    """What one night's fits learned about the items of one type in one region."""

    als: AlsFactors
    ease: Ease
    neighbours: Neighbours
    walks: Walks
    tag_neighbours: TagNeighbours
    tags: TagSpace


def train_signals(listening: Listening, *, config: SignalConfig, seed: int) -> SignalModels:
    """Fits every model to the same listening; deterministic in `seed`."""
    return SignalModels(
        als=train_als(listening, config=config.als, seed=seed),
        ease=train_ease(listening, config=config.ease),
        neighbours=train_neighbours(listening, config=config.neighbours),
        walks=train_walks(listening, config=config.walks),
        tag_neighbours=train_tag_neighbours(listening, config=config.tag_neighbours),
        tags=train_tag_space(listening, config=config.tags, seed=seed),
    )


def fitted_inputs(
    models: SignalModels, listening: Listening, everyone: Csr, *, known: Csr | None = None
) -> RankingInputs:
    """The part of the ranking's inputs that comes from the fits, for the rows of `listening`.

    `everyone` CSR `(region_users, items)` are the plays of all whom `listening.friends` may name;
    `known` CSR `(rows, items)` what may not be offered beyond the plays. People who were not in
    the fit are folded in.
    """
    plays = listening.plays
    strengths = relative_strengths(plays)
    listeners = np.bincount(everyone.indices, minlength=everyone.shape[1])
    return RankingInputs(
        plays=plays,
        blocked=known,
        user_factors=fold_in(models.als, plays),
        item_factors=models.als.items,
        item_weights={
            "ease_score": WeightedRows(ease_rows(models.ease, listening), models.ease.weights),
            "neighbour_score": WeightedRows(strengths, models.neighbours.weights),
            "walk_score": WeightedRows(strengths, models.walks.weights),
            "tag_neighbour_score": WeightedRows(strengths, models.tag_neighbours.weights),
        },
        tag_taste=models.tags.tastes(plays),
        tag_vectors=models.tags.items,
        medoids=medoids(plays, models.tags.items),
        social=social_taste(listening, everyone),
        friend_counts=None
        if listening.friends is None
        else friend_counts(listening.friends, everyone),
        popularity=np.log1p(listeners).astype(np.float32),
        profile_sizes=np.diff(plays.indptr).astype(np.float32),
    )


def fitted_candidates(inputs: RankingInputs, per_source: int) -> dict[Source, CandidateLists]:
    """Candidates of the content, collaborative (ALS, EASE and neighbours) and social sources.

    Nothing the inputs call known or blocked is offered, so that every list is full.
    """
    exclude = inputs.not_allowed()
    lists: dict[Source, CandidateLists] = {}
    if inputs.tag_taste is not None and inputs.tag_vectors is not None:
        lists[Source.CONTENT] = nearest_candidates(
            inputs.tag_taste, inputs.tag_vectors, per_source, exclude=exclude
        )
    offered = [
        top_k_weighted(weighted.rows, weighted.weights, per_source, exclude=exclude).items
        for weighted in inputs.item_weights.values()
    ]
    if inputs.user_factors is not None and inputs.item_factors is not None:
        factors = nearest_candidates(
            inputs.user_factors, inputs.item_factors, per_source, exclude=exclude
        )
        offered.append(factors.items)
    lists[Source.COLLABORATIVE] = _side_by_side(offered)
    if inputs.social is not None:
        scores = inputs.social
        if inputs.presence is not None:
            scores = with_presence(scores, inputs.presence)
        lists[Source.SOCIAL] = social_candidates(scores, per_source)
    return lists


def _side_by_side(offered: list[IntArray]) -> CandidateLists:
    """Several models' lists as one source's: all firsts, then all seconds; each item stays where
    it is first, and the score is minus the place."""
    items = np.stack(offered, axis=2).reshape(offered[0].shape[0], -1)
    scores = np.broadcast_to(-np.arange(items.shape[1], dtype=np.float32), items.shape)
    return CandidateLists(items, np.where(items >= 0, scores, -np.inf).astype(np.float32))
