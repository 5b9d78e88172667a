"""What `seda status` prints: processes, sizes and rows by region, and what each shard serves."""

from datetime import UTC, datetime
from pathlib import Path

import typer

from seda.cli.leftovers import recorded
from seda.cli.services import MATERIALISATION
from seda.cli.tables import new_table, print_table
from seda.database.regions import Databases, RegionalDatabase

_SIZE = "select pg_database_size(current_database())"
_ROWS = """
select (select count(*) from seda.users where deleted_at is null) as users,
       (select count(*) from seda.artists) as artists,
       (select count(*) from seda.playlists) as playlists,
       (select count(*) from seda.rooms) as rooms,
       (select count(*) from seda.friends) as friends,
       (select count(*) from seda.activity_counts) as activity_counts,
       (select count(*) from seda.recommendations) as recommendations,
       (select count(*) from seda.suppressions) as suppressions,
       (select count(*) from seda.social_events) as social_events
"""
_SERVED = """
select p.shard, p.arm, string_agg(distinct p.generation::text, ', '), max(g.model_version),
       string_agg(p.entity_type, ', ' order by p.entity_type), max(p.flipped_at)
from seda.generation_pointer p
join seda.generations g using (generation)
group by p.shard, p.arm
order by p.shard, p.arm
"""


def print_processes(home: Path) -> None:
    """Every supervised process that runs."""
    table = new_table("Running", "process", "id", "for")
    records = [*recorded(home / "run"), *recorded(home / "run" / MATERIALISATION)]
    for record in records:
        process = record.process()
        if process is not None:
            table.add_row(record.name, str(record.pid), _ago(record.created))
    if table.row_count:
        print_table(table)
    else:
        typer.echo(f"Nothing runs in {home}.")


def print_databases(databases: Databases) -> None:
    """Sizes, rows and served generations of both regions."""
    contents = new_table("Databases", "region", "size", "rows")
    served = new_table(
        "Served", "region", "shard", "arm", "generation", "model", "types", "published"
    )
    for database in databases:
        contents.add_row(str(database.region), *_contents(database))
        for row in _served(database):
            served.add_row(str(database.region), *row)
    print_table(contents)
    if served.row_count:
        print_table(served)
    else:
        typer.echo("Nothing is published yet: run `seda materialize`.")


def _contents(database: RegionalDatabase) -> tuple[str, str]:
    with database.transaction() as connection:
        size = connection.execute(_SIZE).fetchone() or (0,)
        cursor = connection.execute(_ROWS)
        counts = cursor.fetchone() or ()
        names = [column.name for column in cursor.description or ()]
    rows = ", ".join(f"{count:,} {name}" for name, count in zip(names, counts, strict=True))
    return f"{size[0] / 1e6:,.0f} MB", rows


def _served(database: RegionalDatabase) -> list[tuple[str, ...]]:
    with database.transaction() as connection:
        rows = connection.execute(_SERVED).fetchall()
    return [(*(str(value) for value in row[:5]), f"{_ago(row[5].timestamp())} ago") for row in rows]


def _ago(moment: float) -> str:
    seconds = max(0, int(datetime.now(UTC).timestamp() - moment))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
