"""The local embedder: the same bits everywhere, unit norm, similar texts near each other."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seda.embeddings.providers.local import BLOCK, LocalEmbedder
from seda.embeddings.service import EmbeddingsService
from seda.embeddings.texts import artist_text

TEXTS = [
    "",
    "Radiohead. alternative, alternative, rock",
    "Björk. art pop, electronic",
    "ﾊﾝｶｸ ｶﾅ. ＪＡＺＺ",
    "坂本龍一。アンビエント、ピアノ",
    "हिन्दी संगीत. bollywood",
    "!!!",
    "Ünïcode ẞharp 👩‍🎤 İstanbul",
]
# A change here changes every stored vector: raise VERSION, which makes a new space.
GOLDEN = {
    1536: "8700508b90c31e3f82a03e4beb4f6bf9e4736aa503d00e13a1d5684fb2f60952",
    64: "28cc188eeee98b04a3f1c5e50b1f661223866ca582697b3eb8a1706c6750d8ec",
}
ONE_PROCESS = f"""
import hashlib
from seda.embeddings.providers.local import LocalEmbedder
print(hashlib.sha256(LocalEmbedder().embed({TEXTS!r}).astype('<f4').tobytes()).hexdigest())
"""


@pytest.mark.parametrize("dim", GOLDEN)
def test_the_bits_are_the_golden_ones(dim: int) -> None:
    vectors = LocalEmbedder(dim).embed(TEXTS)
    assert hashlib.sha256(vectors.astype("<f4").tobytes()).hexdigest() == GOLDEN[dim]


@pytest.mark.parametrize(
    "variables",
    [
        {"OPENBLAS_NUM_THREADS": "1"},
        {"OPENBLAS_NUM_THREADS": "2"},
        {"OPENBLAS_CORETYPE": "Haswell"},
        {"NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512_SKX X86_V4"},
        {"PYTHONHASHSEED": "7"},
    ],
    ids=lambda variables: ",".join(f"{name}={value}" for name, value in variables.items()),
)
def test_threads_kernels_and_hash_seeds_do_not_change_a_bit(variables: dict[str, str]) -> None:
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ONE_PROCESS],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == GOLDEN[1536]


def test_it_is_an_embeddings_service_of_its_region() -> None:
    service: EmbeddingsService = LocalEmbedder(region="eu")
    assert service.space.id == "local:hashed-words:1536:1:eu"


def test_similar_texts_are_nearer_than_different_ones() -> None:
    techno, house, typo, folk = LocalEmbedder().embed(
        [
            artist_text("Jeff Mills", {"techno": 10, "detroit techno": 6}),
            artist_text("Robert Hood", {"techno": 8, "minimal": 5}),
            artist_text("Jef Mils", {"tecno": 10, "detroid techno": 6}),
            artist_text("Nick Drake", {"folk": 10, "singer songwriter": 5}),
        ]
    )
    assert techno @ typo > techno @ folk + 0.3
    assert techno @ house > techno @ folk + 0.3


def test_tags_outweigh_names() -> None:
    same_tags, same_name, both = LocalEmbedder().embed(
        [
            artist_text("Aphex Twin", {"ambient": 3, "idm": 2}),
            artist_text("Autechre", {"polka": 3, "brass": 2}),
            artist_text("Autechre", {"ambient": 3, "idm": 2}),
        ]
    )
    assert both @ same_tags > both @ same_name


def test_a_heavier_tag_pulls_harder() -> None:
    rock, mostly_rock, mostly_jazz = LocalEmbedder().embed(
        ["rock", "rock, rock, rock, jazz", "rock, jazz, jazz, jazz"]
    )
    assert rock @ mostly_rock > rock @ mostly_jazz


def test_case_width_and_composition_do_not_matter() -> None:
    vectors = LocalEmbedder().embed(["Café JAZZ", "cafe\u0301 jazz", "Ｃａｆé Ｊａｚｚ"])
    assert (vectors == vectors[0]).all()


def test_no_texts_give_no_rows_and_no_text_gives_one_fixed_direction() -> None:
    embedder = LocalEmbedder()
    assert embedder.embed([]).shape == (0, 1536)
    empty, blank, other = embedder.embed(["", " \n ", "rock"])
    assert (empty == blank).all()
    assert abs(empty @ other) < 0.5


def test_a_text_embeds_alike_alone_and_across_blocks() -> None:
    embedder = LocalEmbedder(64)
    texts = [f"artist {n}. rock, genre {n % 7}" for n in range(BLOCK + 3)]
    together = embedder.embed(texts)
    for position in (0, BLOCK - 1, BLOCK, BLOCK + 2):
        assert (together[position] == embedder.embed([texts[position]])[0]).all()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(), max_size=5), st.sampled_from([1, 3, 64, 1536]))
def test_any_text_has_a_finite_unit_vector(texts: list[str], dim: int) -> None:
    vectors = LocalEmbedder(dim).embed(texts)
    assert vectors.shape == (len(texts), dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors.astype(np.float64), axis=1), 1, atol=2e-7)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=5), st.randoms())
def test_the_order_of_texts_does_not_matter(texts: list[str], random) -> None:
    shuffled = random.sample(texts, len(texts))
    vectors = dict(zip(shuffled, LocalEmbedder(64).embed(shuffled), strict=True))
    for text, vector in zip(texts, LocalEmbedder(64).embed(texts), strict=True):
        assert (vectors[text] == vector).all()
