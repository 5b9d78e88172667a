"""The whole recommender for one entity type and one shard of users, as one pure function.

`recommend` composes the stages (merge, features, rank, novelty, selection, reasons) over chunks of
users, so that memory stays flat however large the shard is. Item types differ only in their inputs.
"""

from dataclasses import dataclass, fields, replace

import numpy as np

from seda.recommender.arrays import (
    BoolArray,
    ByteArray,
    DoubleArray,
    FloatArray,
    IntArray,
    LongArray,
)
from seda.recommender.candidates import CandidatePool, merge_candidates
from seda.recommender.cores import map_over_threads
from seda.recommender.diversity import (
    PAGE,
    Diversity,
    SelectedLists,
    new_to_user,
    rotating_arrivals,
    select,
)
from seda.recommender.explain import (
    MAX_REASONS,
    Evidence,
    Reasons,
    explain,
    most_of,
    unit_rows,
)
from seda.recommender.exploration import Exploration, Explored, explore
from seda.recommender.features import FEATURES, FeatureTable, build_features
from seda.recommender.inputs import RankingInputs
from seda.recommender.ranking import (
    CONTRIBUTIONS,
    INPUTS,
    Ranked,
    Ranker,
    contributions_of,
    rank,
    score_of,
)

CHUNK_USERS = 1024
"""Users ranked together in one thread: about 100 MB of pools, features and contributions."""

FACTOR_ANCHOR_SIMILARITY = 0.5
"""Least cosine of item factors for "because you listen to"."""
CONTENT_ANCHOR_SIMILARITY = 0.4
"""Least cosine of content vectors for "because you listen to", where there are no factors."""
POPULAR_SHARE = 0.02
"""Share of the catalogue that may be called popular."""
TRENDING_SHARE = 0.02
"""Share of the catalogue that may be called trending."""


@dataclass(frozen=True, eq=False)
class RankedLists:
    """The lists of U users, best first; places beyond a user's list hold the pad value."""

    items: IntArray
    """int32 `(U, k)`, pad -1."""
    scores: DoubleArray
    """float64 `(U, k)` in [0, 1], pad 0. The order of places is authoritative: the quota may put
    a lower score first."""
    is_new: BoolArray
    """bool `(U, k)`, pad False."""
    sources: ByteArray
    """uint8 `(U, k)` of `Source` bits, pad 0."""
    features: FloatArray
    """float32 `(U, k, len(FEATURES))`, raw; NaN = missing, and pad."""
    inputs: FloatArray
    """float32 `(U, k, len(INPUTS))`, what the ranker read, pad 0."""
    contributions: FloatArray
    """float32 `(U, k, len(CONTRIBUTIONS))`, `contributions_of` the inputs, rounded to be read;
    pad 0."""
    reason_kinds: ByteArray
    """uint8 `(U, k, 3)` of `ReasonKind`, pad 0."""
    reason_subjects: IntArray
    """int32 `(U, k, 3)`, see `explain.Reasons`, pad -1."""
    pool_sizes: IntArray
    """int32 `(U,)`: candidates before selection."""
    shortfall: IntArray
    """int32 `(U,)`: new items that the quota wanted and the pool did not have."""
    relaxed: IntArray
    """int32 `(U,)`: places that break a cap or repeat something, lest the list be short."""
    propensity: DoubleArray
    """float64 `(U, k)`: probability with which the item stands there; 1 unless a place explores."""
    displaced: IntArray
    """int32 `(U,)`: the ranked item whose place an explored one took, -1 for none."""
    displaced_scores: DoubleArray
    """float64 `(U,)`: its score, 0 for none."""


@dataclass(frozen=True, eq=False)
class _Policy:
    """How chunks are ranked, and what explanations need once per catalogue."""

    ranker: Ranker
    k: int
    diversity: Diversity | None
    exploration: Exploration | None
    seed: int
    anchor_vectors: FloatArray | None
    anchor_similarity: float
    popular: BoolArray
    trending: BoolArray | None
    rising: BoolArray | None


