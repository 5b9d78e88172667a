"""The friend graph: small-world and homophilous.

People who share a root genre stand in a ring, those of one subgenre together; most of a person's
friends are near them there, which closes triangles, and some are anybody, which keeps paths short
(after Watts & Strogatz, 1998, with one ring per taste in place of one for all).
"""

from typing import Final

import numpy as np
from numpy.random import Generator

from seda.sandbox.generation.draws import Longs, times_before, unique_pairs
from seda.sandbox.generation.genres import ROOTS, root_of
from seda.sandbox.generation.people import Tastes
from seda.sandbox.world import Friendships

MEAN_FRIENDS: Final = 12
RANDOM_SHARE: Final = 0.15
_REACH: Final = 0.3
"""Chance that the next one in the ring is the friend: the mean distance is about three places."""


def make_friendships(rng: Generator, tastes: Tastes, now: np.datetime64) -> Friendships:
    """Pairs of friends, each once, with a mean of about `MEAN_FRIENDS` friends per person; some
    people have many more than others."""
    people = len(tastes.leaves)
    eager = rng.gamma(2.0, MEAN_FRIENDS / 2 / 2.0, people)
    # Some pairs meet twice or are one person; the surplus makes up for them, and is cut.
    wanted = rng.poisson(eager * 1.5)
    asking = rng.permutation(np.repeat(np.arange(people), wanted))
    asked = np.where(
        rng.random(len(asking)) < RANDOM_SHARE,
        rng.integers(0, people, len(asking)),
        _near_in_ring(rng, tastes, asking),
    )
    first, second = np.minimum(asking, asked), np.maximum(asking, asked)
    apart = first != second
    first, second = first[apart], second[apart]
    met = np.sort(unique_pairs(first, second))[: people * MEAN_FRIENDS // 2]
    kept = met[np.lexsort((second[met], first[met]))]
    return Friendships(
        first=first[kept].astype(np.int32),
        second=second[kept].astype(np.int32),
        since=times_before(rng, now, 700, len(kept)),
    )


def _near_in_ring(rng: Generator, tastes: Tastes, asking: Longs) -> Longs:
    """Somebody a few places away in the ring of one of the person's tastes."""
    person, column = np.nonzero(tastes.leaves >= 0)
    leaf = tastes.leaves[person, column]
    order = np.lexsort((rng.random(len(leaf)), leaf))
    person, column = person[order], column[order]
    place = np.zeros(tastes.leaves.shape, np.int64)
    place[person, column] = np.arange(len(order))
    starts = np.searchsorted(root_of(leaf[order]), np.arange(len(ROOTS) + 1))

    chosen = choose_column(rng, tastes, asking)
    ring = root_of(tastes.leaves[asking, chosen])
    begin, size = starts[ring], starts[ring + 1] - starts[ring]
    steps = rng.geometric(_REACH, len(asking)) * rng.choice([-1, 1], len(asking))
    near: Longs = person[begin + (place[asking, chosen] - begin + steps) % size]
    return near


def choose_column(rng: Generator, tastes: Tastes, people: Longs) -> Longs:
    """Which of their tastes each of these people follows this time, by its weight."""
    steps = np.cumsum(tastes.weights[people], axis=1)
    steps[:, -1] = 1.0  # whatever rounding made of it
    return (rng.random(len(people))[:, None] >= steps).argmin(axis=1)
