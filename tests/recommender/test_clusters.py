"""Clusters of items and home clusters of users."""

import numpy as np
import scipy.sparse as sp

from seda.recommender.clusters import cluster_items, home_clusters


def test_separate_directions_are_separate_clusters():
    random = np.random.default_rng(0)
    centres = random.standard_normal((4, 200)).astype(np.float32)
    truth = np.arange(16) % 4
    vectors = centres[truth] + 0.01 * random.standard_normal((16, 200), dtype=np.float32)
    labels = cluster_items(vectors, seed=1)
    assert labels.dtype == np.int32
    assert len({tuple(labels[truth == t]) for t in range(4)}) == 4
    assert all(np.unique(labels[truth == t]).size == 1 for t in range(4))


def test_about_the_square_root_of_the_items_and_the_seed_decides():
    vectors = np.random.default_rng(0).standard_normal((900, 100), dtype=np.float32)
    labels = cluster_items(vectors, seed=1)
    assert 20 <= np.unique(labels).size <= 30
    np.testing.assert_array_equal(labels, cluster_items(vectors, seed=1))


def test_stored_half_precision_is_clustered_like_single():
    vectors = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float16)
    labels = cluster_items(vectors.astype(np.float32), seed=1)
    np.testing.assert_array_equal(cluster_items(vectors, seed=1), labels)


def test_items_without_a_vector_have_no_cluster():
    vectors = np.ones((3, 5), np.float32)
    vectors[1] = 0
    assert (cluster_items(vectors, seed=0) < 0).tolist() == [False, True, False]
    assert (cluster_items(np.zeros((3, 5), np.float32), seed=0) == -1).all()
    assert cluster_items(np.zeros((0, 5), np.float32), seed=0).size == 0


def test_home_is_the_fewest_clusters_that_cover_half_of_the_plays():
    labels = np.array([0, 0, 1, 2, 3, -1], np.int32)
    plays = sp.csr_matrix(
        [
            [3, 3, 4, 1, 1, 99],  # cluster 0 holds 6 of 12: half
            [1, 1, 3, 2, 1, 0],  # 3 of 8, then 2 each in 0 and 2: the lower label covers half
            [0, 0, 0, 0, 0, 5],  # only an unlabelled item
            [0, 0, 0, 0, 0, 0],
        ]
    )
    assert home_clusters(plays, labels).tolist() == [
        [0, -1, -1], [1, 0, -1], [-1, -1, -1], [-1, -1, -1],
    ]  # fmt: skip


def test_three_homes_at_most():
    homes = home_clusters(sp.csr_matrix(np.ones((1, 10))), np.arange(10, dtype=np.int32))
    assert homes.tolist() == [[0, 1, 2]]
