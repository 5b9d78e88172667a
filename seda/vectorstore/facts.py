"""What a search filters by, as the catalogue says it now: for stores that keep a copy of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import psycopg
from psycopg import sql

from seda.database.identifiers import Ids, uuids_of
from seda.database.regions import RegionalDatabase


@dataclass(frozen=True)
class Facts:
    """One entity's genres and language."""

    genres: tuple[str, ...]
    language: str | None


# Of each id `(n, 16)` in order; None for what is deleted, private or unknown.
FactsOf: TypeAlias = Callable[[str, Ids], Sequence[Facts | None]]


def catalogue_facts(database: RegionalDatabase) -> FactsOf:
    """Reads one region's catalogue, on a connection per call."""

    def facts_of(entity: str, ids: Ids) -> Sequence[Facts | None]:
        with database.transaction() as connection:
            return load_facts(connection, entity, ids)

    return facts_of


def load_facts(connection: psycopg.Connection, entity: str, ids: Ids) -> Sequence[Facts | None]:
    """The facts of each id `(n, 16)` uint8, in order."""
    statement = sql.SQL(
        "select id, genres, language from {} where id = any (%s) and visible"
    ).format(sql.Identifier("seda", f"{entity}s_searchable"))
    uuids = uuids_of(ids)
    rows = connection.execute(statement, [uuids])
    known = {uuid: Facts(tuple(genres), language) for uuid, genres, language in rows}
    return [known.get(uuid) for uuid in uuids]
