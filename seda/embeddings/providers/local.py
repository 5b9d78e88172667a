"""The deterministic local embedder: no key, no network, no model file.

A text is a bag of phrases, a phrase is a bag of words, word pairs and character trigrams, and
each of these tokens is hashed to eight signed dimensions (feature hashing, Weinberger et al.
2009). Everything is added up in integers and only then scaled with one square root and one
division, which IEEE 754 rounds the same everywhere, so the bits depend on nothing but the text.
"""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from math import isqrt
from typing import Final, Generic

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from seda.embeddings.providers.provider import Embedded, Limits
from seda.embeddings.regional_texts import ForeignTextError, TextsT
from seda.embeddings.spaces import EmbeddingSpace

# Any change of the vectors needs a new version, because it makes a new space.
VERSION: Final = "1"
WORD_WEIGHT: Final = 2
PAIR_WEIGHT: Final = 2
TRIGRAM_WEIGHT: Final = 1
SLOTS_PER_TOKEN: Final = 8
# 1,024 rows of 1,536 dimensions are 6 MB as integers and 12 MB while they are divided.
BLOCK: Final = 1024

_PHRASE_END: Final = re.compile(r"[.,;:!?\r\n\u3001\u3002]+")
# Words are what stands between spaces and punctuation. Naming the separators (not the letters)
# keeps combining marks inside words and does not depend on the interpreter's Unicode tables.
_WORD: Final = re.compile(r"[^\s!-/:-@\[-`{-~\u2010-\u206f\u3000-\u303f]+")
# Stands for a text without any token, so that an empty text has a direction too.
_NOTHING: Final = "nothing:"


