"""A person's export: one ZIP with a JSON file per relation, their other files, and a README.

What is in it is what the data map says is personal, read in one snapshot of each region's database;
secrets are left out. It is stored in the person's own region.
"""

import io
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

import orjson
import psycopg

from seda.database.regions import Databases, Region, RegionalDatabase
from seda.privacy.datamap import PERSONAL, PrivacyClass, data_map
from seda.privacy.files import personal_files
from seda.privacy.ownership import personal_relations, rows_of

DIRECTORY: Final = "region_directory"


def export_key(job_id: UUID) -> str:
    """Where an export is stored."""
    return f"exports/{job_id}.zip"


def export_zip(
    databases: Databases, region: Region, user_id: UUID, home: Path, now: datetime
) -> bytes:
    """The whole ZIP."""
    rows = _rows(databases[region], personal_relations(), user_id)
    if region is not Region.GLOBAL:
        # The directory is in the global database, whoever it is about.
        rows |= _rows(databases[Region.GLOBAL], [DIRECTORY], user_id)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.md", _readme(rows, now))
        for relation, found in rows.items():
            archive.writestr(
                f"{relation}.json", orjson.dumps(found, option=orjson.OPT_INDENT_2 | _LENIENT)
            )
        for path in personal_files(home, user_id):
            archive.write(path, f"files/{path.parent.name}/{path.name}")
    return content.getvalue()


_LENIENT: Final = orjson.OPT_NON_STR_KEYS


def _rows(
    database: RegionalDatabase, relations: list[str], user_id: UUID
) -> dict[str, list[dict[str, object]]]:
    with database.connect() as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        return {relation: rows_of(connection, relation, user_id) for relation in relations}


def _readme(rows: dict[str, list[dict[str, object]]], now: datetime) -> str:
    lines = [
        "# Your data",
        "",
        f"Everything that we held about you on {now:%Y-%m-%d %H:%M} UTC. Each file is a table: a",
        "list of rows, a member per column. Times are in UTC. Keys and tokens that open something",
        "in your name are not in here.",
        "",
        "| file | rows | what it holds | withheld |",
        "| --- | --- | --- | --- |",
    ]
    for relation, found in rows.items():
        classes = data_map()[relation]
        held = sorted({str(kind) for kind in classes.values() if kind in PERSONAL})
        secret = sorted(n for n, kind in classes.items() if kind is PrivacyClass.SECRET)
        lines.append(
            f"| {relation}.json | {len(found)} | {', '.join(held)} | {', '.join(secret)} |"
        )
    lines += ["", "`files/` has what was kept about you outside of tables.", ""]
    return "\n".join(lines)
