"""One pair of databases for all of the privacy tests, with Dagster's, emptied before each."""

import os
from collections.abc import Iterator

import psycopg
import pytest

from seda.database.embedded import EmbeddedServer
from seda.database.regions import Databases, Region
from seda.database.storage import storages
from seda.privacy.erasure import Places
from seda.settings import Settings
from tests.serving.serving_world import World


@pytest.fixture(scope="session")
def privacy_databases(
    server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Databases:
    """Made once: creating and dropping databases costs seconds where the disk is busy."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    names = {region: f"privacy_{worker}_{region}" for region in Region}
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        for region, name in names.items():
            connection.execute(f'create database "{name}" template "template_{region}"')
    return Databases(
        Settings(
            _env_file=None,
            rewrite_at_once_mib=0,
            home=tmp_path_factory.mktemp("home"),
            database_url=server.uri(names[Region.GLOBAL]),
            eu_database_url=server.uri(names[Region.EU]),
            dagster_database_url=server.uri(f"privacy_{worker}_dagster"),
        )
    )


@pytest.fixture
def world(privacy_databases: Databases) -> Iterator[World]:
    """An empty world in two regions."""
    world = World(privacy_databases)
    world.clear()
    yield world
    world.close()


@pytest.fixture
def places(privacy_databases: Databases) -> Places:
    return Places(privacy_databases, storages(privacy_databases.settings))
