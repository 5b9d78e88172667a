"""Sensors that tell people: once each, whatever is restarted, and no more than is worth keeping."""

from datetime import timedelta
from uuid import uuid4

import dagster as dg
import pytest
from psycopg.types.json import Jsonb

from seda.database.regions import Databases, Region
from seda.observability.notices import KEPT_OF_A_KIND, LONGEST, Notice, NoticeKind, give, newest
from seda.registry.models import BLEND, ModelVersion, get_active, promote, register
from seda_assets.automation.jobs import nightly
from seda_assets.automation.notices import new_model_version, run_failures, spend_thresholds
from seda_assets.definitions import build_definitions
from seda_assets.resources import Platform
from tests.vectorstore.catalogue import NOW

_SERVED = """
    with made as (
        insert into seda.generations (shard, model_version, data_versions, created_at, state)
        select 'global-0' || n, 'linear-design-1', '{}', now(), 'published'
        from generate_series(0, 2) n returning generation, shard)
    insert into seda.generation_pointer (shard, entity_type, arm, generation, flipped_at)
    select shard, 'room', 'control', generation, now() from made"""
_SPENT = """
    insert into seda.embedding_spend (id, provider, model, job, state, tokens, usd, worker,
        reserved_at, expires_at)
    values (gen_random_uuid(), 'openai', 'm', 'new_text', 'settled', 1, %s, 'w', %s, %s)"""


@pytest.fixture
def platform(databases: Databases) -> Platform:
    return Platform(databases.settings, now=NOW)


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def _told(platform: Platform, last: int = 100) -> list[Notice]:
    with platform.databases[Region.GLOBAL].transaction() as connection:
        return [each.notice for each in newest(connection, last)]


def _tick(sensor, platform: Platform, instance: dg.DagsterInstance):
    return sensor(dg.build_sensor_context(instance=instance, resources={"platform": platform}))


def _activate(platform: Platform, version: str) -> None:
    with platform.databases[Region.GLOBAL].transaction() as connection:
        active = get_active(connection, BLEND)
        register(connection, ModelVersion(BLEND, version, active.kind, active.config), {})
        promote(connection, BLEND, version, now=platform.now())


def test_a_new_version_is_proposed_once_with_what_is_to_be_run(platform, instance) -> None:
    with platform.databases[Region.GLOBAL].transaction() as connection:
        connection.execute(_SERVED)
    assert isinstance(_tick(new_model_version, platform, instance), dg.SkipReason)
    _activate(platform, "linear-2")
    result = _tick(new_model_version, platform, instance)
    assert not result.run_requests
    (event,) = result.asset_events
    assert event.asset_key == dg.AssetKey("ranked_recommendations")
    assert event.metadata["shards"].value == "global-00, global-01, global-02"
    assert "--shards global-02" in event.metadata["command"].value
    # A daemon that starts again has no memory of its own, and asks again.
    assert isinstance(_tick(new_model_version, platform, instance), dg.SkipReason)
    _activate(platform, "linear-3")
    assert _tick(new_model_version, platform, instance).asset_events
    assert [notice.kind for notice in _told(platform)] == [NoticeKind.MODEL_VERSION] * 2


def test_nothing_is_proposed_while_lists_are_made(platform, instance) -> None:
    with platform.databases[Region.GLOBAL].transaction() as connection:
        connection.execute(_SERVED)
    _activate(platform, "linear-2")
    job = build_definitions(platform).resolve_job_def(nightly.name)
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert isinstance(_tick(new_model_version, platform, instance), dg.SkipReason)
    assert _told(platform) == []
    instance.report_run_failed(run)
    assert _tick(new_model_version, platform, instance).asset_events


def test_each_share_of_the_budget_is_told_once_a_month(platform, instance) -> None:
    assert isinstance(_tick(spend_thresholds, platform, instance), dg.SkipReason)

    def spend(dollars: int, at=NOW) -> None:
        with platform.databases[Region.GLOBAL].transaction() as connection:
            connection.execute(_SPENT, [dollars, at, at])

    spend(1199)
    assert isinstance(_tick(spend_thresholds, platform, instance), dg.SkipReason)
    spend(1)
    (event,) = _tick(spend_thresholds, platform, instance).asset_events
    assert (event.asset_key.path[-1], event.metadata["share"].value) == ("embedding_spend", 80)
    assert isinstance(_tick(spend_thresholds, platform, instance), dg.SkipReason)
    spend(300)
    (event,) = _tick(spend_thresholds, platform, instance).asset_events
    assert event.metadata["share"].value == 100
    next_month = NOW + timedelta(days=31)
    later = Platform(platform.settings, now=next_month)
    assert isinstance(_tick(spend_thresholds, later, instance), dg.SkipReason)
    spend(1600, next_month)
    assert len(_tick(spend_thresholds, later, instance).asset_events) == 2
    assert len(_told(platform)) == 4


@dg.op
def break_down() -> None:
    raise ValueError(f"duplicate key (user_id)=({uuid4()}) of ada@example.org " + "x" * 900)


@dg.job(name="broken")
def broken_job() -> None:
    break_down()


def test_a_failed_run_is_told_once_without_what_is_personal(platform, instance) -> None:
    for expected in (1, 2):
        done = broken_job.execute_in_process(instance=instance, raise_on_error=False)
        context = dg.build_run_status_sensor_context(
            sensor_name="run_failures", dagster_instance=instance, dagster_run=done.dagster_run,
            dagster_event=next(e for e in done.all_events if e.is_failure and e.is_job_event),
            resources={"platform": platform},
        ).for_run_failure()  # fmt: skip
        run_failures(context)
        run_failures(context)  # the daemon was killed before it noted that
        assert len(_told(platform)) == expected
    notice = _told(platform)[0]
    assert notice.said.startswith("broken failed at break_down: ")
    assert "ada@" not in notice.said
    assert notice.facts["step"] == "break_down"
    assert len(notice.said) <= LONGEST


def test_of_each_kind_the_newest_are_kept(platform) -> None:
    with platform.databases[Region.GLOBAL].transaction() as connection:
        give(connection, Notice(NoticeKind.SPEND, "2026-11/80", "80 %", {}), now=NOW)
        connection.execute(
            "insert into seda.notices (kind, key, said, facts, noticed_at) "
            "select 'run_failure', n::text, 'failed', %s, now() from generate_series(1, 1005) n",
            [Jsonb({})],
        )
        give(connection, Notice(NoticeKind.RUN_FAILURE, "last", "failed", {}), now=NOW)
        kept = connection.execute(
            "select kind, count(*) from seda.notices group by kind order by kind"
        ).fetchall()
    assert kept == [("run_failure", KEPT_OF_A_KIND), ("spend", 1)]
    assert _told(platform)[0].key == "last"
