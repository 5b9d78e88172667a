"""Looks for what lies in the wrong region: people, their rows, and their places in matrices.

The database refuses such rows as they are written (region columns, `refuse_foreigners`, foreign
keys to `users`); this looks at what is there, whatever wrote it. Friendships alone cross, by id.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import psycopg
from psycopg import sql

from seda.database.regions import Databases, Region, RegionalDatabase
from seda.database.storage import NotStoredError, RegionalStorage, UnstorableArrayError
from seda.people.residence import EEA
from seda.privacy.datamap import data_map
from seda.privacy.ownership import OwnedColumn, owned_columns

_CROSSING: Final = {("friends", "friend_user_id"), ("region_directory", "user_id")}
"""Columns that may name somebody of the other region: pseudonyms, and nothing beside them."""
_ID_ARRAYS: Final = "user_ids"


@dataclass(frozen=True)
class Astray:
    """What is in a region and should not be."""

    region: Region
    where: str
    what: str
    count: int


def scan(databases: Databases, storages: dict[Region, RegionalStorage]) -> list[Astray]:
    """Everything that is in the wrong region, rows and matrices."""
    homes = _homes(databases)
    found: list[Astray] = []
    for database in databases:
        foreign = [person for person, home in homes.items() if home is not database.region]
        found += _rows(database, foreign)
        found += _countries(database)
        found += _regions(database)
        found += _files(storages[database.region], set(foreign))
    return found


def _homes(databases: Databases) -> dict[UUID, Region]:
    """Where people live, by the directory; who is in no directory lives where their row is."""
    homes: dict[UUID, Region] = {}
    for database in databases:
        with database.transaction() as connection:
            for (person,) in connection.execute("select id from seda.users"):
                homes.setdefault(person, database.region)
    with databases[Region.GLOBAL].transaction() as connection:
        for person, region in connection.execute(
            "select user_id, region from seda.region_directory"
        ):
            homes[person] = Region(region)
    return homes


def _rows(database: RegionalDatabase, foreign: list[UUID]) -> Iterator[Astray]:
    """Rows of people who live in the other region, in every table that has people."""
    with database.transaction() as connection:
        connection.execute("create temp table foreigners (id uuid primary key) on commit drop")
        with connection.cursor().copy("copy foreigners from stdin") as copy:
            for person in foreign:
                copy.write_row([person])
        connection.execute("analyze foreigners")
        for each in [OwnedColumn("users", "id"), *owned_columns(connection), *_MADE]:
            if (each.relation, each.column) in _CROSSING:
                continue
            query = sql.SQL(
                "select count(*) from seda.{} r join foreigners f on f.id = r.{}"
            ).format(sql.Identifier(each.relation), sql.Identifier(each.column))
            if count := _count(connection, query):
                yield Astray(
                    database.region, each.relation, "rows of people of the other region", count
                )


_MADE: Final = (OwnedColumn("playlists", "owner_user_id"), OwnedColumn("rooms", "created_by"))


def _countries(database: RegionalDatabase) -> Iterator[Astray]:
    """Who lives in the European Economic Area and was not put into its region."""
    if database.region is Region.EU:
        return
    with database.transaction() as connection:
        query = "select count(*) from seda.users where country = any (%s)"
        row = connection.execute(query, [sorted(EEA)]).fetchone()
    if row and row[0]:
        yield Astray(database.region, "users", "people of a country of the EEA", int(row[0]))


def _regions(database: RegionalDatabase) -> Iterator[Astray]:
    """Rows whose own `region` says another one; a dropped constraint would let them in."""
    with database.transaction() as connection:
        for relation, columns in data_map().items():
            if "region" not in columns or relation == "region_directory":
                continue
            query = sql.SQL(
                "select count(*) from seda.{} where region <> seda.database_region()"
            ).format(sql.Identifier(relation))
            if count := _count(connection, query):
                yield Astray(database.region, relation, "rows that say another region", count)


def _files(storage: RegionalStorage, foreign: set[UUID]) -> Iterator[Astray]:
    """Matrices that have somebody of the other region among their people."""
    for key in storage.list():
        try:
            arrays = storage.get_arrays(key) if _is_arrays(storage, key) else {}
        except (NotStoredError, UnstorableArrayError):
            continue
        for name, array in arrays.items():
            if _ID_ARRAYS in name and array.ndim == 2 and array.shape[1] == 16:
                there = {UUID(bytes=row.tobytes()) for row in array} & foreign
                if there:
                    yield Astray(storage.region, key, "people of the other region", len(there))


def _is_arrays(storage: RegionalStorage, key: str) -> bool:
    return not key.startswith(("exports/", "erasures/", "audit/"))


def _count(connection: psycopg.Connection, query: sql.Composed) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0
