"""The whole recommender for one entity type and one shard of users, as one pure function.

`recommend` composes the stages (merge, features, rank, novelty, selection, reasons) over chunks of
users, so that memory stays flat however large the shard is. Item types differ only in their inputs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from seda.recommender.arrays import (
    BoolArray,
    ByteArray,
    Csr,
    DoubleArray,
    FloatArray,
    IntArray,
    LongArray,
)
from seda.recommender.candidates import (
    CandidateLists,
    CandidatePool,
    Source,
    merge_candidates,
    union,
)
from seda.recommender.cores import map_over_threads
from seda.recommender.diversity import SelectedLists, new_to_user, select
from seda.recommender.explain import MAX_REASONS, Evidence, Reasons, explain, unit_rows
from seda.recommender.features import FEATURES, FeatureTable, WeightedRows, build_features
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


@dataclass(frozen=True, eq=False, kw_only=True)
class RankingInputs:
    """Everything `recommend` may use; `U` users of the shard, `I` items of one entity type.

    All CSR matrices are `(U, I)` unless said otherwise. None means "not known": the feature is
    missing, the rule does not apply.
    """

    plays: Csr
    """Plays (or memberships) of the users; what is stored is known to them."""
    lists: Mapping[Source, CandidateLists] = field(default_factory=dict)
    """Candidates by source; a source may be absent."""
    pool: CandidatePool | None = None
    """The candidates, where they were merged before; `lists` and what is blocked are then in it."""
    block_known: bool = True
    """Whether stored entries of `plays` are kept out (false where coming back makes sense)."""
    blocked: Csr | None = None
    """Stored entries may not appear: suppressed, own, in another language."""
    taste: FloatArray | None = None
    """`(U, d)`, zeros for none."""
    item_vectors: npt.NDArray[np.floating[Any]] | None = None
    """`(I, d)` float32 or float16, zeros for none."""
    user_factors: FloatArray | None = None
    """`(U, f)`, zeros for none."""
    item_factors: FloatArray | None = None
    """`(I, f)`, zeros for none."""
    item_weights: Mapping[str, WeightedRows] = field(default_factory=dict)
    """By feature name: what the users hold, and its weights to items."""
    tag_taste: FloatArray | None = None
    """`(U, t)`, zeros for none."""
    tag_vectors: FloatArray | None = None
    """`(I, t)`, zeros for none."""
    medoids: IntArray | None = None
    """`(U, m)` items that stand for each user's tastes, from `content.medoids`."""
    profile_sizes: FloatArray | None = None
    """`(U,)` items known to each user."""
    social: Csr | None = None
    """`social.friend_taste`."""
    friend_counts: Csr | None = None
    """`candidates.friend_counts`."""
    presence: Csr | None = None
    """Friends present now."""
    presence_logs: Csr | None = None
    """Sums of `social.sighting_logs` of the friends present."""
    popularity: FloatArray | None = None
    """`(I,)`, damped (e.g. log of decayed plays); positive means heard at all."""
    recency: FloatArray | None = None
    """`(I,)`, larger is fresher."""
    item_genres: Csr | None = None
    """`(I, genres)`."""
    user_genres: Csr | None = None
    """`(U, genres)`."""
    clusters: IntArray | None = None
    """`(I,)` from `clusters.cluster_items`."""
    home_clusters: IntArray | None = None
    """`(U, 3)` from `clusters.home_clusters`."""
    shown_recently: Csr | None = None
    """Stored entries were shown by an earlier generation of the last 14 days."""
    duplicate_group: IntArray | None = None
    """`(I,)`, -1 for none."""
    privacy_flags: FloatArray | None = None
    """`(U,)`."""
    user_providers: FloatArray | None = None
    """`(U, providers)` affinities."""
    item_providers: FloatArray | None = None
    """`(I, providers)`, 1 where the item is available there."""

    def rows(self, start: int, stop: int) -> Self:
        """The same inputs for the users `start:stop` only."""
        per_user = {
            name: value[start:stop]
            for name in _PER_USER
            if (value := getattr(self, name)) is not None
        }
        lists = {
            source: CandidateLists(entry.items[start:stop], entry.scores[start:stop])
            for source, entry in self.lists.items()
        }
        weighted = {
            name: WeightedRows(entry.rows[start:stop], entry.weights)
            for name, entry in self.item_weights.items()
        }
        pool = None if self.pool is None else self.pool.rows(start, stop)
        return replace(self, lists=lists, item_weights=weighted, pool=pool, **per_user)

    def not_allowed(self) -> Csr | None:
        """What may not be listed: blocked, and known where coming back makes no sense."""
        if not self.block_known:
            return self.blocked
        return self.plays if self.blocked is None else union(self.plays, self.blocked)


_PER_USER = (
    "plays", "blocked", "taste", "user_factors", "social", "friend_counts", "presence",
    "user_genres", "home_clusters", "shown_recently", "privacy_flags", "user_providers",
    "tag_taste", "medoids", "profile_sizes", "presence_logs",
)  # fmt: skip


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
    contributions: DoubleArray
    """float64 `(U, k, len(CONTRIBUTIONS))`, `contributions_of` the inputs; `score_of` them is the
    score; pad 0."""
    reason_kinds: ByteArray
    """uint8 `(U, k, 3)` of `ReasonKind`, pad 0."""
    reason_subjects: IntArray
    """int32 `(U, k, 3)`, see `explain.Reasons`, pad -1."""
    pool_sizes: IntArray
    """int32 `(U,)`: candidates before selection."""
    shortfall: IntArray
    """int32 `(U,)`: new items that the quota wanted and the pool did not have."""


