"""One pair of databases for all of the notifications' tests, emptied before each."""

import os
from collections.abc import Iterator

import psycopg
import pytest

from seda.database.embedded import EmbeddedServer
from seda.database.regions import Databases, Region
from seda.settings import Settings
from tests.serving.serving_world import World


@pytest.fixture(scope="session")
def notification_databases(
    server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Databases:
    """Made once: creating and dropping databases costs seconds where the disk is busy."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    names = {region: f"notifications_{worker}_{region}" for region in Region}
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        for region, name in names.items():
            connection.execute(f'create database "{name}" template "template_{region}"')
    return Databases(
        Settings(
            _env_file=None,
            home=tmp_path_factory.mktemp("home"),
            database_url=server.uri(names[Region.GLOBAL]),
            eu_database_url=server.uri(names[Region.EU]),
        )
    )


@pytest.fixture
def world(notification_databases: Databases) -> Iterator[World]:
    """An empty world in two regions."""
    world = World(notification_databases)
    world.clear()
    yield world
    world.close()
