"""Shadow writes: which entities are sampled, and how far two spaces agree on them (EMB-8).

Vectors of two spaces are never compared with each other: each space ranks the sample's neighbours
by itself, and the rankings and the similarities are compared.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seda.database.identifiers import Ids

SMALLEST_SHARE, LARGEST_SHARE = 0.01, 0.05
# All pairs of the sample are compared: 2,000 are four million.
LARGEST_SAMPLE = 2000


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two spaces see the same entities; means over the sample."""

    entities: int
    neighbours: int
    overlap: float
    """Recall@k: the share of an entity's k nearest in the one that are among its k in the other."""
    expected_overlap: float
    """What two unrelated rankings would have."""
    correlation: float
    """Pearson's, of the similarities of all pairs."""
    drift: float
    """Mean absolute difference of those similarities, each in its standard deviations."""


def in_sample(ids: Ids, share: float) -> npt.NDArray[np.bool_]:
    """Whether each entity `(n, 16) uint8` is in the stable sample of about `share`, `(n,)` bool.

    A larger share contains every smaller one.
    """
    words = np.ascontiguousarray(ids).view("<u8").reshape(-1, 2)
    mixed = (words[:, 0] ^ np.uint64(0x5EDA)) * np.uint64(0x9E37_79B9_7F4A_7C15) ^ words[:, 1]
    mixed = mixed * np.uint64(0xBF58_476D_1CE4_E5B9)
    return (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53 < share


def agreement(
    active: npt.NDArray[np.floating], shadow: npt.NDArray[np.floating], neighbours: int = 10
) -> Agreement | None:
    """Compare unit vectors of the same entities, `(n, dim)` and `(n, other dim)`.

    None where there are too few to have k neighbours and others beside.
    """
    entities = len(active)
    if entities < 2 * neighbours + 1:
        return None
    first, second = (_similarities(vectors) for vectors in (active, shadow))
    pairs = np.triu_indices(entities, 1)
    one, other = (_standardised(each[pairs]) for each in (first, second))
    return Agreement(
        entities=entities,
        neighbours=neighbours,
        overlap=_overlap(first, second, neighbours),
        expected_overlap=neighbours / (entities - 1),
        correlation=float(np.mean(one * other)),
        drift=float(np.mean(np.abs(one - other))),
    )


def _similarities(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    full = vectors.astype(np.float32)
    return full @ full.T


def _standardised(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    wide = values.astype(np.float64)
    deviation = wide.std()
    return (wide - wide.mean()) / (deviation if deviation > 0 else 1.0)


def _overlap(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32], k: int) -> float:
    tops = []
    for similarities in (first, second):
        np.fill_diagonal(similarities, -np.inf)
        top = np.zeros(similarities.shape, bool)
        nearest = np.argpartition(-similarities, k - 1, axis=1)[:, :k]
        np.put_along_axis(top, nearest, True, axis=1)
        tops.append(top)
    return float((tops[0] & tops[1]).sum(axis=1).mean() / k)
