"""Random scores: what coverage and hit rates look like when nothing is known."""

from dataclasses import dataclass

import numpy as np

from seda.recommender.arrays import FloatArray
from seda.recommender.models.listening import Listening


@dataclass(frozen=True, eq=False)
class Chance:
    """`items` int64 `(items,)`, a random key per item, and the seed of the draws."""

    items: np.ndarray
    seed: int

    def scores(self, listening: Listening) -> FloatArray:
        """`(rows, items)` float32 in [0, 1), the same for a user whatever the other rows are.

        A user is told apart by what they listen to, since rows have no other identity.
        """
        rows = listening.plays.tocsr()
        out = np.empty(rows.shape, np.float32)
        for row in range(rows.shape[0]):
            heard = rows.indices[rows.indptr[row] : rows.indptr[row + 1]]
            random = np.random.default_rng([self.seed, int(self.items[heard].sum())])
            out[row] = random.random(rows.shape[1], np.float32)
        return out


def train_chance(listening: Listening, *, seed: int) -> Chance:
    """Draws the items' keys; deterministic in `seed`."""
    random = np.random.default_rng(seed)
    return Chance(random.integers(0, 2**31, listening.plays.shape[1]), seed)
