"""Every sensor, whatever it is for: what waits is one request, a restart neither loses nor repeats.

Each has a scenario in which far more waits than it may take at once. A sensor without one fails.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg
import psycopg
import pytest
from pydantic import SecretStr

from seda.database.embedded import EmbeddedServer
from seda.database.regions import Databases, Region
from seda.observability.notices import newest
from seda.settings import Settings
from seda_assets.definitions import definitions
from seda_assets.resources import Platform
from tests.serving.ranked_world import RankedWorld
from tests.serving.serving_world import World, quiet
from tests.vectorstore.catalogue import add_artists

MANY = 300
NOW = datetime.now(UTC)
_RUN_KEY = "dagster/run_key"
_SPACE = "local:test:4:1:global"

SENSORS = {each.name: each for each in definitions.get_repository_def().sensor_defs}
# Dagster itself hands failed runs over, one by one: tests/assets/test_notices.py.
BY_DAGSTER = {"run_failures"}


@pytest.fixture(scope="module")
def shared(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Databases:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    names = {region: f"sensors_{worker}_{region}" for region in Region}
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        for region, name in names.items():
            connection.execute(f'create database "{name}" template "template_{region}"')
    return Databases(
        Settings(
            _env_file=None, home=tmp_path_factory.mktemp("home"),
            database_url=server.uri(names[Region.GLOBAL]),
            eu_database_url=server.uri(names[Region.EU]),
            spotify_client_id="seda", openai_api_key=SecretStr("canary-key"),
        )
    )  # fmt: skip


@pytest.fixture
def world(shared: Databases) -> Iterator[World]:
    world = World(shared)
    world.clear()
    yield world
    world.clear()
    world.sql("delete from seda.model_registry where version <> 'linear-design-1'")
    world.sql("update seda.model_registry set stage = 'active'")
    world.close()


def _people(world: World) -> None:
    world.sql("insert into seda.users (id) select gen_random_uuid() from generate_series(1, %s)",
              MANY)  # fmt: skip


def _changed(world: World) -> None:
    add_artists(world.databases[Region.GLOBAL], range(MANY))


def _waiting(world: World) -> None:
    world.sql(
        "insert into seda.embedding_spaces (id, provider, model, dim, version, region, state) "
        "values (%s, 'local', 'test', 4, '1', 'global', 'active')", _SPACE,
    )  # fmt: skip
    world.sql(
        "insert into seda.embedding_queue (space_id, entity_type, entity_id, content_hash, reason, "
        "attempts, enqueued_at, retry_at) select %s, 'artist', gen_random_uuid(), 'x', 'provider', "
        "1, now(), now() - interval '1 minute' from generate_series(1, %s)", _SPACE, MANY,
    )  # fmt: skip


def _events(world: World) -> None:
    ranked = RankedWorld(world, rooms=20)
    ada, *friends = (world.person(f"person {n}") for n in range(1 + MANY // len(ranked.rooms)))
    world.befriend(ada, *friends)
    ranked.publish(ada, listed=15)
    for friend in friends:
        for room in ranked.rooms:
            ranked.event(friend, "join", room)
    ranked.ahead()


def _linked(world: World) -> None:
    _people(world)
    world.sql("insert into seda.linked_accounts (user_id, provider, refresh_token_encrypted, "
              "next_sync_at) select id, 'spotify', 'x', now() from seda.users")  # fmt: skip


def _imported(world: World) -> None:
    _people(world)
    world.sql("insert into seda.import_changes (user_id, changed_at, taste_at) "
              "select id, now(), now() from seda.users")  # fmt: skip


def _canary(world: World) -> None:
    _version(world, "canary")
    world.sql(
        "insert into seda.experiments (name, model, control_version, canary_version, share, "
        "started_at) values ('e', 'blend', 'linear-design-1', 'new-1', 0.1, now())"
    )


def _asked(world: World) -> None:
    _people(world)
    world.sql("insert into seda.privacy_jobs (user_id, kind, scope) "
              "select id, 'export', 'account' from seda.users")  # fmt: skip


def _over(world: World) -> None:
    """Exports whose seven days are over, and nothing else to do."""
    _asked(world)
    world.sql("update seda.privacy_jobs set status = 'completed', artefact_uri = 'exports/x.zip', "
              "artefact_expires_at = now() - interval '1 minute'")  # fmt: skip


def _outdated(world: World) -> None:
    for number in range(8):
        ada = world.person(f"person {number}")
        world.publish(ada, world.entities("room", 2), model_version="old-1")


def _spent(world: World) -> None:
    world.sql(
        "insert into seda.embedding_spend (id, provider, model, job, state, tokens, usd, worker, "
        "reserved_at, expires_at) select gen_random_uuid(), 'openai', 'm', 'new_text', 'settled', "
        "1, 6, 'w', %s, %s from generate_series(1, %s)", NOW, NOW, MANY,
    )  # fmt: skip


def _version(world: World, stage: str) -> None:
    world.sql("insert into seda.model_registry (name, version, stage, kind) "
              "values ('blend', 'new-1', %s, 'linear')", stage)  # fmt: skip


@dataclass(frozen=True)
class Scenario:
    """What makes a sensor act, and at most how many things it does in one tick."""

    sensor: str
    plant: Callable[[World], None]
    most: int = 1


SCENARIOS = (
    Scenario("unserved_people", _people),
    Scenario("catalogue_changes", _changed),
    Scenario("waiting_texts", _waiting),
    Scenario("presence_events", _events),
    Scenario("provider_links", _linked),
    Scenario("imported_lists", _imported),
    Scenario("canaries", _canary),
    Scenario("privacy_jobs", _asked),
    Scenario("privacy_jobs", _over),
    Scenario("new_model_version", _outdated),
    Scenario("spend_thresholds", _spent, most=2),
)


def test_every_sensor_has_a_scenario() -> None:
    assert set(SENSORS) == {each.sensor for each in SCENARIOS} | BY_DAGSTER


def _tick(
    name: str, platform: Platform, instance: dg.DagsterInstance, cursor: str | None
) -> tuple[list[dg.RunRequest], list[object], str | None]:
    """Requests, events and the cursor that a daemon would note."""
    context = dg.build_sensor_context(
        instance=instance, cursor=cursor, resources={"platform": platform},
        definitions=definitions,
    )  # fmt: skip
    ticked = SENSORS[name].evaluate_tick(context)
    return list(ticked.run_requests or ()), list(ticked.asset_events), ticked.cursor


def _queue(instance: dg.DagsterInstance, job: str, request: dg.RunRequest) -> None:
    """What the daemon leaves that launched the run and was killed then."""
    tags = {**request.tags, _RUN_KEY: str(request.run_key)}
    run = dg.DagsterRun(job, tags=tags, status=dg.DagsterRunStatus.STARTED)
    instance.add_run(run)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda e: e.sensor + e.plant.__name__)
def test_what_waits_is_asked_for_once_whatever_restarts(world: World, scenario: Scenario) -> None:
    scenario.plant(world)
    quiet(world)  # a sensor waits for older transactions, and other tests share the server
    platform, name = Platform(world.settings, now=datetime.now(UTC)), scenario.sensor
    with dg.DagsterInstance.ephemeral() as instance:
        asked, said, cursor = _tick(name, platform, instance, None)
        assert 1 <= len(asked) + len(said) <= scenario.most
        # Killed before it submitted or noted anything: nothing is lost, under the same key.
        again, said_again, _ = _tick(name, platform, instance, None)
        if asked:
            assert [each.run_key for each in again] == [each.run_key for each in asked]
            assert all(each.run_key for each in asked)
        else:
            assert said_again == []
            with platform.databases[Region.GLOBAL].transaction() as connection:
                assert len(newest(connection, 100)) == len(said)
        # Killed after it submitted: whatever cursor it comes back with, now or while the run takes
        # its time, it asks for nothing that is not the same run.
        for request in asked:
            _queue(instance, SENSORS[name].job_name, request)
        keys = {each.run_key for each in asked}
        for later in (timedelta(), timedelta(minutes=70)):
            then = Platform(world.settings, now=platform.now() + later)
            for noted in (None, cursor):
                more, told, _ = _tick(name, then, instance, noted)
                assert {each.run_key for each in more} <= keys
                assert told == []
