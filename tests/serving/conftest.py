"""One pair of databases for all of the services' tests, emptied before each; the API in process."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from seda.database.embedded import EmbeddedServer
from seda.database.regions import Databases, Region
from seda.settings import Settings
from tests.serving.serving_world import Api, World, open_api


@pytest.fixture(scope="session")
def serving_databases(
    server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Databases:
    """Made once: creating and dropping databases costs seconds where the disk is busy."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    names = {region: f"serving_{worker}_{region}" for region in Region}
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        for region, name in names.items():
            connection.execute(f'create database "{name}" template "template_{region}"')
    home: Path = tmp_path_factory.mktemp("home")
    return Databases(
        Settings(
            _env_file=None,
            rewrite_at_once_mib=0,
            home=home,
            presence_linger_ms=0,  # most tests are about something else than coming back
            database_url=server.uri(names[Region.GLOBAL]),
            eu_database_url=server.uri(names[Region.EU]),
        )
    )


@pytest.fixture
def world(serving_databases: Databases) -> Iterator[World]:
    """An empty world in two regions."""
    world = World(serving_databases)
    world.clear()
    yield world
    world.close()


@pytest.fixture
async def api(world: World) -> AsyncIterator[Api]:
    """The app over the world."""
    async with open_api(world) as api:
        yield api
