"""Vectors in the order of a snapshot's positions, with stand-ins for those that wait."""

import numpy as np

from seda.activity.snapshot import EntitySnapshot
from seda.database.identifiers import IdIndex, Ids
from seda.database.regions import RegionalDatabase
from seda.embeddings.spaces import EmbeddingSpace
from seda.embeddings.stand_ins import with_stand_ins
from seda.vectorstore.rows import load_vectors


class AlignedVectors:
    """One entity type's vectors, loaded once for each space that they are asked for in.

    Rows follow the snapshot's positions, whatever is stored; vectors of other spaces are never
    read. An entity whose text waits has the centroid of its genres, or zeros where it has none.
    """

    def __init__(
        self, database: RegionalDatabase, entity_type: str, entity: EntitySnapshot
    ) -> None:
        self._database, self._entity_type, self._entity = database, entity_type, entity
        self._loaded: dict[EmbeddingSpace, np.ndarray] = {}

    def in_space(self, space: EmbeddingSpace) -> np.ndarray:
        """The vectors, (entities, dim) float16."""
        if space not in self._loaded:
            stored = self._stored(space, self._entity.ids)
            self._loaded[space] = with_stand_ins(stored, self._entity.genres)
        return self._loaded[space]

    def _stored(self, space: EmbeddingSpace, ids: Ids) -> np.ndarray:
        with self._database.transaction() as connection:
            stored_ids, vectors = load_vectors(connection, self._entity_type, space)
        if len(stored_ids) == len(ids) and np.array_equal(stored_ids, ids):
            return vectors
        positions = IdIndex(stored_ids).positions(ids)
        aligned = np.zeros((len(ids), space.dim), np.float16)
        aligned[positions >= 0] = vectors[positions[positions >= 0]]
        return aligned
