"""A tiny seeded world whose night went well, once per module; what tests plant they take out."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg
import psycopg
import pytest

from seda.database.embedded import EmbeddedServer
from seda.database.regions import Region
from seda.sandbox.profiles import SandboxProfile
from seda.sandbox.seeding import seed_sandbox
from seda.settings import Settings
from seda_assets.automation.jobs import all_shards
from seda_assets.definitions import build_definitions
from seda_assets.resources import Platform

NOW = datetime(2026, 9, 1, 3, 0, tzinfo=UTC)
TINY = SandboxProfile("tiny", 60, 150, 80, 40, listened_artists=20)
PUBLISHED = [
    dg.AssetKey(["seda", "recommendations"]),
    dg.AssetKey(["seda", "mv_user_top_candidates"]),
]


@dataclass
class Night:
    """A platform, the instance that recorded its runs, and ways to run it again and to look."""

    platform: Platform
    instance: dg.DagsterInstance

    def run(self, job: str, only: list[dg.AssetKey] | None = None) -> dg.ExecuteInProcessResult:
        """The job as schedules and `seda materialize` run it, over all shards."""
        return (
            build_definitions(self.platform)
            .resolve_job_def(job)
            .execute_in_process(
                instance=self.instance,
                tags=all_shards() if job != "observe_sources" else {},
                asset_selection=only,
                raise_on_error=False,
            )
        )

    def publish(self) -> dg.ExecuteInProcessResult:
        """Publish again what was ranked."""
        return self.run("nightly", PUBLISHED)

    def sql(self, query: str, *values: object, region: Region = Region.GLOBAL) -> list[tuple]:
        with self.platform.databases[region].transaction() as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def pointers(self) -> list[tuple]:
        """Which generation every shard and type is served."""
        query = "select shard, entity_type, generation from seda.generation_pointer order by 1, 2"
        return [row for region in Region for row in self.sql(query, region=region)]

    def feed(self, subject: str, region: Region = Region.GLOBAL) -> list[tuple]:
        """What the feed reads for a person: the API's own call, as the person's role."""
        with self.platform.databases[region].transaction() as connection:
            claims = f'{{"sub": "{subject}", "role": "authenticated"}}'
            connection.execute(
                "select set_config('role', 'authenticated', true), "
                "set_config('request.jwt.claims', %s, true)", [claims],
            )  # fmt: skip
            shards = self.platform.settings.global_shards
            if region is Region.EU:
                shards = self.platform.settings.eu_shards
            return connection.execute(
                "select entity_type, generation, entity_ids from seda.live_lists("
                "'authenticated', array['room', 'playlist', 'artist'], null, %s, now()) "
                "where generation is not null order by 1",
                [shards],
            ).fetchall()


@pytest.fixture(scope="module")
def night(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    home = tmp_path_factory.mktemp("night")
    names = {region: f"checks_{worker}_{home.name}_{region}" for region in Region}
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
    seed_sandbox(platform.databases, TINY, seed=7, now=NOW)
    with dg.DagsterInstance.ephemeral() as instance:
        night = Night(platform, instance)
        assert night.run("nightly").success
        yield night
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        for name in names.values():
            connection.execute(f'drop database "{name}" with (force)')
