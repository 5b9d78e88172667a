"""What lists of one entity type keep to: caps, duplicates, arrivals, and in what they differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seda.recommender.arrays import BoolArray, Csr, FloatArray, IntArray
from seda.recommender.diversity import Cap, duplicate_groups, project

MOST_OF_ARTIST = 5
"""Playlists led by one artist in a list."""
MOST_OF_OWNER = 4
"""Playlists or rooms of one owner in a list."""
MOST_OF_CLUSTER = 15
"""Items of one cluster in a list."""
MOST_ARRIVED = 0.1
"""Share of the catalogue above which its newest items are no arrivals but an import."""


@dataclass(frozen=True, eq=False)
class ListRules:
    """The rules as arrays over `I` items; none by default."""

    likeness: FloatArray | None = None
    """`(I, d)` from `diversity.project`; None: lists are not diversified."""
    caps: tuple[Cap, ...] = ()
    """In the order of their importance."""
    duplicate_group: IntArray | None = None
    """`(I,)` from `diversity.duplicate_groups`, -1 for none."""
    arrived: BoolArray | None = None
    """`(I,)`: newly in the catalogue, and given a place in turn."""


def list_rules(
    names: Sequence[str],
    *,
    vectors: npt.NDArray[np.floating[Any]],
    genres: Csr,
    clusters: IntArray,
    artists: IntArray,
    owners: IntArray,
    arrived: BoolArray,
) -> ListRules:
    """The rules of items with these names; `vectors` `(items, d)`, `genres` CSR `(items, genres)`.

    `clusters`, `artists` and `owners` int32 `(items,)` are labels, -1 for none; `arrived` bool.
    """
    limits = ((artists, MOST_OF_ARTIST), (owners, MOST_OF_OWNER), (clusters, MOST_OF_CLUSTER))
    some_arrived = arrived.size and 0 < arrived.mean() <= MOST_ARRIVED
    return ListRules(
        likeness=project(vectors, genres),
        caps=tuple(Cap(labels, most) for labels, most in limits if labels.max(initial=-1) >= 0),
        duplicate_group=duplicate_groups(names, clusters=clusters, makers=owners),
        arrived=arrived if some_arrived else None,
    )
