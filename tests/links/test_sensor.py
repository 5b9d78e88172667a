"""Linked accounts through Dagster: one run for what waits, nothing lost, nobody told early."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import psycopg
import pytest
from pydantic import SecretStr

from seda.database.embedded import EmbeddedServer
from seda.database.regions import Databases, Region
from seda.links.oauth import challenge_of, new_verifier
from seda.links.opening import open_connectors
from seda.links.syncing import link_place
from seda.privacy.vault import open_vault
from seda.publishing.overlays import CHANNEL
from seda.sandbox.mock_providers.running import MockServer
from seda.settings import Settings
from seda_assets.assets.links import announced_imports
from seda_assets.automation.links_sensor import LISTS_EVERY, imported_lists, provider_links
from seda_assets.definitions import build_definitions
from seda_assets.resources import Platform
from serving.realtime.announcements import feed_update
from tests.embeddings.mock_server import mock_server, mock_service
from tests.links.test_connectors import apple_key, consent, settings_for
from tests.serving.linked_world import know
from tests.serving.serving_world import Listener, World

__all__ = ["mock_server", "mock_service"]

IMPORTS = dg.AssetKey(["seda", "provider_imports"])
TOKENS = dg.AssetKey("sealed_tokens")


@pytest.fixture(scope="module")
def shared(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Databases:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    names = {region: f"links_{worker}_{region}" for region in Region}
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
def world(shared: Databases) -> Iterator[World]:
    world = World(shared)
    world.clear()
    yield world
    world.close()


@pytest.fixture
def platform(shared: Databases, mock_server: MockServer) -> Platform:
    options = settings_for(mock_server, shared.settings.home)
    names = ("spotify_client_id", "spotify_base_url", "youtube_client_id", "youtube_client_secret",
             "youtube_base_url")  # fmt: skip
    changed = {name: getattr(options, name) for name in names}
    return Platform(shared.settings.model_copy(update=changed))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def link(platform: Platform, world: World, who: Listener, listener: str = "ada") -> str:
    """What the API's callback leaves; the refresh token."""
    connector = open_connectors(platform.settings)["spotify"]
    verifier = new_verifier()
    code = consent(connector.authorize_url("s", challenge_of(verifier)), listener)["code"]
    refresh = connector.exchange(SecretStr(code), verifier).refresh
    assert refresh is not None
    sealed = open_vault(platform.settings).seal(refresh, **link_place(who.id, "spotify"))
    with world.as_person(who) as connection:
        connection.execute(
            "select seda.link_account('spotify', 'account', '[]', %s, now())", [sealed]
        )
    return refresh.get_secret_value()


def tick(sensor, platform: Platform, instance: dg.DagsterInstance, cursor: str | None = None):
    context = dg.build_sensor_context(
        instance=instance, cursor=cursor, resources={"platform": platform}
    )
    return sensor(context)


def run(platform: Platform, instance: dg.DagsterInstance, name: str = "links"):
    job = build_definitions(platform).resolve_job_def(name)
    return job.execute_in_process(instance=instance, raise_on_error=False)


def facts(instance: dg.DagsterInstance, asset: dg.AssetKey) -> dict:
    event = instance.get_latest_materialization_event(asset)
    return {key: each.value for key, each in event.asset_materialization.metadata.items()}


def vectors(world: World, region: Region) -> None:
    """A space of four dimensions in which the first genre of an artist is a direction."""
    world.sql(
        "insert into seda.embedding_spaces (id, provider, model, dim, version, region, state) "
        "values (%s, 'local', 'test', 4, '1', %s, 'active')",
        f"local:test:4:1:{region}", str(region), region=region,
    )  # fmt: skip
    for place, (id,) in enumerate(world.sql("select id from seda.artists", region=region)):
        world.sql(
            "insert into seda.artists_vectors (space_id, entity_id, embedding, content_hash) "
            "values (%s, %s, %s::halfvec, 'x')",
            f"local:test:4:1:{region}", id, str(np.eye(4)[place % 4].tolist()), region=region,
        )  # fmt: skip


def test_links_of_both_regions_are_one_run_and_tastes_follow(world, platform, instance) -> None:
    know(world, share=20)
    assert isinstance(tick(provider_links, platform, instance), dg.SkipReason)
    people, secrets = [], []
    for region in Region:
        vectors(world, region)
        people.append(world.person("Ada", region))
        secrets.append(link(platform, world, people[-1]))
    request = tick(provider_links, platform, instance)
    assert isinstance(request, dg.RunRequest)
    assert run(platform, instance).success
    found = facts(instance, IMPORTS)
    assert (found["read"], found["imports"], found["tastes"], found["failed"]) == (2, 2, 2, 0)
    for who in people:
        ((taste,),) = world.sql(
            "select embedding::text from seda.user_vectors where entity_id = %s", who.id,
            region=who.region,
        )  # fmt: skip
        assert np.linalg.norm(json.loads(taste)) == pytest.approx(1, abs=1e-2)
    assert isinstance(tick(provider_links, platform, instance), dg.SkipReason)
    # A run that is started again finds that all is done.
    before = world.sql("select * from seda.activity_counts order by entity_id")
    assert run(platform, instance).success
    assert facts(instance, IMPORTS)["imports"] == 0
    assert world.sql("select * from seda.activity_counts order by entity_id") == before
    # Nothing of a person or a token is in Dagster's storage.
    said = f"{request} {instance.fetch_materializations(IMPORTS, limit=9).records}"
    for each in instance.get_runs():
        said += f"{each} {instance.all_logs(each.run_id)}"
    for who in people:
        assert str(who.id) not in said
    assert not any(secret in said for secret in [*secrets, "canary-client-secret"])


