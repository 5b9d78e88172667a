"""Two regional databases for a whole module, emptied after every test: making one is slow."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from seda.database.embedded import EmbeddedServer
from seda.database.regions import Databases, Region, RegionalDatabase
from seda.settings import Settings
from tests.embeddings.mock_server import mock_server, mock_service

__all__ = ["mock_server", "mock_service"]

_serial = itertools.count()
_EMPTIED = (
    "users, artists, playlists, rooms, embedding_spaces, embedding_spend, circuit_breakers, "
    "circuit_breaker_transitions, embedding_budget_overrides, embeddings_audit, audit_log, "
    "catalogue_changes"
)


@pytest.fixture(scope="module")
def kept_databases(
    server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Databases]:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    names = {region: f"embeddings_{worker}_{next(_serial)}_{region}" for region in Region}
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        for region, name in names.items():
            connection.execute(f'create database "{name}" template "template_{region}"')
    home: Path = tmp_path_factory.mktemp("home")
    yield Databases(
        Settings(
            _env_file=None,
            home=home,
            database_url=server.uri(names[Region.GLOBAL]),
            eu_database_url=server.uri(names[Region.EU]),
        )
    )
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        for name in names.values():
            connection.execute(f'drop database "{name}" with (force)')


@pytest.fixture
def databases(kept_databases: Databases) -> Iterator[Databases]:
    """Both regions, empty."""
    yield kept_databases
    relations = ", ".join(f"seda.{name.strip()}" for name in _EMPTIED.split(","))
    for database in kept_databases:
        with database.connect(autocommit=True) as connection:
            # Else the audit log refuses to be emptied.
            connection.execute("set session_replication_role = replica")
            connection.execute(f"truncate {relations} restart identity cascade")


@pytest.fixture
def database(databases: Databases) -> RegionalDatabase:
    """The global region, empty."""
    return databases[Region.GLOBAL]
