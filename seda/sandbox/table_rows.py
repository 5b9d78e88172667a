"""Rows of one table, and the columns and ids that the makers of rows share."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from seda.database.copy import Column, VariableColumn
from seda.database.identifiers import Ids
from seda.sandbox.world import World


@dataclass(frozen=True, eq=False)
class TableRows:
    """Rows of one table. A row is the same as an earlier one if the `key` columns agree; then only
    the `refresh` columns may be corrected, and `touched` says that they were."""

    relation: str
    columns: dict[str, Column]
    key: tuple[str, ...]
    refresh: tuple[str, ...] = ()
    touched: str | None = None
    rows: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", len(next(iter(self.columns.values()))))


def entity_ids_of(world: World, entity_type: str) -> Ids:
    """The ids of one kind of catalogue entity, `(n, 16)` uint8."""
    catalogue = world.catalogue
    return {
        "artist": catalogue.artists.ids,
        "playlist": catalogue.playlists.ids,
        "room": catalogue.rooms.ids,
    }[entity_type]


def nullable(encoded: NDArray[np.object_], shown: NDArray[np.bool_], size: int) -> Column:
    """Values of one encoded size, bytes `(rows,)`, NULL where not `shown`."""
    lengths = np.where(shown, size, -1).astype(np.int32)
    return VariableColumn(len(encoded), lambda rows: (encoded[rows].tolist(), lengths[rows]))
