"""Ways to draw that the generators share: heavy tails, many weighted draws at once, times."""

from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]


def zipf_weights(rng: Generator, count: int, exponent: float) -> Floats:
    """Popularity `(count,)` that sums to 1: rank to the power of `-exponent`, in random order."""
    weights = np.arange(1, count + 1, dtype=np.float64) ** -exponent
    rng.shuffle(weights)
    return weights / weights.sum()


def draw_by_row(rng: Generator, rows: NDArray[np.integer], weights: Floats) -> Longs:
    """One draw per entry of `rows`, with the chances `weights[row]`, `(kinds, choices)`."""
    drawn = np.empty(len(rows), np.int64)
    order = np.argsort(rows, kind="stable")
    present, starts = np.unique(rows[order], return_index=True)
    for row, entries in zip(present, np.split(order, starts[1:]), strict=True):
        steps = np.cumsum(weights[row])
        aims = rng.random(len(entries)) * steps[-1]
        drawn[entries] = np.minimum(np.searchsorted(steps, aims, side="right"), len(steps) - 1)
    return drawn


def pick(rng: Generator, options: Any, count: int, chances: Any = None) -> list[Any]:
    """`count` independent picks, as a list of Python values."""
    weights = None if chances is None else np.asarray(chances, float) / np.sum(chances)
    return [options[place] for place in rng.choice(len(options), count, p=weights).tolist()]


def times_before(
    rng: Generator, now: np.datetime64, days: float, count: int, *, recent: float = 1.0
) -> NDArray[np.datetime64]:
    """Moments of the `days` before `now`, datetime64[us], to the second; `recent` above 1 crowds
    them towards now."""
    seconds = (days * 86_400 * rng.random(count) ** recent).astype(np.int64)
    return now.astype("M8[us]") - (seconds + 1).astype("m8[s]").astype("m8[us]")


def unique_pairs(first: NDArray[np.integer], second: NDArray[np.integer]) -> Longs:
    """Where each distinct (first, second) stands first, ordered by the pair."""
    width = int(second.max(initial=0)) + 1
    return np.unique(first.astype(np.int64) * width + second, return_index=True)[1]
