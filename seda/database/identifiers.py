"""Ids mapped to dense positions, once, where data enters; everything behind it counts positions.

Ids travel as `(n, 16) uint8`, the bytes of a UUID in their usual order, which is also the order in
which Postgres sorts them. `uuid.UUID` objects are for single rows and for people.
"""

from collections.abc import Iterable
from typing import Final, TypeAlias
from uuid import UUID

import numpy as np
import numpy.typing as npt

from seda.errors import SedaError

Ids: TypeAlias = npt.NDArray[np.uint8]

UNKNOWN: Final = -1

# Odd multipliers that mix an id's two halves into one key (Dietzfelbinger's multiply-shift family):
# another pair is tried when two of an index's ids share a key, which for random ids never happens.
_MULTIPLIERS: Final = np.random.default_rng(20_261_101).integers(
    2**63, size=(8, 2), dtype=np.uint64
) * np.uint64(2) + np.uint64(1)


class MalformedIdsError(SedaError):
    """An array is not one of ids."""


def ids_of(uuids: Iterable[UUID]) -> Ids:
    """UUIDs as `(n, 16) uint8`."""
    return np.frombuffer(b"".join(uuid.bytes for uuid in uuids), np.uint8).reshape(-1, 16)


def uuids_of(ids: Ids) -> list[UUID]:
    """Ids `(n, 16) uint8` as UUIDs."""
    return [UUID(bytes=value) for value in _checked(ids).view("V16").reshape(-1).tolist()]


def id_order(ids: Ids) -> npt.NDArray[np.intp]:
    """The positions `(n,)` that sort ids `(n, 16) uint8`; stable."""
    high, low = _halves(ids)
    return np.lexsort((low, high))


class IdIndex:
    """Distinct ids in the order given: a position is a place in `ids`, `(n, 16) uint8`, read-only.

    Raises:
        MalformedIdsError: not `(n, 16) uint8`, or an id stands there twice.
    """

    def __init__(self, ids: Ids) -> None:
        self.ids = _checked(ids).view()
        self.ids.flags.writeable = False
        self._high, self._low = _halves(self.ids)
        self._multipliers, self._keys, self._position = self._keyed()

    def __len__(self) -> int:
        return len(self.ids)

    def positions(self, ids: Ids) -> npt.NDArray[np.int32]:
        """The position of each id `(m, 16) uint8` as int32 `(m,)`; -1 where it is unknown."""
        if not len(self):
            return np.full(len(ids), UNKNOWN, np.int32)
        high, low = _halves(ids)
        at = np.searchsorted(self._keys, _mixed(high, low, self._multipliers))
        found = self._position[np.minimum(at, len(self) - 1)]
        known = (self._high[found] == high) & (self._low[found] == low)
        return np.where(known, found, np.int32(UNKNOWN))

    def uuids(self) -> list[UUID]:
        """All ids as UUIDs, by position."""
        return uuids_of(self.ids)

    def _keyed(
        self,
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], npt.NDArray[np.int32]]:
        for multipliers in _MULTIPLIERS:
            keys = _mixed(self._high, self._low, multipliers)
            position = np.argsort(keys).astype(np.int32)
            keys = keys[position]
            if not (keys[1:] == keys[:-1]).any():
                return multipliers, keys, position
        raise MalformedIdsError("An id stands twice among those to be indexed; give each once.")


def _checked(ids: Ids) -> Ids:
    if ids.dtype != np.uint8 or ids.ndim != 2 or ids.shape[1] != 16:
        raise MalformedIdsError(f"Ids are (n, 16) uint8; got {ids.shape} {ids.dtype}.")
    return np.ascontiguousarray(ids)


def _halves(ids: Ids) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """The first and the last eight bytes as numbers, which compare as the bytes do."""
    words = _checked(ids).view(">u8").astype(np.uint64)
    return words[:, 0], words[:, 1]


def _mixed(
    high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64], multipliers: npt.NDArray[np.uint64]
) -> npt.NDArray[np.uint64]:
    return high * multipliers[0] + low * multipliers[1]
