"""Reads the registry's rows: a model version is a name, a version and its configuration."""

from dataclasses import dataclass
from typing import Any

import psycopg

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
