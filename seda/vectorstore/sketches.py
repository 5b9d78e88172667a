"""Sketches: one bit per rotated dimension of a vector, and a query cut into planes to read them.

A vector is padded, rotated by two rounds of random signs and a Hadamard transform, and only the
signs are kept. A query is rotated likewise, but keeps two bits per dimension, as bit planes; the
planes' Hamming distances to a sketch, weighted 2 and 1, order vectors almost as their cosines do
(RaBitQ: Gao & Long, SIGMOD 2024). Pure: where sketches are stored is not decided here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import pi, sqrt
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.linalg import hadamard

SEED: Final = 20_261_103
# Fewer bits than this tell short vectors apart too badly.
MIN_BITS: Final = 1024
PLANES: Final = 2
# A query's dimensions are cut at this many standard deviations, then rounded to four levels.
CLIP: Final = 2.0
# Standard deviation of an estimated cosine, times the root of the number of bits; measured.
NOISE: Final = 0.9
# Rounding a query to four levels shortens it a little; measured.
_LENGTHENING: Final = 1.02
_BLOCK: Final = 4096


def sketch_bits(dim: int) -> int:
    """Bits of the sketch of a vector of `dim` dimensions: a power of two, 1,024 at least."""
    return max(MIN_BITS, 1 << (dim - 1).bit_length())


def sketches_of(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Sketches `(n, bits / 8)` uint8 of vectors `(n, dim)`; the same on every machine but for
    dimensions that are zero up to rounding."""
    packed = np.empty((len(vectors), sketch_bits(vectors.shape[1]) // 8), np.uint8)
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        packed[start : start + _BLOCK] = np.packbits(_rotated(block) > 0, axis=1)
    return packed


@dataclass(frozen=True)
class SketchQuery:
    """A query's bit planes as texts of 0 and 1, the heaviest last (weights 1, 2, …)."""

    planes: Sequence[str]
    bits: int

    def cosine(self, distance: float) -> float:
        """The estimated cosine of a vector at this weighted Hamming distance from the planes."""
        return self._scale * (1 - distance / self._half)

    def distance(self, cosine: float) -> float:
        """The weighted Hamming distance at which `cosine` is the estimate."""
        return self._half * (1 - cosine / self._scale)

    @property
    def noise(self) -> float:
        """Standard deviation of an estimated cosine."""
        return NOISE / sqrt(self.bits)

    @property
    def _half(self) -> float:
        """The distance of a vector at a right angle."""
        return self.bits * ((1 << PLANES) - 1) / 2

    @property
    def _scale(self) -> float:
        return CLIP * sqrt(pi / 2) * _LENGTHENING


def sketch_query(vector: npt.NDArray[np.floating]) -> SketchQuery:
    """The planes of one query vector `(dim,)`."""
    rotated = _rotated(vector[None])[0]
    levels = (1 << PLANES) - 1
    reach = CLIP * float(np.sqrt(np.mean(rotated**2)))
    cut = np.clip(np.rint((rotated + reach) * (levels / (2 * reach))), 0, levels).astype(np.uint8)
    planes = ["".join(map(str, ((cut >> plane) & 1).tolist())) for plane in range(PLANES)]
    return SketchQuery(planes, len(rotated))


def _rotated(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Vectors `(n, dim)` padded and rotated, `(n, bits)` float32, their lengths unchanged.

    A Hadamard matrix of a product of sizes is the Kronecker product of two: two small products
    instead of one large.
    """
    bits = sketch_bits(vectors.shape[1])
    signs, left, right = _rotation(bits)
    rotated = np.zeros((len(vectors), bits), np.float32)
    rotated[:, : vectors.shape[1]] = vectors
    for sign in signs:
        rotated *= sign
        rotated = np.matmul(left @ rotated.reshape(-1, len(left), len(right)), right)
        rotated = rotated.reshape(-1, bits)
    return rotated


@lru_cache(maxsize=4)
def _rotation(
    bits: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Signs `(2, bits)` and two orthogonal Hadamard matrices whose sizes multiply to `bits`.

    Of raw PCG64 output, which numpy promises never to change.
    """
    words = np.random.PCG64(SEED).random_raw(2 * bits)
    signs = np.where(words >> np.uint64(63), np.float32(1), np.float32(-1)).reshape(2, bits)
    small = 1 << (bits.bit_length() - 1) // 2
    return signs, _hadamard(small), _hadamard(bits // small)


def _hadamard(size: int) -> npt.NDArray[np.float32]:
    """An orthogonal matrix `(size, size)` of equal absolute values."""
    matrix: npt.NDArray[np.float32] = (hadamard(size) / np.sqrt(size)).astype(np.float32)
    return matrix
