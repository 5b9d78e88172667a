"""Taste vectors: a person is the weighted mean of what they listen to, never a text.

The affinities (how much, how recently, through which kind of entity) are decided by the caller;
this module only averages, so a person's vector is in the space of the item vectors.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from seda.errors import SedaError

# Dimensions are worked through in slabs, so that half-precision vectors never have to be
# expanded as a whole: 128 dimensions of 200,000 items are 100 MB.
SLAB: Final = 128
# Below this share of the length that vectors in full agreement would reach, the sum is rounding.
CANCELLED: Final = 1e-5


class TasteShapeError(SedaError):
    """Affinities and item vectors do not describe the same items."""


def taste_vectors(
    affinity: sparse.csr_matrix | sparse.csr_array,
    item_vectors: NDArray[np.float16] | NDArray[np.float32],
) -> NDArray[np.float32]:
    """The affinity-weighted mean direction of each user's items.

    `affinity` is (users, items), any real type, zero or absent where there is nothing;
    `item_vectors` holds unit vectors, (items, dim) float16 or float32. Returns (users, dim)
    float32 of unit norm; the row is zero for a user who has nothing or whose items cancel out.
    Rocchio (1971) with positive examples; a negative affinity pushes away.

    Raises:
        TasteShapeError: the two are not over the same number of items.
    """
    users, items = affinity.shape
    if len(item_vectors) != items:
        raise TasteShapeError(
            f"The affinities are over {items} items but there are {len(item_vectors)} item "
            "vectors; build both from the same catalogue positions."
        )
    weights: Any = affinity.astype(np.float32)
    taste = np.empty((users, item_vectors.shape[1]), np.float32)
    for start in range(0, taste.shape[1], SLAB):
        slab = np.ascontiguousarray(item_vectors[:, start : start + SLAB], dtype=np.float32)
        taste[:, start : start + SLAB] = weights @ slab
    lengths = np.sqrt(np.einsum("ij,ij->i", taste, taste, dtype=np.float64))
    reachable = np.asarray(abs(weights).sum(axis=1), dtype=np.float64).ravel()
    scale = np.zeros(users, np.float64)
    np.divide(1.0, lengths, out=scale, where=lengths > CANCELLED * reachable)
    taste *= scale.astype(np.float32)[:, None]
    return taste
