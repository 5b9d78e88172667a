"""Writes the lists that a region serves to one CSV or Parquet file, streamed and all or nothing.

Ids are those of the imported source where a row has one. Suppressions are live, so they apply here
as they do in a feed. Experiments' other arms are not exported.
"""

import csv
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pyarrow
from psycopg import sql
from pyarrow import parquet

from seda.database.regions import RegionalDatabase
from seda.errors import SedaError

_CHUNK_ROWS = 20_000
_ENTITIES = {
    "artist": sql.Identifier("seda", "artists"),
    "playlist": sql.Identifier("seda", "playlists"),
    "room": sql.Identifier("seda", "rooms"),
}

_GENERATIONS = """
select array_agg(distinct generation order by generation) from seda.generation_pointer
where entity_type = %s and arm = 'control'
"""

# Nobody who is gone or withdrew their imports, nothing suppressed; ranks close the gaps. Where a
# place explores, what was ranked there stands for what was drawn.
_SERVED = sql.SQL("""
with ranked as (
    select user_id, entity_type, rank, model_version,
           coalesce((context -> 'exploration' ->> 'instead_of')::uuid, entity_id) as entity_id,
           coalesce((context -> 'exploration' ->> 'ranked_score')::float8, score) as score
    from seda.recommendations
    where generation = any (%(generations)s::bigint[]) and entity_type = %(entity_type)s)
select coalesce(u.external_ids ->> 'lastfm', u.id::text) as user_id,
       coalesce(e.external_ids ->> 'lastfm', e.id::text) as entity_id,
       row_number() over (partition by r.user_id order by r.rank) as rank,
       r.score, r.model_version
from ranked r
join seda.users u on u.id = r.user_id and u.deleted_at is null
join {entities} e on e.id = r.entity_id and e.deleted_at is null
where not exists (
      select from seda.tombstones t where t.user_id = u.id and t.purged_at is null)
  and not exists (
      select from seda.suppressions s
      where s.user_id = r.user_id and s.entity_type = r.entity_type
        and s.entity_id = r.entity_id
        and (s.suppressed_until is null or s.suppressed_until > seda.clock()))
order by r.user_id, r.rank
""")

_ARE_INTEGERS = sql.SQL("""
select (select bool_and(coalesce(external_ids ->> 'lastfm' ~ '^[0-9]{{1,18}}$', false))
        from seda.users u
        where deleted_at is null and exists (
            select from seda.recommendations r
            where r.generation = any (%(generations)s::bigint[]) and r.user_id = u.id)),
       (select bool_and(coalesce(external_ids ->> 'lastfm' ~ '^[0-9]{{1,18}}$', false))
        from {entities} where deleted_at is null)
""")


class ExportError(SedaError):
    """The file cannot be written as asked, or there is nothing to write."""


class _Writer(Protocol):
    """Writes columns in chunks to one file."""

    def write(self, columns: Sequence[Sequence[Any]]) -> None: ...

    def close(self) -> None: ...


def export_recommendations(database: RegionalDatabase, *, entity_type: str, path: Path) -> int:
    """Write `user_id`, `<entity_type>_id`, `rank`, `score`, `model_version`, best first by person.

    The whole file shows one moment of the database. Ids are integers in a Parquet file where all
    of that column are. Returns the number of rows; a file that was there is replaced at the end.

    Raises:
        ExportError: another ending than .csv or .parquet, no such folder, or nothing published.
    """
    ending = path.suffix.lower()
    if ending not in (".csv", ".parquet"):
        raise ExportError(f"{path} must end in .csv or .parquet: the ending decides the format.")
    if not path.parent.is_dir() or path.is_dir():
        raise ExportError(f"{path} cannot be written: give a file in a folder that exists.")
    with database.connect() as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        generations = _generations(connection, entity_type)
        if not generations:
            raise ExportError(
                f"No {entity_type} lists are published in the region {database.region}: run "
                "`seda materialize` first."
            )
        asked = {"generations": generations, "entity_type": entity_type}
        with _replacing(path) as unfinished:
            schema = _schema(connection, entity_type, asked)
            writer = _CsvWriter(unfinished, schema) if ending == ".csv" else (
                _ParquetWriter(unfinished, schema)
            )  # fmt: skip
            return _stream(connection, entity_type, asked, writer)


def _generations(connection: psycopg.Connection, entity_type: str) -> list[int]:
    row = connection.execute(_GENERATIONS, [entity_type]).fetchone()
    return list(row[0] or ()) if row else []


def _schema(
    connection: psycopg.Connection, entity_type: str, asked: dict[str, Any]
) -> pyarrow.Schema:
    query = _ARE_INTEGERS.format(entities=_ENTITIES[entity_type])
    users, entities = connection.execute(query, asked).fetchone() or (False, False)
    return pyarrow.schema(
        [
            ("user_id", pyarrow.int64() if users else pyarrow.string()),
            (f"{entity_type}_id", pyarrow.int64() if entities else pyarrow.string()),
            ("rank", pyarrow.int32()),
            ("score", pyarrow.float64()),
            ("model_version", pyarrow.string()),
        ]
    )


def _stream(
    connection: psycopg.Connection, entity_type: str, asked: dict[str, Any], writer: _Writer
) -> int:
    query = _SERVED.format(entities=_ENTITIES[entity_type])
    # Every row is wanted, and of a new partition the planner believes that it is nearly empty.
    connection.execute("set local enable_nestloop = off")
    connection.execute("set local cursor_tuple_fraction = 1")
    count = 0
    with connection.cursor("served") as cursor:  # named, so that rows stay with the server
        cursor.execute(query, asked)
        while rows := cursor.fetchmany(_CHUNK_ROWS):
            writer.write(list(zip(*rows, strict=True)))
            count += len(rows)
    writer.close()
    return count


class _CsvWriter:
    def __init__(self, path: Path, schema: pyarrow.Schema) -> None:
        self._file = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(schema.names)

    def write(self, columns: Sequence[Sequence[Any]]) -> None:
        self._writer.writerows(zip(*columns, strict=True))

    def close(self) -> None:
        self._file.close()


class _ParquetWriter:
    def __init__(self, path: Path, schema: pyarrow.Schema) -> None:
        self._schema = schema
        self._writer = parquet.ParquetWriter(path, schema, compression="zstd")

    def write(self, columns: Sequence[Sequence[Any]]) -> None:
        arrays = [
            pyarrow.array(
                map(int, values) if pyarrow.types.is_int64(field.type) else values, field.type
            )
            for field, values in zip(self._schema, columns, strict=True)
        ]
        self._writer.write_batch(pyarrow.record_batch(arrays, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A path beside the file, which takes its place when the block succeeds, else disappears."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        with suppress(FileNotFoundError):
            unfinished.unlink()
