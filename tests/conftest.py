"""A real Postgres for every test: one embedded server per run, fresh databases per test."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fasteners
import psycopg
import pytest
from hypothesis import HealthCheck, settings

from seda.database.embedded import EmbeddedServer
from seda.database.migrate import migrate
from seda.database.regions import Databases, Region
from seda.settings import Settings

_serial = itertools.count()

# How long a busy machine takes says nothing about the code.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """The run's server, shared by all workers; the last one to leave stops it."""
    # A short path: a socket's path is limited to about a hundred characters.
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    folder = Path(tempfile.gettempdir()) / f"seda-test-{run[:12]}"
    folder.mkdir(exist_ok=True)
    with fasteners.InterProcessLock(folder / "lock"):
        server = EmbeddedServer(folder / "pg", durable=False)
        _make_templates(server, folder)
    yield server
    server.stop()
    if not (folder / "pg" / "postmaster.pid").exists():
        shutil.rmtree(folder, ignore_errors=True)


def _make_templates(server: EmbeddedServer, folder: Path) -> None:
    done = folder / "templates-made"
    if done.exists():
        return
    migrate(_databases(server, {region: f"template_{region}" for region in Region}, folder))
    done.touch()


def _databases(server: EmbeddedServer, names: dict[Region, str], home: Path) -> Databases:
    return Databases(
        Settings(
            _env_file=None,
            home=home,
            database_url=server.uri(names[Region.GLOBAL]),
            eu_database_url=server.uri(names[Region.EU]),
        )
    )


@pytest.fixture
def databases(server: EmbeddedServer, tmp_path: Path) -> Iterator[Databases]:
    """Two migrated, empty regional databases that nobody else uses, and a home of their own."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    names = {region: f"test_{worker}_{next(_serial)}_{region}" for region in Region}
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        for region, name in names.items():
            connection.execute(f'create database "{name}" template "template_{region}"')
    yield _databases(server, names, tmp_path)
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        for name in names.values():
            connection.execute(f'drop database "{name}" with (force)')


@pytest.fixture
def database(databases: Databases):
    """The global region's database."""
    return databases[Region.GLOBAL]


@pytest.fixture(scope="module")
def shared_databases(
    server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Databases]:
    """The same for all tests of a module, which leave them as they found them."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    names = {region: f"shared_{worker}_{next(_serial)}_{region}" for region in Region}
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        for region, name in names.items():
            connection.execute(f'create database "{name}" template "template_{region}"')
    yield _databases(server, names, tmp_path_factory.mktemp("home"))
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        for name in names.values():
            connection.execute(f'drop database "{name}" with (force)')
