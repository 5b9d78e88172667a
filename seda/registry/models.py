"""The registry's rows: a model version is a name, a version and its configuration."""

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from seda.errors import SedaError

BLEND = "blend"
"""The registry's name of the ranking model."""


class NoActiveModelError(SedaError):
    """No version of a model is active in this database."""


@dataclass(frozen=True)
class ModelVersion:
    """One row of `model_registry`; `config` is whatever its kind needs."""

    name: str
    version: str
    kind: str
    config: dict[str, Any]


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


def promote(connection: psycopg.Connection, name: str, version: str) -> None:
    """Makes one version active and what was active shadow, in the caller's transaction."""
    connection.execute(
        "update seda.model_registry set stage = 'shadow', stage_changed_at = seda.clock() "
        "where name = %s and stage = 'active' and version <> %s",
        [name, version],
    )
    connection.execute(
        "update seda.model_registry set stage = 'active', stage_changed_at = seda.clock() "
        "where name = %s and version = %s and stage <> 'active'",
        [name, version],
    )
