"""Column schemas of tables, as the UI shows them."""

import dagster as dg

from seda.privacy.datamap import data_map
from seda_assets.resources import Platform

_COLUMNS = """
    select a.attname, format_type(a.atttypid, a.atttypmod), not a.attnotnull
    from pg_attribute a
    where a.attrelid = %s::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum"""


def columns(**described: str) -> dg.TableSchema:
    """A column schema from `name="type: description"`."""
    parts = {name: text.partition(": ") for name, text in described.items()}
    return dg.TableSchema(
        [
            dg.TableColumn(name, kind, description=text or None)
            for name, (kind, _, text) in parts.items()
        ]
    )


def stored_columns(platform: Platform, relation: str) -> dg.TableSchema:
    """The columns of `schema.table` as the database has them, with each one's privacy class."""
    classes = data_map()[relation.partition(".")[2]]
    database = next(iter(platform.databases))
    with database.transaction() as connection:
        rows = connection.execute(_COLUMNS, [relation]).fetchall()
    return dg.TableSchema(
        [
            dg.TableColumn(
                name,
                kind,
                description=f"privacy class: {classes[name]}",
                constraints=dg.TableColumnConstraints(nullable=nullable),
            )
            for name, kind, nullable in rows
        ]
    )
