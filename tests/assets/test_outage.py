"""The outage drill: the graph completes on the vectors it has, and nothing that waits is lost."""

import os
from collections.abc import Iterator
from uuid import uuid4

import dagster as dg
import psycopg
import pytest
from pydantic import SecretStr

from seda.database.embedded import EmbeddedServer
from seda.database.regions import Region
from seda.sandbox.profiles import SandboxProfile
from seda.sandbox.seeding import seed_sandbox
from seda.settings import Settings
from seda_assets.materialize import GraphRun, materialize_graph
from seda_assets.resources import Platform
from tests.assets.conftest import NOW
from tests.embeddings.mock_server import KEY, MockServer

WORLD = SandboxProfile("outage", 120, 400, 200, 60, listened_artists=40)
EMBEDDING = ["artists_vectors", "playlists_vectors", "rooms_vectors", "embedding_spend"]
_ACTIVE = """
    select count(*) from seda.artists_vectors v
    join seda.embedding_spaces s on s.id = v.space_id where s.state = 'active'"""


class _Drill:
    """A seeded world whose texts go to OpenAI's mock, and the instance that records its runs."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings, self.instance = settings, instance
        self.platform = Platform(settings, now=NOW)

    def run(self, only: list[str] | None = None, *, days_later: int = 0) -> GraphRun:
        later = NOW.replace(day=NOW.day + days_later)
        self.platform = Platform(self.settings, now=later)
        return materialize_graph(self.platform, self.instance, only=only)

    def sql(self, query: str, *values) -> list[tuple]:
        with self.platform.databases[Region.GLOBAL].transaction() as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def told(self, asset: str) -> dict:
        (record,) = self.instance.fetch_materializations(dg.AssetKey(asset), limit=1).records
        return {k: v.value for k, v in record.asset_materialization.metadata.items()}


@pytest.fixture
def drill(server: EmbeddedServer, tmp_path, mock_server: MockServer) -> Iterator[_Drill]:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    names = {region: f"outage_{worker}_{region}" for region in Region}
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        for region, name in names.items():
            connection.execute(f'create database "{name}" template "template_{region}"')
    settings = Settings(
        _env_file=None,
        home=tmp_path,
        database_url=server.uri(names[Region.GLOBAL]),
        eu_database_url=server.uri(names[Region.EU]),
        openai_api_key=SecretStr(KEY),
        openai_base_url=mock_server.openai_url,
        eu_embedder_url=mock_server.runner_url,
    )
    with dg.DagsterInstance.ephemeral() as instance:
        drill = _Drill(settings, instance)
        seed_sandbox(drill.platform.databases, WORLD, seed=7, now=NOW)
        yield drill
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        for name in names.values():
            connection.execute(f'drop database "{name}" with (force)')


def test_the_graph_completes_on_cached_vectors_and_the_queue_drains_after(
    drill: _Drill, mock_server: MockServer
) -> None:
    assert drill.run().success
    ((embedded,),) = drill.sql(_ACTIVE)
    assert embedded == WORLD.artists
    ((generation,),) = drill.sql("select max(generation) from seda.generation_pointer")

    newcomers = [uuid4() for _ in range(12)]
    for number, newcomer in enumerate(newcomers):
        drill.sql("insert into seda.artists (id, name) values (%s, %s)", newcomer, f"N {number}")
        drill.sql(
            "insert into seda.artist_genres (artist_id, genre, weight) "
            "select %s, min(genre), 1 from seda.artist_genres",
            newcomer,
        )
    mock_server.set_profile("openai", error_rate=1.0)
    assert drill.run(days_later=1).success
    assert drill.sql(_ACTIVE) == [(WORLD.artists,)]
    waiting = {row[0] for row in drill.sql("select entity_id from seda.embedding_queue")}
    assert set(newcomers) <= waiting
    # Newcomers have no plays: they are offered for their genre, by its centroid.
    ((later, unserved),) = drill.sql(
        "select max(generation), count(*) filter (where generation = %s) "
        "from seda.generation_pointer",
        generation,
    )
    assert later > generation
    assert unserved == 0
    assert drill.told("embedding_breakers")["waiting_texts_global"] >= 12
    assert {request["status"] for request in mock_server.requests("openai")[-3:]} == {500}

    mock_server.reset()
    assert drill.run(EMBEDDING, days_later=2).success
    assert drill.sql(_ACTIVE) == [(WORLD.artists + 12,)]
    assert drill.sql("select count(*) from seda.embedding_queue") == [(0,)]
    spend = drill.told("embedding_spend")
    assert spend["month_usd_global"] > 0
    assert "data:image/png;base64," in spend["plot"]
    assert "new_text" in spend["by_provider_and_job"]