def test_a_run_that_fails_on_a_row_puts_nothing_of_it_into_dagsters_storage(
    world, platform, instance
) -> None:
    know(world, share=20)
    ada = world.person("Ada")
    secret = link(platform, world, ada)
    ((sealed,),) = world.sql("select refresh_token_encrypted::text from seda.linked_accounts")
    # The refused row stands in what Postgres says about it.
    world.sql(
        "alter table seda.linked_accounts add constraint refused "
        "check (last_synced_at is null and problem is null)"
    )
    assert not run(platform, instance).success
    world.sql("alter table seda.linked_accounts drop constraint refused")
    said = "".join(str(instance.all_logs(each.run_id)) for each in instance.get_runs())
    assert "refused" in said
    for canary in (str(ada.id), secret, sealed[2:]):
        assert canary not in said


def test_lists_are_asked_for_once_and_people_told_when_they_are_there(
    world, platform, instance
) -> None:
    know(world, share=20)
    ada, ben = world.person("Ada"), world.person("Ben")
    rooms = world.entities("room", 2)
    for who in (ada, ben):
        world.publish(who, rooms)
    link(platform, world, ada)
    assert isinstance(tick(imported_lists, platform, instance), dg.SkipReason)
    assert run(platform, instance).success
    asked = tick(imported_lists, platform, instance)
    (request,) = asked.run_requests
    shard = request.tags["dagster/asset_partition_range_start"]
    assert shard == request.tags["dagster/asset_partition_range_end"] == world.shard(ada)
    # Killed before it submitted: the same request again. Afterwards not before five minutes.
    (again,) = tick(imported_lists, platform, instance).run_requests
    assert again.run_key == request.run_key
    assert isinstance(tick(imported_lists, platform, instance, asked.cursor), dg.SkipReason)
    later = Platform(platform.settings, now=datetime.now(UTC) + LISTS_EVERY)
    assert tick(imported_lists, later, instance, asked.cursor).run_requests
    with world.databases[Region.GLOBAL].connect(autocommit=True) as listening:
        listening.execute(f"listen {CHANNEL}")
        announce = {"resources": {"platform": platform}, "instance": instance}
        assert dg.materialize([announced_imports], **announce).success
        # Published before the run began: she is not told of lists that do not know her imports.
        assert world.sql("select user_id from seda.import_changes") == [(ada.id,)]
        world.sql("update seda.generations set published_at = now() + interval '1 hour'")
        assert dg.materialize([announced_imports], **announce).success
        assert dg.materialize([announced_imports], **announce).success
        told = [feed_update(each.payload) for each in listening.notifies(timeout=1)]
    assert [(each.users, each.document["reason"]) for each in told] == [((ada.id,), "imports")]
    assert isinstance(tick(imported_lists, platform, instance), dg.SkipReason)


def test_removed_imports_take_the_taste_with_them(world, platform, instance) -> None:
    know(world, share=20)
    vectors(world, Region.GLOBAL)
    ada = world.person("Ada")
    link(platform, world, ada)
    assert run(platform, instance).success
    with world.as_person(ada) as connection:
        connection.execute("select seda.unlink_account('spotify', true, now())")
    assert world.sql("select 1 from seda.user_vectors where entity_id = %s", ada.id) == []
    assert isinstance(tick(provider_links, platform, instance), dg.RunRequest)
    assert run(platform, instance).success
    assert facts(instance, IMPORTS)["tastes"] == 1
    assert world.sql("select 1 from seda.user_vectors where entity_id = %s", ada.id) == []
    assert isinstance(tick(provider_links, platform, instance), dg.SkipReason)
    assert isinstance(tick(imported_lists, platform, instance), dg.SensorResult)


def test_a_key_of_ninety_days_is_rotated_and_apples_token_renewed(
    world, platform, instance, tmp_path: Path
) -> None:
    key = apple_key(tmp_path)
    changed = {"apple_key_file": key, "apple_key_id": "K", "apple_team_id": "T", "home": tmp_path}
    settings = platform.settings.model_copy(update=changed)
    days = [datetime.now(UTC) + timedelta(days=each) for each in (0, 89, 91)]
    seen = []
    for day in days:
        assert run(Platform(settings, now=day), instance, "token_upkeep").success
        found = facts(instance, TOKENS)
        seen.append((found["rotated"], found["rewrapped"], found["renewed"], found["key_age_days"]))
    assert [each[0] for each in seen] == [0, 0, 1]
    assert [each[1] for each in seen] == [0, 0, 2]  # the developer token of each region
    assert [each[2] for each in seen] == [2, 0, 2]
    ((sealed,),) = world.sql("select secret_encrypted from seda.provider_credentials")
    assert open_vault(settings).is_current(sealed)
    check = instance.get_latest_asset_check_evaluation_record
    record = check(dg.AssetCheckKey(TOKENS, "key_is_young"))
    assert record.event.asset_check_evaluation.passed
    ((noted,),) = world.sql("select count(*) from seda.audit_log where action = 'keys.rotated'")
    assert noted == 1
    # A value whose key is gone is an alert.
    for path in (tmp_path / "keys").glob("*.key"):
        path.unlink()
    assert run(Platform(settings, now=days[2]), instance, "token_upkeep").success
    record = check(dg.AssetCheckKey(TOKENS, "key_is_young"))
    assert not record.event.asset_check_evaluation.passed
