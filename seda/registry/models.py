"""The registry's rows: a model version is a name, a version, its configuration and its stage."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from seda.errors import SedaError
from seda.registry.stages import Stage, lock_stages, set_stage

BLEND = "blend"
"""The registry's name of the ranking model."""
EVALUATION = "offline evaluation"
"""Who promoted a version that was not a canary before, in the audit log."""


class NoActiveModelError(SedaError):
    """No version of a model is active in this database."""


class UnknownModelError(SedaError):
    """No such version is registered in this database."""


@dataclass(frozen=True)
class ModelVersion:
    """One row of `model_registry`; `config` is whatever its kind needs."""

    name: str
    version: str
    kind: str
    config: dict[str, Any]


@dataclass(frozen=True)
class RegisteredModel:
    """All that the registry knows of a version; `metrics` are those of offline evaluation."""

    name: str
    version: str
    stage: str
    kind: str
    config: dict[str, Any]
    metrics: dict[str, Any]
    created_at: datetime
    stage_changed_at: datetime


def get_active(connection: psycopg.Connection, name: str) -> ModelVersion:
    """The version that ranks now.

    Raises:
        NoActiveModelError: none is active.
    """
    row = connection.execute(
        "select name, version, kind, config from seda.model_registry "
        "where name = %s and stage = 'active'",
        [name],
    ).fetchone()
    if row is None:
        raise NoActiveModelError(
            f"No version of the model {name} is active: set one version's stage to active in "
            "seda.model_registry."
        )
    return ModelVersion(*row)


def get_version(connection: psycopg.Connection, name: str, version: str) -> ModelVersion | None:
    """One version of a model, whatever its stage; None where it is not registered."""
    row = connection.execute(
        "select name, version, kind, config from seda.model_registry "
        "where name = %s and version = %s",
        [name, version],
    ).fetchone()
    return ModelVersion(*row) if row else None


def registered(connection: psycopg.Connection, name: str = BLEND) -> list[RegisteredModel]:
    """Every version of a model: what ranks first, then the newest."""
    cursor = connection.cursor(row_factory=class_row(RegisteredModel))
    return cursor.execute(
        "select name, version, stage, kind, config, metrics, created_at, stage_changed_at "
        "from seda.model_registry where name = %s "
        "order by array_position(array['active', 'canary', 'shadow', 'retired'], stage), "
        "created_at desc, version",
        [name],
    ).fetchall()


def get_registered(connection: psycopg.Connection, name: str, version: str) -> RegisteredModel:
    """All that is known of one version.

    Raises:
        UnknownModelError: it is not registered.
    """
    for each in registered(connection, name):
        if each.version == version:
            return each
    raise UnknownModelError(
        f"No version {version} of {name} is registered here: `seda model list` shows which are."
    )


def register(
    connection: psycopg.Connection, version: ModelVersion, metrics: dict[str, Any]
) -> None:
    """Adds a version in shadow; one that is there keeps its stage and gets the new metrics."""
    connection.execute(
        "insert into seda.model_registry (name, version, stage, kind, config, metrics) "
        "values (%s, %s, 'shadow', %s, %s, %s) on conflict (name, version) do update "
        "set config = excluded.config, metrics = excluded.metrics",
        [version.name, version.version, version.kind, Jsonb(version.config), Jsonb(metrics)],
    )


def promote(connection: psycopg.Connection, name: str, version: str, *, now: datetime) -> None:
    """Makes the version that offline evaluation chose active, and what was active a challenger in
    shadow again, in the caller's transaction; audited.

    Only a challenger in shadow: what people or gates decided (active, retired, a canary) stands,
    and while any version is a canary its control stays what it is.

    Raises:
        UnknownModelError: it is not registered.
    """
    lock_stages(connection)
    versions = registered(connection, name)
    chosen = get_registered(connection, name, version)
    if chosen.stage != Stage.SHADOW or any(each.stage == Stage.CANARY for each in versions):
        return
    for each in versions:
        if each.stage == Stage.ACTIVE:
            set_stage(connection, name, each.version, Stage.SHADOW, actor=EVALUATION, now=now)
    set_stage(connection, name, version, Stage.ACTIVE, actor=EVALUATION, now=now)
