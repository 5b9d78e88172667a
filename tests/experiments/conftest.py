"""One migrated database per module: what a test commits it also ends."""

import itertools
import os
from collections.abc import Iterator

import psycopg
import pytest

from seda.database.embedded import EmbeddedServer
from seda.database.regions import Region, RegionalDatabase

_databases = itertools.count()


@pytest.fixture(scope="module")
def database(server: EmbeddedServer) -> Iterator[RegionalDatabase]:
    name = f"test_experiments_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{next(_databases)}"
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        connection.execute(f'create database "{name}" template "template_global"')
    yield RegionalDatabase(Region.GLOBAL, server.uri(name))
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        connection.execute(f'drop database "{name}" with (force)')
