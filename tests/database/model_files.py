"""Writes SQL model files for tests: a complete header, changed where a test says so."""

from pathlib import Path

from seda.database.sql_models import SqlModel, load_models

KNOWN = {"seda.users", "seda.toy_rows", "seda.artists"}
_HEADER = {
    "materialized": "merge",
    "owner": "team:data",
    "group": "tests",
    "description": "Toys by kind.",
    "unique": "[id]",
}


def write(folder: Path, name: str, select: str, **fields: str | None) -> Path:
    """One model of the layer `layer`; a field of None is left out of the header."""
    header = {key: value for key, value in {**_HEADER, **fields}.items() if value is not None}
    path = folder / "layer" / f"{name}.sql"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"-- {key}: {value}" for key, value in header.items()]
    path.write_text("\n".join([*lines, select]) + "\n")
    return path


def load(folder: Path) -> dict[str, SqlModel]:
    return load_models(folder, KNOWN)