class LocalEmbedder:
    """Vectors that are the same bits on every machine.

    Similar texts share tokens and so get similar vectors. A phrase that is repeated weighs more,
    with the square root of its count, so that five mentions do not drown everything else.
    """

    def __init__(self, dim: int = 1536, *, region: str = "global") -> None:
        self.space = EmbeddingSpace("local", "hashed-words", dim, VERSION, region)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors `(len(texts), dim)` float32; a text without any token gets a fixed one.

        Works in blocks of texts: beyond the result it needs a few ten MB for any number of texts.
        """
        vectors = np.empty((len(texts), self.space.dim), np.float32)
        for start in range(0, len(texts), BLOCK):
            block = texts[start : start + BLOCK]
            vectors[start : start + len(block)] = _unit_rows(_sums(block, self.space.dim))
        return vectors


class LocalProvider(Generic[TextsT]):
    """The local embedder as a provider of one region: free, unlimited, never out."""

    name = "local"
    limits = Limits(in_process=True)
    usd_per_million_tokens = Decimal(0)

    def __init__(self, embedder: LocalEmbedder) -> None:
        self._embedder = embedder
        self.space = embedder.space

    async def embed(self, texts: TextsT) -> Embedded:
        """Computed here and now."""
        if texts.region != self.space.region:
            raise ForeignTextError(f"{self.space.id} was given texts of {texts.region}.")
        return Embedded(self._embedder.embed(texts.texts), tokens=0)

    async def close(self) -> None:
        """There is nothing to let go of."""


def _sums(texts: Sequence[str], dim: int) -> NDArray[np.int32]:
    """Unscaled vectors `(texts, dim)` int32: damped phrase counts × phrases × token hashes.

    Sparse integer products are exact and involve no BLAS. An entry stays far below 2³¹: it would
    take ten million distinct tokens in one text to get there.
    """
    phrases: dict[str, int] = {}
    damped, phrase_ids, text_ends = [], [], [0]
    for text in texts:
        counts: dict[str, int] = {}
        for phrase in _phrases(text):
            counts[phrase] = counts.get(phrase, 0) + 1
        for phrase, count in counts.items():
            phrase_ids.append(phrases.setdefault(phrase, len(phrases)))
            damped.append(isqrt(16 * min(count, 256)))
        text_ends.append(len(phrase_ids))
    by_phrase = _csr(damped, phrase_ids, text_ends, len(phrases))
    return (by_phrase @ _phrase_matrix(list(phrases), dim)).toarray()


def _phrase_matrix(phrases: Sequence[str], dim: int) -> sparse.csr_matrix:
    """Signed token weights `(phrases, dim)` int32."""
    tokens: dict[str, int] = {}
    weights, token_ids, phrase_ends = [], [], [0]
    for phrase in phrases:
        for token, weight in _tokens(phrase):
            token_ids.append(tokens.setdefault(token, len(tokens)))
            weights.append(weight)
        phrase_ends.append(len(token_ids))
    by_token = _csr(weights, token_ids, phrase_ends, len(tokens))
    return by_token @ _hash_matrix(list(tokens), dim)


def _hash_matrix(tokens: Sequence[str], dim: int) -> sparse.csr_matrix:
    """Eight entries of ±1 per token `(tokens, dim)` int32; colliding ones add up."""
    digests = b"".join([_digest(token) for token in tokens])
    words = np.frombuffer(digests, dtype="<u4")
    columns = ((words >> 1) % dim).astype(np.int32)
    signs = np.where(words & 1, 1, -1).astype(np.int32)
    ends = np.arange(0, len(words) + 1, SLOTS_PER_TOKEN, dtype=np.int32)
    return sparse.csr_matrix((signs, columns, ends), shape=(len(tokens), dim))


def _unit_rows(sums: NDArray[np.int32]) -> NDArray[np.float32]:
    """Rows `(n, dim)` int32 divided by their exact length, as float32."""
    empty = ~sums.any(axis=1)
    if empty.any():
        # A text of nothing, or (never seen) one whose tokens cancel out to the last dimension.
        sums[empty] = _hash_matrix([_NOTHING], sums.shape[1]).toarray()
    squares = np.einsum("ij,ij->i", sums, sums, dtype=np.int64)
    lengths = np.sqrt(squares.astype(np.float64))
    return (sums / lengths[:, None]).astype(np.float32)


@lru_cache(maxsize=1 << 17)
def _digest(token: str) -> bytes:
    """Eight little-endian 32-bit words: the lowest bit is the sign, the others the dimension."""
    return hashlib.blake2b(
        token.encode("utf-8", "surrogatepass"), digest_size=4 * SLOTS_PER_TOKEN
    ).digest()


@lru_cache(maxsize=1 << 15)
def _tokens(phrase: str) -> tuple[tuple[str, int], ...]:
    """The tokens of a phrase with their weights; repeated ones stand repeatedly."""
    words = _WORD.findall(phrase) or phrase.split()
    found = [(f"word:{word}", WORD_WEIGHT) for word in words]
    found += [(f"pair:{left} {right}", PAIR_WEIGHT) for left, right in pairwise(words)]
    for word in words:
        padded = f"^{word}$"
        found += [(f"tri:{padded[i : i + 3]}", TRIGRAM_WEIGHT) for i in range(len(padded) - 2)]
    return tuple(found)


def _phrases(text: str) -> list[str]:
    """Normalised phrases of a text (NFKC, lower case); punctuation alone counts as a phrase."""
    if text.isascii():
        text = text.lower()
    else:
        # Lower-casing can leave a sequence that NFKC would compose, hence twice.
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    phrases = [phrase.strip() for phrase in _PHRASE_END.split(text)]
    return [phrase for phrase in phrases if phrase] or text.split()


def _csr(
    values: Sequence[int], columns: Sequence[int], ends: Sequence[int], width: int
) -> sparse.csr_matrix:
    """A sparse int32 matrix from its three lists, with `len(ends) - 1` rows."""
    data, indices, indptr = (np.asarray(part, np.int32) for part in (values, columns, ends))
    return sparse.csr_matrix((data, indices, indptr), shape=(len(ends) - 1, width))
