"""A small seeded world, run through the whole graph once per module."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from seda.database.embedded import EmbeddedServer
from seda.database.regions import Region
from seda.sandbox.profiles import SMOKE
from seda.sandbox.seeding import seed_sandbox
from seda.settings import Settings
from seda_assets.materialize import GraphRun, materialize_graph
from seda_assets.resources import Platform
from tests.embeddings.mock_server import mock_server, mock_service

__all__ = ["mock_server", "mock_service"]

NOW = datetime(2026, 9, 1, 3, 0, tzinfo=UTC)


@dataclass
class World:
    """A platform whose graph has run, and the instance that recorded it."""

    platform: Platform
    instance: dg.DagsterInstance
    result: GraphRun


@pytest.fixture(scope="module")
def world(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory,
          request: pytest.FixtureRequest) -> Iterator[World]:  # fmt: skip
    home: Path = tmp_path_factory.mktemp("home")
    suffix = home.parent.name.replace("-", "_") + request.module.__name__.rsplit(".", 1)[-1]
    names = {region: f"world_{suffix}_{region}" for region in Region}
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        for region, name in names.items():
            connection.execute(f'create database "{name}" template "template_{region}"')
    settings = Settings(
        _env_file=None,
        home=home,
        database_url=server.uri(names[Region.GLOBAL]),
        eu_database_url=server.uri(names[Region.EU]),
    )
    platform = Platform(settings, now=NOW)
    seed_sandbox(platform.databases, SMOKE, seed=7, now=NOW)
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialize_graph(platform, instance)
        yield World(platform, instance, result)
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        for name in names.values():
            connection.execute(f'drop database "{name}" with (force)')
