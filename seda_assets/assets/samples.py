"""A few rows of a catalogue relation, for the UI; never of a relation that holds people."""

import dagster as dg
from psycopg import sql

from seda.privacy.datamap import holds_people
from seda_assets.resources import Platform

ROWS = 5
LONGEST = 60


def sample_rows(platform: Platform, relation: str) -> dg.MarkdownMetadataValue:
    """The first rows of `schema.table` in one region, as a Markdown table.

    Raises:
        ValueError: rows of people may not leave their region's database (SPEC DAT-7).
    """
    schema, _, table = relation.partition(".")
    if holds_people(table):
        raise ValueError(f"{relation} holds people: no row of it may be shown in Dagster")
    query = sql.SQL("select * from {} limit {}").format(
        sql.Identifier(schema, table), sql.Literal(ROWS)
    )
    database = next(iter(platform.databases))
    with database.transaction() as connection:
        cursor = connection.execute(query)
        header = [column.name for column in cursor.description or ()]
        rows = [[_cell(value) for value in row] for row in cursor]
    lines = [header, ["---"] * len(header), *rows]
    return dg.MetadataValue.md("\n".join("| " + " | ".join(line) + " |" for line in lines))


def _cell(value: object) -> str:
    text = str(value).replace("|", "\\|").replace("\n", " ")
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
