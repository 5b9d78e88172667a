"""Clusters of similar items, and the clusters in which a user is at home.

They decide what counts as *new* to somebody (an item outside the home clusters) and how crowded a
pool is. Clusters are made from content vectors, so an item without plays has one too.
"""

from typing import Any

import numpy as np
from numba import njit
from sklearn.cluster import MiniBatchKMeans

from seda.recommender.arrays import Csr, FloatArray, IntArray, has_vector, sparse_rows

HOME_CLUSTERS = 3
"""Most clusters in which a user can be at home."""


def cluster_items(vectors: FloatArray, *, seed: int, projected_dim: int = 64) -> IntArray:
    """About sqrt(n) clusters of `vectors` `(n, d)`: labels int32 `(n,)`, -1 for a row of zeros.

    Directions, not lengths, are clustered. Vectors are first projected at random to
    `projected_dim` dimensions (Johnson-Lindenstrauss), which keeps 100k x 1536 within seconds.
    """
    labels = np.full(vectors.shape[0], -1, np.int32)
    present = np.flatnonzero(has_vector(vectors))
    if present.size == 0:
        return labels
    points = vectors
    if vectors.shape[1] > projected_dim:
        random = np.random.default_rng(seed)
        matrix = random.standard_normal((vectors.shape[1], projected_dim), dtype=np.float32)
        points = points @ matrix
    points = points[present].astype(np.float32, copy=False)
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    points = points / np.maximum(lengths, np.float32(1e-12))
    model = MiniBatchKMeans(
        n_clusters=max(1, round(float(np.sqrt(present.size)))),
        random_state=seed,
        batch_size=4096,
        n_init=1,
        max_iter=20,
    )
    labels[present] = model.fit_predict(points)
    return labels


def home_clusters(plays: Csr, labels: IntArray) -> IntArray:
    """The fewest clusters that cover half of a user's plays, three at most.

    `plays` CSR `(users, items)`, `labels` int32 `(items,)` with -1 for none. Returns int32
    `(users, 3)`, largest first (ties: lower label), padded with -1. Plays of unlabelled items do
    not count.
    """
    rows = sparse_rows(plays)
    homes = np.full((plays.shape[0], HOME_CLUSTERS), -1, np.int32)
    clusters = int(labels.max(initial=-1)) + 1
    if clusters:
        _home_clusters(rows.indptr, rows.indices, rows.data, labels, clusters, homes)
    return homes


@njit(cache=True, nogil=True)
def _home_clusters(
    indptr: Any, indices: Any, data: Any, labels: Any, clusters: int, homes: Any
) -> None:
    mass = np.zeros(clusters, np.float64)
    for user in range(indptr.shape[0] - 1):
        total = 0.0
        for position in range(indptr[user], indptr[user + 1]):
            label = labels[indices[position]]
            if label >= 0 and data[position] > 0:
                mass[label] += data[position]
                total += data[position]
        covered = 0.0
        for slot in range(homes.shape[1]):
            best = -1
            for position in range(indptr[user], indptr[user + 1]):
                label = labels[indices[position]]
                if label < 0 or mass[label] <= 0:
                    continue
                if (
                    best < 0
                    or mass[label] > mass[best]
                    or (mass[label] == mass[best] and label < best)
                ):
                    best = label
            if best < 0 or 2 * covered >= total:
                break
            homes[user, slot] = best
            covered += mass[best]
            mass[best] = 0.0
        for position in range(indptr[user], indptr[user + 1]):
            label = labels[indices[position]]
            if label >= 0:
                mass[label] = 0.0
