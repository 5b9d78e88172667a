"""The rows of embedding spaces: which is active in a region, and how another one becomes it."""

from datetime import datetime

import psycopg

from seda.embeddings.spaces import EmbeddingSpace
from seda.errors import SedaError


class PromotionRefusedError(SedaError):
    """A space cannot become the active one."""


def active_space(connection: psycopg.Connection) -> EmbeddingSpace | None:
    """The region's active space; None in a database that has none yet."""
    row = connection.execute(
        "select id from seda.embedding_spaces where state = 'active'"
    ).fetchone()
    return EmbeddingSpace.parse(row[0]) if row else None


def space_states(connection: psycopg.Connection) -> dict[EmbeddingSpace, str]:
    """Every space of the region and its state."""
    rows = connection.execute("select id, state from seda.embedding_spaces order by created_at, id")
    return {EmbeddingSpace.parse(space_id): str(state) for space_id, state in rows}


def swap_active(
    connection: psycopg.Connection, space: EmbeddingSpace, *, actor: str, now: datetime
) -> EmbeddingSpace | None:
    """Make a standby active and the active one its standby, in the caller's transaction.

    Whether the space is complete is the caller's matter. Returns the space that was active.

    Raises:
        PromotionRefusedError: the space is no standby of this region.
    """
    states = space_states(connection)
    if states.get(space) != "standby":
        raise PromotionRefusedError(
            f"{space.id} is {states.get(space, 'unknown here')}; only a standby can be promoted."
        )
    before = active_space(connection)
    if before:
        connection.execute(
            "update seda.embedding_spaces set state = 'standby' where id = %s", [before.id]
        )
    connection.execute(
        "update seda.embedding_spaces set state = 'active' where id = %s", [space.id]
    )
    connection.execute(
        "insert into seda.audit_log (occurred_at, actor, action, subject, details) values "
        "(%s, %s, 'embedding_space_promoted', %s, jsonb_build_object('before', %s::text))",
        [now, actor, space.id, before.id if before else None],
    )
    return before


def adopt_space(connection: psycopg.Connection, space: EmbeddingSpace, state: str) -> str:
    """Have a row for the space, `state` if it is new, in the caller's transaction; its state."""
    connection.execute(
        "insert into seda.embedding_spaces (id, provider, model, dim, version, region, state) "
        "values (%s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
        [space.id, space.provider, space.model, space.dim, space.version, space.region, state],
    )
    return space_states(connection)[space]
