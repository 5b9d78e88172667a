"""The stages of a model version and the ways between them; every step leaves an audit row.

    shadow ──► canary ──► active ──► retired
      ▲  └───────┼──────────▲ │         │
      └──────────┴──────────┼─┘         │
      └─────────────────────┴───────────┘

Forward: a canary, a promotion by its gates, retirement. Shadow to active is what offline evaluation
does; back to shadow go a canary that is rolled back and an active version that another replaces.
"""

from datetime import datetime
from enum import StrEnum

import psycopg

from seda.errors import SedaError


class Stage(StrEnum):
    """Where a model version stands; the values are `model_registry.stage`."""

    SHADOW = "shadow"
    CANARY = "canary"
    ACTIVE = "active"
    RETIRED = "retired"


LEGAL: dict[Stage, tuple[Stage, ...]] = {
    Stage.SHADOW: (Stage.CANARY, Stage.ACTIVE, Stage.RETIRED),
    Stage.CANARY: (Stage.ACTIVE, Stage.SHADOW),
    Stage.ACTIVE: (Stage.RETIRED, Stage.SHADOW),
    Stage.RETIRED: (Stage.SHADOW, Stage.ACTIVE),
}
"""Stage → the stages that may follow it; retired to active is the way back from a promotion."""


class IllegalStageError(SedaError):
    """A version cannot go from its stage to another one."""


def lock_stages(connection: psycopg.Connection) -> None:
    """Lets nobody else change stages until the transaction ends: a step that looks at more than one
    version first must still be right when it is taken. Readers do not wait."""
    connection.execute("lock table seda.model_registry in share row exclusive mode")


def set_stage(
    connection: psycopg.Connection, name: str, version: str, stage: Stage, *, actor: str,
    now: datetime, reason: str | None = None,
) -> Stage:  # fmt: skip
    """Moves a version to a stage, audited, in the caller's transaction; the stage it had.

    Raises:
        IllegalStageError: the version is unknown, or no way leads there from where it is.
    """
    row = connection.execute(
        "select stage from seda.model_registry where name = %s and version = %s for update",
        [name, version],
    ).fetchone()
    if row is None:
        raise IllegalStageError(
            f"No version {version} of {name} is registered here: `seda model list` shows which are."
        )
    before = Stage(row[0])
    if stage not in LEGAL[before]:
        raise IllegalStageError(
            f"{name} {version} is {before} and cannot become {stage}: from {before} a version goes "
            f"to {' or '.join(LEGAL[before])}."
        )
    connection.execute(
        "update seda.model_registry set stage = %s, stage_changed_at = %s "
        "where name = %s and version = %s",
        [stage, now, name, version],
    )
    connection.execute(
        "insert into seda.audit_log (occurred_at, actor, action, subject, details) values "
        "(%s, %s, 'model_stage_changed', %s, jsonb_strip_nulls(jsonb_build_object("
        "'before', %s::text, 'after', %s::text, 'reason', %s::text)))",
        [now, actor, f"{name} {version}", before, stage, reason],
    )
    return before
