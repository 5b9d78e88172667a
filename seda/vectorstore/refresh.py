"""Brings a region's stored vectors up to date with its texts: only changed text is embedded."""

from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

import numpy as np

from seda.database.regions import RegionalDatabase
from seda.embeddings.catalogue_texts import load_texts
from seda.embeddings.service import EmbeddingsService
from seda.embeddings.spaces import EmbeddingSpace
from seda.embeddings.texts import content_hash
from seda.vectorstore.rows import delete_vectors, ensure_space, store_vectors, stored_hashes

# Texts embedded and stored in one transaction: a killed run repeats at most this much.
BLOCK = 20_000


@dataclass(frozen=True)
class VectorRefresh:
    """How many entities have a vector now, and how many were embedded or removed for it."""

    total: int
    embedded: int
    removed: int


def refresh_vectors(
    database: RegionalDatabase, entity_type: str, embedder: EmbeddingsService, *, now: datetime
) -> VectorRefresh:
    """Embed what is new or changed (EMB-6), remove what is gone, leave the rest untouched."""
    space = embedder.space
    with database.connect() as connection:
        ensure_space(connection, space)
        ids, texts = load_texts(connection, entity_type)
        hashes = [content_hash(text) for text in texts]
        stored_ids, stored = stored_hashes(connection, entity_type, space)
        before = dict(zip(_keys(stored_ids), stored, strict=True))
        keys = _keys(ids)
        changed = [i for i, key in enumerate(keys) if before.get(key) != hashes[i]]
        gone = sorted(before.keys() - set(keys))
        connection.commit()
        for start in range(0, len(changed), BLOCK):
            block = changed[start : start + BLOCK]
            vectors = embedder.embed([texts[i] for i in block])
            block_hashes = [hashes[i] for i in block]
            store_vectors(connection, entity_type, space, ids[block], vectors, block_hashes, now)
            connection.commit()
        if gone:
            removed = np.frombuffer(b"".join(gone), np.uint8).reshape(-1, 16)
            delete_vectors(connection, entity_type, space, removed, now)
        connection.commit()
    return VectorRefresh(len(keys), len(changed), len(gone))


def store_changed_vectors(
    database: RegionalDatabase,
    entity_type: str,
    space: EmbeddingSpace,
    ids: np.ndarray,
    vectors: np.ndarray,
    *,
    now: datetime,
) -> VectorRefresh:
    """Store computed vectors (n, dim) float32 of `ids` (n, 16): those that differ from the stored.

    A row of zeros means "no vector"; one that was stored before is removed.
    """
    present = vectors.any(axis=1)
    hashes = [blake2b(vector.tobytes(), digest_size=16).hexdigest() for vector in vectors]
    with database.transaction() as connection:
        ensure_space(connection, space)
        stored_ids, stored = stored_hashes(connection, entity_type, space)
        before = dict(zip(_keys(stored_ids), stored, strict=True))
        known = [before.get(key) for key in _keys(ids)]
        changed = [i for i in np.flatnonzero(present) if known[i] != hashes[i]]
        gone = [i for i in np.flatnonzero(~present) if known[i] is not None]
        if changed:
            new_hashes = [hashes[i] for i in changed]
            store_vectors(
                connection, entity_type, space, ids[changed], vectors[changed], new_hashes, now
            )
        if gone:
            delete_vectors(connection, entity_type, space, ids[gone], now)
    return VectorRefresh(int(present.sum()), len(changed), len(gone))


def _keys(ids: np.ndarray) -> list[bytes]:
    flat = np.ascontiguousarray(ids, np.uint8).tobytes()
    return [flat[start : start + 16] for start in range(0, len(flat), 16)]