@dataclass(frozen=True, eq=False)
class _Anchoring:
    """What explanations need once per catalogue, not once per chunk."""

    vectors: FloatArray | None
    similarity: float
    popular: BoolArray = field(repr=False)


def recommend(
    inputs: RankingInputs, *, weights: Ranker, k: int = 50, threads: int | None = None
) -> RankedLists:
    """Ranks every user of the shard: k items each, with the evidence for every one.

    Deterministic, and the same for a user whatever other users are in the shard. Nothing known of
    a user, an empty catalogue or empty sources give shorter or empty lists, never NaN scores.
    `threads` None means every available core.
    """
    users = inputs.plays.shape[0]
    if inputs.item_vectors is not None:
        # The vectors are converted once here, not in every chunk.
        vectors = np.ascontiguousarray(inputs.item_vectors, np.float32)
        inputs = replace(inputs, item_vectors=vectors)
    anchoring = _anchoring(inputs)
    result = _padded(users, k)
    starts = range(0, users, CHUNK_USERS)

    def rank_chunk(start: int) -> None:
        stop = min(start + CHUNK_USERS, users)
        chunk = _recommend_chunk(inputs.rows(start, stop), weights, k, anchoring)
        for entry in fields(RankedLists):
            getattr(result, entry.name)[start:stop] = getattr(chunk, entry.name)

    map_over_threads(rank_chunk, starts, threads)
    return result


def _anchoring(inputs: RankingInputs) -> _Anchoring:
    popular = np.zeros(inputs.plays.shape[1], np.bool_)
    if inputs.popularity is not None and inputs.popularity.size:
        level = np.quantile(inputs.popularity, 1 - POPULAR_SHARE)
        popular = (inputs.popularity >= level) & (inputs.popularity > 0)
    if inputs.item_factors is not None:
        return _Anchoring(unit_rows(inputs.item_factors), FACTOR_ANCHOR_SIMILARITY, popular)
    if inputs.item_vectors is not None:
        return _Anchoring(unit_rows(inputs.item_vectors), CONTENT_ANCHOR_SIMILARITY, popular)
    return _Anchoring(None, 1.0, popular)


def _recommend_chunk(
    inputs: RankingInputs, weights: Ranker, k: int, anchoring: _Anchoring
) -> RankedLists:
    pool = inputs.pool or merge_candidates(
        inputs.lists, blocked=inputs.not_allowed(), users=inputs.plays.shape[0]
    )
    features = pool_features(inputs, pool)
    ranked = rank(features, weights)
    is_new = new_to_user(
        pool,
        plays=inputs.plays,
        shown_recently=inputs.shown_recently,
        clusters=inputs.clusters,
        homes=inputs.home_clusters,
    )
    selected = select(ranked.score, pool, is_new, k=k, duplicate_group=inputs.duplicate_group)
    return _assembled(inputs, features, ranked, is_new, selected, anchoring, weights)


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
    )


def _assembled(
    inputs: RankingInputs,
    features: FeatureTable,
    ranked: Ranked,
    is_new: BoolArray,
    selected: SelectedLists,
    anchoring: _Anchoring,
    weights: Ranker,
) -> RankedLists:
    pool = features.pool
    listed = selected.positions >= 0
    flat = selected.positions[listed]
    result = _padded(*selected.positions.shape)
    result.items[listed] = pool.items[flat]
    result.is_new[listed] = is_new[flat]
    result.sources[listed] = pool.sources[flat]
    result.features[listed] = features.values[flat]
    result.inputs[listed] = ranked.inputs[flat]
    result.contributions[listed] = contributions_of(weights, ranked.inputs[flat])
    result.scores[listed] = score_of(result.contributions[listed])
    reasons = _reasons(inputs, pool, listed, flat, anchoring)
    result.reason_kinds[listed] = reasons.kinds
    result.reason_subjects[listed] = reasons.subjects
    result.pool_sizes[:] = np.diff(pool.indptr)
    result.shortfall[:] = selected.shortfall
    return result


def _reasons(
    inputs: RankingInputs,
    pool: CandidatePool,
    listed: BoolArray,
    flat: LongArray,
    anchoring: _Anchoring,
) -> Reasons:
    indptr = np.concatenate([[0], np.cumsum(listed.sum(axis=1))]).astype(np.int64)
    evidence = Evidence(
        plays=inputs.plays,
        anchor_vectors=anchoring.vectors,
        anchor_similarity=anchoring.similarity,
        popular=anchoring.popular,
        presence=inputs.presence,
        friend_counts=inputs.friend_counts,
        item_genres=inputs.item_genres,
        user_genres=inputs.user_genres,
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
        contributions=np.zeros((users, k, len(CONTRIBUTIONS)), np.float64),
        reason_kinds=np.zeros((users, k, MAX_REASONS), np.uint8),
        reason_subjects=np.full((users, k, MAX_REASONS), -1, np.int32),
        pool_sizes=np.zeros(users, np.int32),
        shortfall=np.zeros(users, np.int32),
    )
