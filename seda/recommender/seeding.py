"""Pseudo-random draws that belong to a pair of ids: nobody's draw depends on who else is there."""

import numpy as np
import numpy.typing as npt

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def hashed(
    keys: npt.NDArray[np.integer], items: npt.NDArray[np.integer], seed: int
) -> npt.NDArray[np.uint64]:
    """One uint64 per (key, item) pair: splitmix64's finaliser (Steele, Lea, Flood 2014), twice."""
    mixed = _mixed(keys.astype(np.uint64) * _GOLDEN + np.uint64(seed % 2**64))
    return _mixed(mixed + (items.astype(np.uint64) + np.uint64(1)) * _GOLDEN)


def uniform(
    keys: npt.NDArray[np.integer], items: npt.NDArray[np.integer], seed: int
) -> npt.NDArray[np.float64]:
    """One float64 in [0, 1) per (key, item) pair, from the upper 53 bits of `hashed`."""
    return (hashed(keys, items, seed) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(values ^ (values >> np.uint64(31)))
