"""All models of one region and entity type, fitted together, and what ranking takes from them.

Nightly assets, learning to rank and offline evaluation share this path, so that what is learned
and what is measured is what is published.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import scipy.sparse as sp

from seda.recommender.arrays import Csr, FloatArray, IntArray
from seda.recommender.candidates import (
    CandidateLists,
    Source,
    friend_counts,
    interleaved,
    nearest_candidates,
    social_candidates,
    with_presence,
)
from seda.recommender.clusters import home_clusters
from seda.recommender.features import WeightedRows
from seda.recommender.inputs import RankingInputs
from seda.recommender.models.als import AlsConfig, AlsFactors, fold_in, train_als
from seda.recommender.models.ease import Ease, EaseConfig, ease_rows, train_ease
from seda.recommender.models.item_weights import top_k_weighted
from seda.recommender.models.listening import Listening, relative_strengths
from seda.recommender.models.neighbours import Neighbours, NeighboursConfig, train_neighbours
from seda.recommender.models.picks import Picks, PicksConfig, pick_rows, train_picks
from seda.recommender.models.tag_neighbours import (
    TagNeighbours,
    TagNeighboursConfig,
    train_tag_neighbours,
)
from seda.recommender.models.walks import Walks, WalksConfig, train_walks
from seda.recommender.ranking import Ranker
from seda.recommender.recommend import RankedLists, recommend
from seda.recommender.rules import ListRules
from seda.recommender.signals.content import (
    TagSpace,
    TagSpaceConfig,
    mean_directions,
    medoids,
    train_tag_space,
)
from seda.recommender.signals.social import social_taste

PER_SOURCE = 150
"""Candidates of each source where no more is asked for."""
PROPOSING = ("ease_score", "neighbour_score")
"""Item-to-item models that propose candidates. Walks and tag neighbours only judge: what they
propose beyond the others is rarely right, and widens the pools in which signals are calibrated."""


@dataclass(frozen=True)
class SignalConfig:
    """The configuration of every fitted model."""

    als: AlsConfig = field(default_factory=AlsConfig)
    ease: EaseConfig = field(default_factory=EaseConfig)
    neighbours: NeighboursConfig = field(default_factory=NeighboursConfig)
    walks: WalksConfig = field(default_factory=WalksConfig)
    tag_neighbours: TagNeighboursConfig = field(default_factory=TagNeighboursConfig)
    picks: PicksConfig = field(default_factory=PicksConfig)
    tags: TagSpaceConfig = field(default_factory=TagSpaceConfig)


@dataclass(frozen=True, eq=False)
class SignalModels:
    """What one night's fits learned about the items of one type in one region."""

    als: AlsFactors
    ease: Ease
    neighbours: Neighbours
    walks: Walks
    tag_neighbours: TagNeighbours
    picks: Picks
    tags: TagSpace


def train_signals(listening: Listening, *, config: SignalConfig, seed: int) -> SignalModels:
    """Fits every model to the same listening; deterministic in `seed`."""
    return SignalModels(
        als=train_als(listening, config=config.als, seed=seed),
        ease=train_ease(listening, config=config.ease),
        neighbours=train_neighbours(listening, config=config.neighbours),
        walks=train_walks(listening, config=config.walks),
        tag_neighbours=train_tag_neighbours(listening, config=config.tag_neighbours),
        picks=train_picks(listening, config=config.picks),
        tags=train_tag_space(listening, config=config.tags, seed=seed),
    )


def fitted_inputs(
    models: SignalModels, listening: Listening, everyone: Csr | None, *,
    item_vectors: FloatArray | None = None,
) -> RankingInputs:  # fmt: skip
    """The part of the ranking's inputs that comes from the fits, for the rows of `listening`.

    `everyone` CSR `(region_users, items)` are the plays of all whom `listening.friends` may name
    (None: without social signals, popularity and medoids, for who only wants the collaborative
    candidates); `item_vectors` `(items, d)` are embeddings, whose mean is then each person's taste.
    People who were not in the fit are folded in.
    """
    plays = listening.plays
    strengths = relative_strengths(plays)
    inputs = RankingInputs(
        plays=plays,
        taste=None if item_vectors is None else mean_directions(strengths, item_vectors),
        item_vectors=item_vectors,
        user_factors=fold_in(models.als, plays),
        item_factors=models.als.items,
        item_weights={
            "ease_score": _ease_or_picks(models, listening),
            "neighbour_score": WeightedRows(strengths, models.neighbours.weights),
            "walk_score": WeightedRows(strengths, models.walks.weights),
            "tag_neighbour_score": WeightedRows(strengths, models.tag_neighbours.weights),
        },
        tag_taste=models.tags.tastes(plays),
        tag_vectors=models.tags.items,
        profile_sizes=np.diff(plays.indptr).astype(np.float32),
    )
    if everyone is None:
        return inputs
    listeners = np.bincount(everyone.indices, minlength=everyone.shape[1])
    friends = listening.friends
    return replace(
        inputs,
        medoids=medoids(plays, models.tags.items),
        social=social_taste(listening, everyone),
        friend_counts=None if friends is None else friend_counts(friends, everyone),
        popularity=np.log1p(listeners).astype(np.float32),
    )


