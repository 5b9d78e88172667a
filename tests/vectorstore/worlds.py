"""A small catalogue with vectors, for tests of search: genres overlap, some rows are not public."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import numpy as np
import psycopg

from seda.database.embedded import EmbeddedServer
from seda.database.identifiers import Ids, ids_of
from seda.database.regions import Region, RegionalDatabase
from seda.embeddings.spaces import EmbeddingSpace
from seda.vectorstore.rows import ensure_space
from seda.vectorstore.store import Filter, Upsert

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SPACE = EmbeddingSpace("local", "words", 48, "1", "global")
OTHER = EmbeddingSpace("local", "words", 48, "2", "global")
EU_SPACE = EmbeddingSpace("local", "words", 48, "1", "eu")
GENRES = ("rock", "techno", "jazz", "rare")
LANGUAGES = ("de", "en", None)


@dataclass(frozen=True, eq=False)
class World:
    """Artists as rows: `vectors` (n, 48) float32 of unit norm, and what a filter asks for."""

    ids: Ids
    vectors: np.ndarray
    genres: list[list[str]]
    languages: list[str | None]

    @property
    def uuids(self) -> list[UUID]:
        return [UUID(bytes=bytes(row)) for row in self.ids]

    @property
    def rows(self) -> Upsert:
        return Upsert(self.ids, self.vectors, ["hash"] * len(self.ids))

    def matching(self, where: Filter) -> np.ndarray:
        """Positions of the artists that match."""
        excluded = set(where.exclude)
        return np.array(
            [
                place
                for place, uuid in enumerate(self.uuids)
                if (not where.genres or set(where.genres) & set(self.genres[place]))
                and (not where.languages or self.languages[place] in where.languages)
                and uuid not in excluded
            ],
            int,
        )


def made_world(count: int = 400, seed: int = 0) -> World:
    """Artists around the genres' centres; every fortieth is of the rare genre, too."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((3, SPACE.dim))
    main = random.integers(0, 3, count)
    vectors = centres[main] + random.standard_normal((count, SPACE.dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    genres = [[GENRES[genre]] + ["rare"] * (place % 40 == 0) for place, genre in enumerate(main)]
    languages = [LANGUAGES[number] for number in random.integers(0, 3, count)]
    ids = ids_of(UUID(int=int(number)) for number in random.permutation(count) + 1)
    return World(ids, vectors.astype(np.float32), genres, languages)


def insert_artists(connection: psycopg.Connection, world: World) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into seda.artists (id, name, genres, language) values (%s, 'a', %s, %s)",
            list(zip(world.uuids, world.genres, world.languages, strict=True)),
        )


@contextmanager
def filled_database(server: EmbeddedServer, name: str, world: World) -> Iterator[RegionalDatabase]:
    """A migrated global database with the world's artists and both spaces, no vectors."""
    name = f"test_{name}_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        connection.execute(f'drop database if exists "{name}" with (force)')
        connection.execute(f'create database "{name}" template "template_global"')
    database = RegionalDatabase(Region.GLOBAL, server.uri(name))
    with database.transaction() as connection:
        insert_artists(connection, world)
        ensure_space(connection, SPACE)
        ensure_space(connection, OTHER, "standby")
    yield database
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        connection.execute(f'drop database "{name}" with (force)')
