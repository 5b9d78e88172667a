"""Reads what was shadow-written beside the active vectors of the same entities (EMB-8)."""

import psycopg
from psycopg import sql

from seda.database.copy import read_fixed
from seda.embeddings.shadow import LARGEST_SAMPLE, Agreement, agreement
from seda.embeddings.space_rows import space_states
from seda.embeddings.spaces import EmbeddingSpace
from seda.vectorstore.promotion import EMBEDDED_TYPES
from seda.vectorstore.rows import vector_table


def shadow_agreements(
    connection: psycopg.Connection, active: EmbeddingSpace
) -> dict[tuple[str, str], Agreement]:
    """Agreement with the active space of every shadow space, by its id and the entity type."""
    found = {}
    for space, state in space_states(connection).items():
        if state != "shadow":
            continue
        for kind in EMBEDDED_TYPES:
            compared = _compare(connection, kind, active, space)
            if compared:
                found[space.id, kind] = compared
    return found


def _compare(
    connection: psycopg.Connection, kind: str, active: EmbeddingSpace, shadow: EmbeddingSpace
) -> Agreement | None:
    _, seen, shadowed = read_fixed(
        connection,
        sql.SQL(
            "select a.entity_id, a.embedding, s.embedding from {table} s join {table} a "
            "on a.entity_id = s.entity_id and a.space_id = %s where s.space_id = %s "
            "order by s.entity_id limit %s"
        ).format(table=vector_table(kind)),
        ["uuid", ("halfvec", active.dim), ("halfvec", shadow.dim)],
        [active.id, shadow.id, LARGEST_SAMPLE],
    )
    return agreement(seen, shadowed)
