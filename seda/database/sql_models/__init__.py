"""The set-based SQL models: read from plain `SELECT` files, checked, and merged into their tables.

`header` reads what a file says about itself, `model` reads the SQL, `materialise` runs it. Which
models exist and what they mean is written in the files, not here.
"""

from seda.database.sql_models.header import ModelHeader, SqlModelError
from seda.database.sql_models.materialise import (
    MergeResult,
    ModelCheckFailed,
    ModelTargetError,
    materialise,
)
from seda.database.sql_models.model import SqlModel, load_models, topological_order

__all__ = [
    "MergeResult",
    "ModelCheckFailed",
    "ModelHeader",
    "ModelTargetError",
    "SqlModel",
    "SqlModelError",
    "load_models",
    "materialise",
    "topological_order",
]
