"""Sketches order vectors almost as their cosines do, sparse ones too."""

import numpy as np
import pytest

from seda.embeddings.providers.local import LocalEmbedder
from seda.vectorstore.sketches import sketch_bits, sketch_query, sketches_of


def _unit(random: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    vectors = random.standard_normal((rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _distances(query: np.ndarray, sketches: np.ndarray) -> np.ndarray:
    bits = np.unpackbits(sketches, axis=1)
    planes = sketch_query(query).planes
    return sum(
        (1 << place) * (bits != np.array(list(plane), np.uint8)).sum(axis=1)
        for place, plane in enumerate(planes)
    )


@pytest.mark.parametrize("dim", [48, 384, 1536])
def test_the_estimated_cosine_is_right_within_its_noise(dim: int) -> None:
    random = np.random.default_rng(dim)
    vectors = _unit(random, 2000, dim)
    query = vectors[0] * 0.6 + _unit(random, 1, dim)[0] * 0.8
    query /= np.linalg.norm(query)
    sketch = sketch_query(query)
    estimated = np.array([sketch.cosine(d) for d in _distances(query, sketches_of(vectors))])
    errors = estimated - vectors @ query
    assert abs(errors.mean()) < 0.01
    assert errors.std() == pytest.approx(sketch.noise, rel=0.25)
    assert sketch.distance(sketch.cosine(1234.0)) == pytest.approx(1234.0)


def test_sparse_vectors_are_sketched_as_well_as_dense_ones() -> None:
    texts = [f"artist {n}. genre {n % 40}, genre {n % 7}" for n in range(1500)]
    vectors = LocalEmbedder().embed(texts)
    query = vectors[7]
    shortlist = np.argsort(_distances(query, sketches_of(vectors)))[:200]
    best = np.argsort(-(vectors @ query))[:20]
    assert len(set(best) & set(shortlist)) >= 19


def test_the_number_of_bits_is_a_power_of_two_and_at_least_1024() -> None:
    assert [sketch_bits(dim) for dim in (1, 384, 1024, 1025, 1536)] == [
        1024,
        1024,
        1024,
        2048,
        2048,
    ]
    assert sketches_of(np.eye(3, 1536, dtype=np.float32)).shape == (3, 256)
