"""Where searches for an entity go while they move to another store, and when they may move on.

A route is one row per kind of entity; its stages lead from Postgres to the second store and back.
What each stage does with a write or a search is in `migrating`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias, get_args
from uuid import UUID

import psycopg

from seda.errors import SedaError

Stage: TypeAlias = Literal["pgvector", "shadow", "dual", "canary", "qdrant"]

STAGES: Final[tuple[Stage, ...]] = get_args(Stage)
# What a stage must have shown before the next begins.
MIN_OVERLAP: Final = 0.95
MIN_COMPARISONS: Final = 20
# Where the way back leads: reads are Postgres's at once, and while both are still written to, the
# way forward stays open.
BACK: Final[dict[Stage, Stage]] = {
    "pgvector": "pgvector",
    "shadow": "pgvector",
    "dual": "pgvector",
    "canary": "dual",
    "qdrant": "dual",
}


class StageRefusedError(SedaError):
    """A route may not take the step that was asked for."""


@dataclass(frozen=True)
class Route:
    """One entity's stage and its shares: of entities in the cohort, of searches compared, and of
    searches that are the second store's while it is a canary."""

    entity: str
    stage: Stage = "pgvector"
    cohort_share: float = 0.05
    compared_share: float = 0.1
    canary_share: float = 0.1
    changed_at: datetime | None = None


@dataclass(frozen=True)
class Comparison:
    """One search answered by both stores: share of the first's answer that the second gave, and
    milliseconds; `failure` is the second's sentence when it gave none."""

    entity: str
    space_id: str
    stage: Stage
    k: int
    overlap: float | None
    first_ms: float
    second_ms: float | None
    failure: str | None = None


@dataclass(frozen=True)
class Agreement:
    """What the comparisons since a route's last step say together."""

    compared: int
    failures: int
    overlap: float
    first_p95_ms: float
    second_p95_ms: float


def refusal(
    stage: Stage, first_vectors: int, second_vectors: int, agreement: Agreement
) -> str | None:
    """Why the step after `stage` is not safe yet, in a sentence; None when it is."""
    if stage == "pgvector":
        return None
    if stage == "qdrant":
        return "There is no stage after qdrant: the second store serves everything."
    if agreement.failures:
        return (
            f"The second store failed {agreement.failures} of the last searches it was asked: see "
            "`seda vectors compare`, mend it and take this stage again with `seda vectors back`."
        )
    if agreement.compared < MIN_COMPARISONS:
        return (
            f"Only {agreement.compared} searches were compared in this stage and "
            f"{MIN_COMPARISONS} are needed: wait, or run `seda vectors compare --queries 50`."
        )
    if agreement.overlap < MIN_OVERLAP:
        return (
            f"The stores agree on {agreement.overlap:.3f} of their answers, and {MIN_OVERLAP} is "
            "needed: fill the second store again with `seda vectors fill`."
        )
    if stage != "shadow" and first_vectors != second_vectors:
        return (
            f"Postgres has {first_vectors} vectors and the second store {second_vectors}: complete "
            "it with `seda vectors fill`."
        )
    return None


def load_route(connection: psycopg.Connection, entity: str) -> Route:
    """The entity's route; one that never moved is all Postgres's."""
    row = connection.execute(
        "select entity_type, stage, cohort_share, compared_share, canary_share, changed_at "
        "from seda.vector_routes where entity_type = %s",
        [entity],
    ).fetchone()
    return Route(entity) if row is None else Route(*row)


def save_stage(connection: psycopg.Connection, entity: str, stage: Stage, *, now: datetime) -> None:
    """Move the entity's route; the next search follows it."""
    connection.execute(
        "insert into seda.vector_routes (entity_type, stage, changed_at) values (%s, %s, %s) "
        "on conflict (entity_type) do update set stage = excluded.stage, "
        "changed_at = excluded.changed_at",
        [entity, stage, now],
    )


def load_fill(connection: psycopg.Connection, entity: str, space_id: str) -> UUID | None:
    """Behind which entity a fill of this space goes on; None from the start."""
    row = connection.execute(
        "select filled_to from seda.vector_routes where entity_type = %s and filled_space = %s",
        [entity, space_id],
    ).fetchone()
    return None if row is None else row[0]


def save_fill(
    connection: psycopg.Connection, entity: str, space_id: str, filled_to: UUID | None
) -> None:
    """Remember how far a fill has come; None when it is complete."""
    connection.execute(
        "insert into seda.vector_routes (entity_type, stage, filled_space, filled_to) "
        "values (%s, 'pgvector', %s, %s) on conflict (entity_type) do update set "
        "filled_space = excluded.filled_space, filled_to = excluded.filled_to",
        [entity, space_id, filled_to],
    )


def record(connection: psycopg.Connection, each: Comparison, *, now: datetime) -> None:
    """Keep a comparison, and forget the entity's of more than 30 days ago."""
    connection.execute(
        "insert into seda.vector_comparisons (entity_type, space_id, stage, k, overlap, first_ms, "
        "second_ms, failure, compared_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        [
            each.entity, each.space_id, each.stage, each.k, each.overlap, each.first_ms,
            each.second_ms, each.failure, now,
        ],
    )  # fmt: skip
    connection.execute(
        "delete from seda.vector_comparisons where entity_type = %s "
        "and compared_at < %s::timestamptz - interval '30 days'",
        [each.entity, now],
    )


def load_agreement(connection: psycopg.Connection, route: Route) -> Agreement:
    """What was compared since the route's last step, in its present stage."""
    row = connection.execute(
        """
        select count(overlap), count(failure), coalesce(avg(overlap), 0),
               coalesce(percentile_cont(0.95) within group (order by first_ms), 0),
               coalesce(percentile_cont(0.95) within group (order by second_ms), 0)
        from seda.vector_comparisons
        where entity_type = %s and stage = %s and compared_at >= %s
        """,
        [route.entity, route.stage, route.changed_at],
    ).fetchone()
    values: Sequence[float] = row or (0, 0, 0, 0, 0)
    return Agreement(int(values[0]), int(values[1]), *map(float, values[2:]))
