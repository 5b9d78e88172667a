"""Vectors in the order of a snapshot's positions."""

import numpy as np

from seda.database.identifiers import IdIndex
from seda.database.regions import RegionalDatabase
from seda.embeddings.spaces import EmbeddingSpace
from seda.vectorstore.rows import load_vectors


def load_aligned(
    database: RegionalDatabase, entity_type: str, space: EmbeddingSpace, ids: np.ndarray
) -> np.ndarray:
    """The vectors of `ids` (n, 16) uint8, as (n, dim) float16; a row of zeros where there is none.

    Rows follow `ids`, whatever is stored; vectors of other spaces are never read.
    """
    with database.transaction() as connection:
        stored_ids, vectors = load_vectors(connection, entity_type, space)
    if len(stored_ids) == len(ids) and np.array_equal(stored_ids, ids):
        return vectors
    positions = IdIndex(stored_ids).positions(ids)
    aligned = np.zeros((len(ids), space.dim), np.float16)
    aligned[positions >= 0] = vectors[positions[positions >= 0]]
    return aligned
