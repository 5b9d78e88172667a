"""A world of sixty people that a night takes seconds over, and what tests do to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psycopg

from seda.database.embedded import EmbeddedServer
from seda.database.regions import Region
from seda.sandbox.profiles import SandboxProfile
from seda.sandbox.seeding import seed_sandbox
from seda.settings import Settings
from seda_assets.automation.jobs import all_shards
from seda_assets.definitions import build_definitions
from seda_assets.resources import Platform

NOW = datetime(2026, 9, 1, 3, 0, tzinfo=UTC)
SMALL = SandboxProfile("small", 60, 120, 60, 30, listened_artists=10)


@dataclass
class SmallWorld:
    """Two seeded databases, and the instance that records what runs over them."""

    platform: Platform
    instance: dg.DagsterInstance

    def night(self, *, observed: bool = True) -> dg.ExecuteInProcessResult:
        """Sources observed, then the whole graph over all shards in one run."""
        definitions = build_definitions(self.platform)
        if observed:
            job = definitions.resolve_job_def("observe_sources")
            job.execute_in_process(instance=self.instance)
        nightly = definitions.resolve_job_def("nightly")
        return nightly.execute_in_process(
            instance=self.instance, tags=all_shards(), raise_on_error=False
        )

    def rows(self, query: str, region: Region = Region.GLOBAL) -> list[tuple]:
        with self.platform.databases[region].transaction() as connection:
            return connection.execute(query).fetchall()

    def sql(self, statement: str, region: Region = Region.GLOBAL) -> None:
        with self.platform.databases[region].transaction() as connection:
            connection.execute(statement)


@contextmanager
def small_world(server: EmbeddedServer, home: Path, name: str) -> Iterator[SmallWorld]:
    """Seeded databases of their own on this server, gone afterwards."""
    names = {region: f"small_{name}_{region}" for region in Region}
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        for region, database in names.items():
            connection.execute(f'create database "{database}" template "template_{region}"')
    settings = Settings(
        _env_file=None,
        home=home,
        database_url=server.uri(names[Region.GLOBAL]),
        eu_database_url=server.uri(names[Region.EU]),
    )
    platform = Platform(settings, now=NOW)
    seed_sandbox(platform.databases, SMALL, seed=7, now=NOW)
    with dg.DagsterInstance.ephemeral() as instance:
        yield SmallWorld(platform, instance)
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        for database in names.values():
            connection.execute(f'drop database "{database}" with (force)')