def _ease_or_picks(models: SignalModels, listening: Listening) -> WeightedRows:
    """EASE of who has played something; of the others what their picks and friends say."""
    heard = (np.diff(listening.plays.indptr) > 0).astype(np.float32)
    rows = [
        sp.diags(heard) @ ease_rows(models.ease, listening),
        sp.diags(1 - heard) @ pick_rows(models.picks, listening),
    ]
    for part in rows:
        part.eliminate_zeros()
    weights = sp.vstack([models.ease.weights, models.picks.weights], format="csr")
    return WeightedRows(sp.hstack(rows, format="csr"), weights)


def collaborative_lists(inputs: RankingInputs, per_model: int, k: int) -> CandidateLists:
    """The k first of ALS, EASE and the neighbours, turn by turn; nothing that is not allowed."""
    exclude = inputs.not_allowed()
    offered = [
        top_k_weighted(weighted.rows, weighted.weights, per_model, exclude=exclude).items
        for weighted in (inputs.item_weights[name] for name in PROPOSING)
    ]
    if inputs.user_factors is not None and inputs.item_factors is not None:
        factors = (inputs.user_factors, inputs.item_factors)
        offered.insert(0, nearest_candidates(*factors, per_model, exclude=exclude).items)
    return interleaved(offered, k)


def content_lists(inputs: RankingInputs, per_space: int, k: int) -> CandidateLists:
    """The k first of the embedding space and of the tag space, turn by turn, where they are."""
    spaces = [(inputs.tag_taste, inputs.tag_vectors), (inputs.taste, inputs.item_vectors)]
    offered = [
        nearest_candidates(people, items, per_space, exclude=inputs.not_allowed()).items
        for people, items in spaces
        if people is not None and items is not None
    ]
    return interleaved(offered, k)


def social_lists(inputs: RankingInputs, k: int) -> CandidateLists:
    """The k items that friends like most; rooms with a friend in them now come first."""
    assert inputs.social is not None
    scores = inputs.social
    if inputs.presence is not None:
        scores = with_presence(scores, inputs.presence)
    return social_candidates(scores, k)


def fitted_candidates(inputs: RankingInputs, per_source: int) -> dict[Source, CandidateLists]:
    """The lists of the content, collaborative and social sources, as the nightly assets make them
    (which add what trends)."""
    return {
        Source.CONTENT: content_lists(inputs, per_source, per_source),
        Source.COLLABORATIVE: collaborative_lists(inputs, per_source, 2 * per_source),
        Source.SOCIAL: social_lists(inputs, per_source),
    }


def fitted_lists(
    models: SignalModels, listening: Listening, ranker: Ranker, *, everyone: Csr, k: int,
    seed: int, rules: ListRules | None = None, clusters: IntArray | None = None,
) -> RankedLists:  # fmt: skip
    """The lists as they are published, from the fits alone: candidates, ranking, selection.

    Without `rules` lists are not diversified; without `clusters` int32 `(items,)` nobody has a home
    and every candidate is new. Without both they are the raw ranking.
    """
    inputs = fitted_inputs(models, listening, everyone)
    if clusters is not None:
        homes = home_clusters(listening.plays, clusters)
        inputs = replace(inputs, clusters=clusters, home_clusters=homes)
    lists = fitted_candidates(inputs, PER_SOURCE)
    inputs = replace(inputs, lists=lists, rules=rules or ListRules())
    return recommend(inputs, weights=ranker, k=k, seed=seed)
