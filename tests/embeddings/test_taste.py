"""Taste vectors: weighted means of unit norm, zero where there is nothing to average."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from seda.embeddings.taste import SLAB, TasteShapeError, taste_vectors

AXES = np.eye(3, dtype=np.float32)


def test_a_taste_is_the_weighted_mean_direction() -> None:
    affinity = sparse.csr_matrix(np.array([[3.0, 4.0, 0.0], [0.0, 0.0, 2.0]]))
    np.testing.assert_allclose(
        taste_vectors(affinity, AXES), [[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]], atol=1e-7
    )


def test_nothing_listened_to_and_cancelled_tastes_are_zero_rows() -> None:
    vectors = np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32)
    affinity = sparse.csr_matrix(np.array([[0.0, 0.0], [0.3, 0.3]]))
    assert not taste_vectors(affinity, vectors).any()


def test_nobody_and_an_empty_catalogue_are_fine() -> None:
    assert taste_vectors(sparse.csr_matrix((0, 3)), AXES).shape == (0, 3)
    assert not taste_vectors(sparse.csr_matrix((2, 0)), np.empty((0, 4), np.float32)).any()


def test_two_different_catalogues_are_refused() -> None:
    with pytest.raises(TasteShapeError, match="over 2 items but there are 3"):
        taste_vectors(sparse.csr_matrix((1, 2)), AXES)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, SLAB - 1, SLAB, 2 * SLAB + 5]),
    st.sampled_from([np.float16, np.float32]),
)
def test_it_agrees_with_the_plain_formula(seed: int, dim: int, dtype: type) -> None:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(40, dim)).astype(dtype)
    affinity = sparse.random(9, 40, density=0.2, random_state=random, format="csr")
    taste = taste_vectors(affinity, vectors)
    plain = affinity.toarray() @ vectors.astype(np.float64)
    known = affinity.toarray().any(axis=1)
    plain[known] /= np.linalg.norm(plain[known], axis=1, keepdims=True)
    assert taste.dtype == np.float32
    np.testing.assert_allclose(taste, plain, atol=2e-4)
    np.testing.assert_allclose(np.linalg.norm(taste[known], axis=1), 1, atol=1e-6)
    assert not taste[~known].any()
