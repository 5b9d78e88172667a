"""Stores vectors that were computed here: people's tastes, of which few change in an hour."""

from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

import numpy as np

from seda.database.regions import RegionalDatabase
from seda.embeddings.spaces import EmbeddingSpace
from seda.vectorstore.refresh_plan import keys_of
from seda.vectorstore.rows import delete_vectors, ensure_space, store_vectors, stored_versions


@dataclass(frozen=True)
class ChangedVectors:
    """How many entities have a vector now, and how many were stored or removed for it."""

    total: int
    stored: int
    removed: int


def store_changed_vectors(
    database: RegionalDatabase,
    entity_type: str,
    space: EmbeddingSpace,
    ids: np.ndarray,
    vectors: np.ndarray,
    *,
    now: datetime,
) -> ChangedVectors:
    """Store computed vectors (n, dim) float32 of `ids` (n, 16): those that differ from the stored.

    A row of zeros means "no vector"; one that was stored before is removed.
    """
    present = vectors.any(axis=1)
    hashes = [blake2b(vector.tobytes(), digest_size=16).hexdigest() for vector in vectors]
    with database.transaction() as connection:
        ensure_space(connection, space)
        stored = stored_versions(connection, entity_type, space)
        before = dict(zip(keys_of(stored.ids), stored.content_hashes, strict=True))
        known = [before.get(key) for key in keys_of(ids)]
        changed = [i for i in np.flatnonzero(present) if known[i] != hashes[i]]
        gone = [i for i in np.flatnonzero(~present) if known[i] is not None]
        if changed:
            new_hashes = [hashes[i] for i in changed]
            store_vectors(
                connection, entity_type, space, ids[changed], vectors[changed], new_hashes, now
            )
        if gone:
            delete_vectors(connection, entity_type, space, ids[gone], now)
    return ChangedVectors(int(present.sum()), len(changed), len(gone))