def recommend(
    inputs: RankingInputs, *, weights: Ranker, k: int = 50, threads: int | None = None,
    diversity: Diversity | None = None, exploration: Exploration | None = None, seed: int = 0,
) -> RankedLists:  # fmt: skip
    """Ranks every user of the shard: k items each, with the evidence for every one.

    Deterministic, and the same for a user whatever other users are in the shard. Nothing known of
    a user, an empty catalogue or empty sources give shorter or empty lists, never NaN scores.
    `threads` None means every available core. `diversity` None is its default, where the inputs'
    rules have a likeness. With `exploration` one place shows a drawn item; `seed` is its draws'.
    """
    users = inputs.plays.shape[0]
    if inputs.item_vectors is not None:
        # The vectors are converted once here, not in every chunk.
        vectors = np.ascontiguousarray(inputs.item_vectors, np.float32)
        inputs = replace(inputs, item_vectors=vectors)
    policy = _policy(inputs, weights, k, diversity, exploration, seed)
    result = _padded(users, k)
    starts = range(0, users, CHUNK_USERS)

    def rank_chunk(start: int) -> None:
        stop = min(start + CHUNK_USERS, users)
        chunk = _recommend_chunk(inputs.rows(start, stop), policy)
        for entry in fields(RankedLists):
            getattr(result, entry.name)[start:stop] = getattr(chunk, entry.name)

    map_over_threads(rank_chunk, starts, threads)
    return result


def _policy(
    inputs: RankingInputs, ranker: Ranker, k: int, diversity: Diversity | None,
    exploration: Exploration | None, seed: int,
) -> _Policy:  # fmt: skip
    popular = np.zeros(inputs.plays.shape[1], np.bool_)
    if inputs.popularity is not None:
        popular = most_of(inputs.popularity, POPULAR_SHARE)
    vectors, similarity = None, 1.0
    if inputs.item_factors is not None:
        vectors, similarity = unit_rows(inputs.item_factors), FACTOR_ANCHOR_SIMILARITY
    elif inputs.item_vectors is not None:
        vectors, similarity = unit_rows(inputs.item_vectors), CONTENT_ANCHOR_SIMILARITY
    trends = rises = None
    if inputs.trending is not None:
        trends, rises = most_of(inputs.trending, TRENDING_SHARE), inputs.trending > 0
    return _Policy(
        ranker, k, diversity, exploration, seed, vectors, similarity, popular, trends, rises
    )


def _recommend_chunk(inputs: RankingInputs, policy: _Policy) -> RankedLists:
    pool = inputs.pool or merge_candidates(
        inputs.lists, blocked=inputs.not_allowed(), users=inputs.plays.shape[0]
    )
    features = pool_features(inputs, pool)
    ranked = rank(features, policy.ranker)
    is_new = new_to_user(
        pool,
        plays=inputs.plays,
        shown_recently=inputs.shown_recently,
        clusters=inputs.clusters,
        homes=inputs.home_clusters,
    )
    selected = _selected(inputs, pool, ranked, is_new, policy)
    explored = _explored(inputs, pool, ranked, is_new, selected.positions, policy)
    result = _assembled(inputs, features, ranked, is_new, explored.positions, policy)
    result.shortfall[:], result.relaxed[:] = selected.shortfall, selected.relaxed
    if policy.exploration is not None and policy.exploration.place <= policy.k:
        place = policy.exploration.place - 1
        displaced = selected.positions[explored.explored, place]
        result.propensity[:, place] = explored.propensity
        result.displaced[explored.explored] = pool.items[displaced]
        result.displaced_scores[explored.explored] = ranked.score[displaced]
    return result


