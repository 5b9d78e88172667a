"""The one feature schema: what is known of a (user, candidate) pair when it is ranked.

Batch, delta, learning and explanation all read this table, in this order, so a stored score can be
recomputed from stored features. Values are raw, in the units given below; NaN means "not known",
which is not zero. Calibration and weights come later.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from seda.recommender.arrays import (
    Csr,
    FloatArray,
    IntArray,
    has_vector,
    sparse_rows,
    values_at,
)
from seda.recommender.candidates import CandidatePool
from seda.recommender.models.item_weights import weighted_at
from seda.recommender.nearest import gathered_products
from seda.recommender.signals.content import nearest_medoid
from seda.recommender.signals.social import saturated_presence
from seda.recommender.terms import FEATURES


def column(name: str) -> int:
    """Position of a feature in the table; ValueError for an unknown name."""
    return FEATURES.index(name)


@dataclass(frozen=True, eq=False)
class WeightedRows:
    """What users hold, CSR `(users, sources)`, and its weights to items, CSR `(sources, items)`."""

    rows: Csr
    weights: Csr


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """`values` float32 `(nnz, len(FEATURES))`, row p describing position p of `pool`."""

    pool: CandidatePool
    values: FloatArray

    def __getitem__(self, name: str) -> FloatArray:
        return self.values[:, column(name)]


def build_features(
    pool: CandidatePool,
    *,
    taste: FloatArray | None = None,
    item_vectors: FloatArray | None = None,
    user_factors: FloatArray | None = None,
    item_factors: FloatArray | None = None,
    social: Csr | None = None,
    presence: Csr | None = None,
    popularity: FloatArray | None = None,
    recency: FloatArray | None = None,
    clusters: IntArray | None = None,
    privacy_flags: FloatArray | None = None,
    user_providers: FloatArray | None = None,
    item_providers: FloatArray | None = None,
    item_weights: Mapping[str, WeightedRows] | None = None,
    tag_taste: FloatArray | None = None,
    tag_vectors: FloatArray | None = None,
    medoids: IntArray | None = None,
    presence_logs: Csr | None = None,
    profile_sizes: FloatArray | None = None,
    ignored: Csr | None = None,
    response_rates: FloatArray | None = None,
) -> FeatureTable:
    """Features of every pool position; any input that is None leaves its column NaN.

    `taste` `(users, d)`, `item_vectors` `(items, d)`, `user_factors` `(users, f)`, `item_factors`
    `(items, f)`: a row of zeros on either side means "no vector", NaN. `social` and `presence`
    CSR `(users, items)`: absent is a true zero. `popularity`, `recency` `(items,)`, `clusters`
    int32 `(items,)`, `privacy_flags` `(users,)`, `*_providers` `(users or items, providers)`.
    `item_weights` by feature name (`ease_score` …); `tag_taste` `(users, t)`,
    `tag_vectors` `(items, t)`, `medoids` int32 `(users, m)` items; `presence_logs` CSR
    `(users, items)`, sums of log(1 - attention), else every friend present has the same;
    `profile_sizes` `(users,)` known items; `ignored` CSR `(users, items)` of impressions in vain;
    `response_rates` `(items,)`.
    """
    # Column by column in memory: that is how it is filled, and how signals are calibrated.
    values = np.full((len(FEATURES), pool.items.size), np.nan, np.float32).T
    table = FeatureTable(pool, values)
    table["embedding_similarity"][:] = _similarity(pool, taste, item_vectors)
    table["collaborative_score"][:] = _similarity(pool, user_factors, item_factors)
    for name, matrix in (
        ("social_score", social),
        ("friend_presence_count", presence),
        ("ignored_impressions", ignored),
    ):
        if matrix is not None:
            table[name][:] = values_at(sparse_rows(matrix), pool.indptr, pool.items)
    for name, per_item in (
        ("popularity", popularity),
        ("recency_score", recency),
        ("response_rate", response_rates),
    ):
        if per_item is not None:
            table[name][:] = per_item[pool.items]
    for name, weighted in (item_weights or {}).items():
        table[name][:] = weighted_at(weighted.rows, weighted.weights, pool.indptr, pool.items)
    table["tag_similarity"][:] = _similarity(pool, tag_taste, tag_vectors)
    if medoids is not None and tag_vectors is not None:
        nearest = nearest_medoid(medoids, tag_vectors, pool.indptr, pool.items)
        table["medoid_similarity"][:] = nearest
    if presence is not None:
        table["presence"][:] = saturated_presence(
            table["friend_presence_count"],
            None if presence_logs is None
            else values_at(sparse_rows(presence_logs), pool.indptr, pool.items),
        )  # fmt: skip
    if profile_sizes is not None:
        table["profile_size"][:] = np.log1p(profile_sizes)[pool.owners]
    if clusters is not None:
        table["diversity_penalty"][:] = _crowding(pool, clusters)
    if privacy_flags is not None:
        table["user_privacy_flags"][:] = privacy_flags[pool.owners]
    if user_providers is not None and item_providers is not None and user_providers.shape[1]:
        affinity = user_providers[pool.owners] * item_providers[pool.items]
        table["provider_affinity"][:] = affinity.max(axis=1)
    return table


def _similarity(
    pool: CandidatePool, users: FloatArray | None, items: FloatArray | None
) -> FloatArray:
    if users is None or items is None:
        return np.full(pool.items.shape[0], np.nan, np.float32)
    products = gathered_products(users, items, pool.indptr, pool.items)
    missing = ~has_vector(users)[pool.owners] | ~has_vector(items)[pool.items]
    products[missing] = np.nan
    return products


def _crowding(pool: CandidatePool, clusters: IntArray) -> FloatArray:
    """The share of the user's pool that is in the item's cluster; NaN for an item of none."""
    shares = np.full(pool.items.shape[0], np.nan, np.float32)
    counts = np.zeros(int(clusters.max(initial=-1)) + 1, np.int64)
    _share_clusters(pool.indptr, pool.items, clusters, counts, shares)
    return shares


@njit(cache=True, nogil=True)
def _share_clusters(indptr: Any, items: Any, clusters: Any, counts: Any, shares: Any) -> None:
    for user in range(indptr.shape[0] - 1):
        start, stop = indptr[user], indptr[user + 1]
        for position in range(start, stop):
            label = clusters[items[position]]
            if label >= 0:
                counts[label] += 1
        for position in range(start, stop):
            label = clusters[items[position]]
            if label >= 0:
                shares[position] = counts[label] / (stop - start)
        for position in range(start, stop):
            label = clusters[items[position]]
            if label >= 0:
                counts[label] = 0
