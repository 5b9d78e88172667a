"""A shadow's sample is stable; agreement tells the same from the unrelated; stand-ins stand in."""

import numpy as np
import pytest
from scipy import sparse

from seda.embeddings.shadow import agreement, in_sample
from seda.embeddings.stand_ins import genre_centroids, with_stand_ins

IDS = np.random.default_rng(1).integers(0, 256, (50_000, 16), dtype=np.uint8)


def _unit(rows: int, dim: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("share", [0.01, 0.02, 0.05])
def test_the_sample_has_its_share_and_a_larger_one_contains_it(share: float) -> None:
    chosen = in_sample(IDS, share)
    assert chosen.mean() == pytest.approx(share, rel=0.15)
    assert (chosen <= in_sample(IDS, 0.06)).all()
    assert (chosen[::-1] == in_sample(IDS[::-1], share)).all()


def test_a_rotated_space_agrees_and_an_unrelated_one_does_not() -> None:
    vectors = _unit(300, 32, seed=2)
    rotation, _ = np.linalg.qr(np.random.default_rng(3).standard_normal((32, 32)))
    same = agreement(vectors, vectors @ rotation.astype(np.float32))
    assert same.overlap == pytest.approx(1.0, abs=0.01)
    assert (same.correlation, same.drift) == pytest.approx((1.0, 0.0), abs=1e-3)
    other = agreement(vectors, _unit(300, 64, seed=4))
    assert other.overlap == pytest.approx(other.expected_overlap, abs=0.02)
    assert abs(other.correlation) < 0.05
    assert other.drift > 1


def test_too_few_to_have_neighbours_say_nothing() -> None:
    assert agreement(_unit(20, 8, 1), _unit(20, 8, 2), neighbours=10) is None
    assert agreement(_unit(21, 8, 1), _unit(21, 8, 2), neighbours=10) is not None


GENRES = sparse.csr_matrix(np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0.5, 0.5, 0], [0, 0, 1]]))


def test_a_missing_vector_is_stood_in_for_by_its_genres() -> None:
    vectors = np.zeros((5, 3), np.float16)
    vectors[0], vectors[1], vectors[2] = (1, 0, 0), (0.6, 0.8, 0), (0, 0, 1)
    filled = with_stand_ins(vectors, GENRES)
    np.testing.assert_array_equal(filled[:3], vectors[:3])
    centroids = genre_centroids(GENRES, vectors)
    expected = centroids[0] + centroids[1]
    np.testing.assert_allclose(filled[3], expected / np.linalg.norm(expected), atol=1e-3)
    # Nobody with its genre has a vector: there is nothing to stand in.
    assert not filled[4].any()
    assert not vectors[3].any()


def test_without_anything_missing_nothing_is_copied() -> None:
    vectors = _unit(5, 3, seed=1).astype(np.float16)
    assert with_stand_ins(vectors, GENRES) is vectors
    nothing = np.zeros((5, 3), np.float16)
    assert with_stand_ins(nothing, GENRES) is nothing