def _selected(
    inputs: RankingInputs, pool: CandidatePool, ranked: Ranked, is_new: BoolArray, policy: _Policy
) -> SelectedLists:
    rules, arrivals = inputs.rules, None
    if rules.arrived is not None and inputs.user_keys is not None:
        arrivals = rotating_arrivals(
            pool, ranked.score, is_new, rules.arrived, user_keys=inputs.user_keys, day=inputs.day,
            pages=-(-policy.k // PAGE),
        )  # fmt: skip
    return select(
        ranked.score, pool, is_new, k=policy.k, duplicate_group=rules.duplicate_group,
        vectors=rules.likeness, diversity=policy.diversity, caps=rules.caps, arrivals=arrivals,
    )  # fmt: skip


def _explored(
    inputs: RankingInputs, pool: CandidatePool, ranked: Ranked, is_new: BoolArray,
    positions: LongArray, policy: _Policy,
) -> Explored:  # fmt: skip
    if policy.exploration is None or inputs.user_keys is None:
        nobody, certain = np.zeros(pool.users, np.bool_), np.ones(pool.users)
        return Explored(positions, nobody, certain)
    return explore(
        positions, pool, ranked.score, is_new, exploration=policy.exploration,
        user_keys=inputs.user_keys, day=inputs.day, seed=policy.seed, caps=inputs.rules.caps,
        duplicate_group=inputs.rules.duplicate_group,
    )  # fmt: skip


def pool_features(inputs: RankingInputs, pool: CandidatePool) -> FeatureTable:
    """The features of a pool of the inputs' users."""
    return build_features(
        pool,
        taste=inputs.taste,
        item_vectors=inputs.item_vectors,
        user_factors=inputs.user_factors,
        item_factors=inputs.item_factors,
        social=inputs.social,
        presence=inputs.presence,
        popularity=inputs.popularity,
        recency=inputs.recency,
        clusters=inputs.clusters,
        privacy_flags=inputs.privacy_flags,
        user_providers=inputs.user_providers,
        item_providers=inputs.item_providers,
        item_weights=inputs.item_weights,
        tag_taste=inputs.tag_taste,
        tag_vectors=inputs.tag_vectors,
        medoids=inputs.medoids,
        presence_logs=inputs.presence_logs,
        profile_sizes=inputs.profile_sizes,
        ignored=inputs.ignored,
        response_rates=inputs.response_rates,
    )


def _assembled(
    inputs: RankingInputs,
    features: FeatureTable,
    ranked: Ranked,
    is_new: BoolArray,
    positions: LongArray,
    policy: _Policy,
) -> RankedLists:
    pool = features.pool
    listed = positions >= 0
    flat = positions[listed]
    result = _padded(*positions.shape)
    result.items[listed] = pool.items[flat]
    result.is_new[listed] = is_new[flat]
    result.sources[listed] = pool.sources[flat]
    result.features[listed] = features.values[flat]
    result.inputs[listed] = ranked.inputs[flat]
    contributions = contributions_of(policy.ranker, ranked.inputs[flat])
    result.contributions[listed] = contributions
    result.scores[listed] = score_of(contributions)
    reasons = _reasons(inputs, pool, listed, flat, policy)
    result.reason_kinds[listed] = reasons.kinds
    result.reason_subjects[listed] = reasons.subjects
    result.pool_sizes[:] = np.diff(pool.indptr)
    return result


def _reasons(
    inputs: RankingInputs,
    pool: CandidatePool,
    listed: BoolArray,
    flat: LongArray,
    policy: _Policy,
) -> Reasons:
    indptr = np.concatenate([[0], np.cumsum(listed.sum(axis=1))]).astype(np.int64)
    evidence = Evidence(
        plays=inputs.plays,
        anchor_vectors=policy.anchor_vectors,
        anchor_similarity=policy.anchor_similarity,
        popular=policy.popular,
        presence=inputs.presence,
        friend_counts=inputs.friend_counts,
        item_genres=inputs.item_genres,
        user_genres=inputs.user_genres,
        trending=policy.trending,
        trending_in=inputs.trending_in,
        rising=policy.rising,
    )
    return explain(indptr, pool.items[flat], pool.sources[flat], evidence)


def _padded(users: int, k: int) -> RankedLists:
    return RankedLists(
        items=np.full((users, k), -1, np.int32),
        scores=np.zeros((users, k), np.float64),
        is_new=np.zeros((users, k), np.bool_),
        sources=np.zeros((users, k), np.uint8),
        features=np.full((users, k, len(FEATURES)), np.nan, np.float32),
        inputs=np.zeros((users, k, len(INPUTS)), np.float32),
        contributions=np.zeros((users, k, len(CONTRIBUTIONS)), np.float32),
        reason_kinds=np.zeros((users, k, MAX_REASONS), np.uint8),
        reason_subjects=np.full((users, k, MAX_REASONS), -1, np.int32),
        pool_sizes=np.zeros(users, np.int32),
        shortfall=np.zeros(users, np.int32),
        relaxed=np.zeros(users, np.int32),
        propensity=np.ones((users, k), np.float64),
        displaced=np.full(users, -1, np.int32),
        displaced_scores=np.zeros(users, np.float64),
    )
