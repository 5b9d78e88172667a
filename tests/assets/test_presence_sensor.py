"""The durable lane through Dagster: one run for what happened, nothing lost, nothing repeated."""

import os
from collections.abc import Iterator
from itertools import pairwise

import dagster as dg
import psycopg
import pytest

from seda.activity.snapshot import FromSnapshot
from seda.activity.social_events import next_range
from seda.database.arrays import pack
from seda.database.embedded import EmbeddedServer
from seda.database.regions import Databases, Region
from seda.publishing.overlays import CONSUMER
from seda.recommender.learned import LearnedRankers
from seda.settings import Settings
from seda_assets.automation.presence_sensor import FAILED_AT_ONCE, presence_events
from seda_assets.definitions import build_definitions
from seda_assets.resources import Platform
from tests.serving.ranked_world import RankedWorld
from tests.serving.serving_world import Listener, World

ASSET = dg.AssetKey(["seda", "realtime_rankings"])


@pytest.fixture(scope="module")
def shared(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """Made once: creating and dropping databases costs seconds where the disk is busy."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    names = {region: f"sensor_{worker}_{region}" for region in Region}
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
def ranked(shared: Databases) -> Iterator[RankedWorld]:
    world = World(shared)
    world.clear()
    yield RankedWorld(world, rooms=20)
    world.close()


@pytest.fixture
def platform(shared: Databases) -> Platform:
    platform = Platform(shared.settings)
    learned = {"room": LearnedRankers.nothing()}
    for region in Region:
        platform.storages[region].put_arrays(
            f"learned_rankers/{region}", pack(FromSnapshot("snapshot", learned))
        )
    return platform


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def friends(ranked: RankedWorld, region: Region = Region.GLOBAL) -> tuple[Listener, Listener]:
    ada, ben = ranked.world.person("Ada", region), ranked.world.person("Ben", region)
    ranked.world.befriend(ada, ben)
    ranked.publish(ada, listed=15)
    return ada, ben


def tick(platform: Platform, instance: dg.DagsterInstance, cursor: str | None = None):
    context = dg.build_sensor_context(
        instance=instance, cursor=cursor, resources={"platform": platform}
    )
    return presence_events(context)


def run(platform: Platform, instance: dg.DagsterInstance, request: dg.RunRequest):
    job = build_definitions(platform).resolve_job_def("realtime")
    return job.execute_in_process(
        instance=instance, run_config=request.run_config, tags=request.tags, raise_on_error=False
    )


def test_what_happened_in_both_regions_is_one_run_with_its_facts(
    ranked, platform, instance
) -> None:
    assert isinstance(tick(platform, instance), dg.SkipReason)
    for region in Region:
        ada, ben = friends(ranked, region)
        for room in ranked.order(ada)[8:12]:
            ranked.event(ben, "join", room)
        ranked.ahead(region)
    (request,) = tick(platform, instance).run_requests
    assert run(platform, instance, request).success
    assert [len(ranked.overlays(region)) for region in Region] == [1, 1]
    event = instance.get_latest_materialization_event(ASSET)
    facts = {key: each.value for key, each in event.asset_materialization.metadata.items()}
    assert (facts["events"], facts["people"], facts["dagster/row_count"]) == (8, 2, 2)
    assert facts["ms_per_person"] > 0
    # Nothing of a person is written to Dagster's storage.
    people = [str(row[0]) for region in Region for row in ranked.overlays(region)]
    said = f"{instance.fetch_materializations(ASSET, limit=9).records} {request}"
    assert not any(id in said for id in people)
    assert isinstance(tick(platform, instance), dg.SkipReason)


def test_a_restart_neither_loses_nor_repeats(ranked, platform, instance) -> None:
    ada, ben = friends(ranked)
    ranked.event(ben, "join", ranked.order(ada)[10])
    ranked.ahead()
    first = tick(platform, instance)
    # Killed before it submitted: it asks for the same again, under the same key.
    (request,), (again,) = first.run_requests, tick(platform, instance).run_requests
    assert again.run_key == request.run_key
    assert run(platform, instance, request).success
    made = ranked.overlays()
    # Killed before it noted that: whatever cursor it comes back with, the database knows.
    assert isinstance(tick(platform, instance, first.cursor), dg.SkipReason)
    assert isinstance(tick(platform, instance, None), dg.SkipReason)
    # And a run that is started a second time finds that all is done.
    assert run(platform, instance, request).success
    event = instance.get_latest_materialization_event(ASSET)
    assert event.asset_materialization.metadata["people"].value == 0
    assert ranked.overlays() == made


def test_a_failed_run_is_asked_for_again_and_then_not_in_a_loop(ranked, platform, instance) -> None:
    ada, ben = friends(ranked)
    ranked.event(ben, "join", ranked.order(ada)[10])
    ranked.ahead()
    table = "alter table seda.realtime_rankings"
    ranked.world.sql(f"{table} add constraint broken check (user_id is null) not valid")
    keys = []
    for _ in range(FAILED_AT_ONCE + 2):
        (request,) = tick(platform, instance).run_requests
        keys.append(request.run_key)
        assert not run(platform, instance, request).success
    assert len(set(keys)) in (FAILED_AT_ONCE + 1, FAILED_AT_ONCE + 2)  # once a minute from then on
    assert len({key.partition("/")[0] for key in keys}) == 1
    ranked.world.sql(f"{table} drop constraint broken")
    (request,) = tick(platform, instance).run_requests
    assert run(platform, instance, request).success
    assert len(ranked.overlays()) == 1


def test_one_run_at_a_time_and_what_happens_meanwhile_comes_together(
    ranked, platform, instance
) -> None:
    ada, ben = friends(ranked)
    ranked.event(ben, "join", ranked.order(ada)[10])
    ranked.ahead()
    (request,) = tick(platform, instance).run_requests
    job = build_definitions(platform).resolve_job_def("realtime")
    under_way = instance.create_run_for_job(
        job, run_config=request.run_config, tags=request.tags, status=dg.DagsterRunStatus.STARTED
    )
    for place in (2, 5, 8):
        ranked.event(ben, "join", ranked.order(ada)[place])
    ranked.ahead()
    assert isinstance(tick(platform, instance), dg.SkipReason)
    instance.report_run_failed(under_way)
    (request,) = tick(platform, instance).run_requests
    assert run(platform, instance, request).success
    event = instance.get_latest_materialization_event(ASSET)
    assert event.asset_materialization.metadata["events"].value == 4


def test_what_happens_before_the_first_night_waits_for_it(ranked, platform, instance) -> None:
    ada, ben = ranked.world.person("Ada"), ranked.world.person("Ben")
    ranked.world.befriend(ada, ben)
    ranked.event(ben, "join", ranked.rooms[0])
    ranked.ahead()
    assert isinstance(tick(platform, instance), dg.SkipReason)
    ranked.publish(ada, listed=len(ranked.rooms))  # so that this room is in the list
    (request,) = tick(platform, instance).run_requests
    assert run(platform, instance, request).success
    assert len(ranked.overlays()) == 1


def test_what_concerns_nobody_is_passed_over_without_a_run(ranked, platform, instance) -> None:
    ada, _ = friends(ranked)
    hidden, stranger = ranked.world.person("Cem", hidden=True), ranked.world.person("Dan")
    ranked.world.befriend(ada, hidden)
    for person in (hidden, stranger):
        ranked.event(person, "join", ranked.rooms[0])
    assert ranked.ahead().events == 2
    assert isinstance(tick(platform, instance), dg.SkipReason)
    assert ranked.ahead().events == 0


def test_an_event_is_read_when_no_older_transaction_is_open(ranked, platform, instance) -> None:
    ada, ben = friends(ranked)
    with ranked.world.databases[Region.GLOBAL].connect() as slow:
        slow.execute("select pg_current_xact_id()")
        ranked.event(ben, "join", ranked.order(ada)[10])
        assert isinstance(tick(platform, instance), dg.SkipReason)
        slow.rollback()
    ranked.ahead()
    assert tick(platform, instance).run_requests


def test_a_burst_is_read_in_bounded_parts_of_whole_transactions(ranked) -> None:
    _, ben = friends(ranked)
    with ranked.world.databases[Region.GLOBAL].transaction() as connection:
        connection.execute(
            "insert into seda.social_events (event_id, user_id, kind, entity_type, entity_id, "
            "occurred_at) select gen_random_uuid(), %s, 'join', 'room', gen_random_uuid(), now() "
            "from generate_series(1, 7)",
            [ben.id],
        )
    for room in ranked.rooms[:4]:
        ranked.event(ben, "join", room)
    ranked.ahead()
    parts = []
    with ranked.world.databases[Region.GLOBAL].transaction() as connection:
        while (part := next_range(connection, CONSUMER, most=3)).events:
            parts.append(part)
            connection.execute(
                "insert into seda.event_cursors values (%s, %s::text::xid8, now()) "
                "on conflict (consumer) do update set transaction_id = excluded.transaction_id",
                [CONSUMER, part.until],
            )
            if len(parts) > 10:
                break
    assert [part.events for part in parts] == [4, 3, 1]  # the first is one transaction of seven
    assert all(one.until == next.since for one, next in pairwise(parts))


def test_it_runs_with_the_night_on_the_lists_that_were_flipped() -> None:
    job = build_definitions(Platform()).resolve_job_def("nightly")
    assert ASSET in job.asset_layer.executable_asset_keys
    upstream = {key.path[-1] for key in job.asset_layer.get(ASSET).parent_keys}
    assert {"social_events", "recommendations", "mv_user_top_candidates"} <= upstream
