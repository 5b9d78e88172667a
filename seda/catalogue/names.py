"""Names of catalogue entities."""

import numpy as np
import psycopg
from psycopg import sql

from seda.database.identifiers import IdIndex


def load_names(connection: psycopg.Connection, entity_type: str, ids: np.ndarray) -> list[str]:
    """The names of `ids` (n, 16) uint8, in their order; empty where the entity is gone."""
    names = [""] * len(ids)
    index = IdIndex(ids)
    query = sql.SQL("select id, name from {}").format(sql.Identifier("seda", f"{entity_type}s"))
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(query).fetchall()
    stored = np.frombuffer(b"".join(row[0].bytes for row in rows), np.uint8).reshape(-1, 16)
    for position, (_, name) in zip(index.positions(stored).tolist(), rows, strict=True):
        if position >= 0:
            names[position] = name
    return names
