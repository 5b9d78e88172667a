"""Canaries through Dagster: a bad one is rolled back, its reason in the UI; a good one goes on."""

import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import dagster as dg
import psycopg
import pytest

from seda.database.embedded import EmbeddedServer
from seda.database.regions import Databases, Region
from seda.experiments.canaries import experiments, serving_experiment
from seda.registry.models import registered
from seda.settings import Settings
from seda_assets.automation.canaries import canaries
from seda_assets.definitions import build_definitions
from seda_assets.resources import Platform
from tests.assets.canary_traffic import traffic
from tests.serving.canary_world import CANARY_VERSION, SHARE, Canary, running_canary
from tests.serving.serving_world import World

GATE = dg.AssetKey("canary_gate")
NOBODY = "http://127.0.0.1:9/metrics"


@pytest.fixture(scope="module")
def shared(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """Made once: creating and dropping databases costs seconds where the disk is busy."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    names = {region: f"gate_{worker}_{region}" for region in Region}
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        for region, name in names.items():
            connection.execute(f'create database "{name}" template "template_{region}"')
    return Databases(
        Settings(
            _env_file=None,
            home=tmp_path_factory.mktemp("home"),
            database_url=server.uri(names[Region.GLOBAL]),
            eu_database_url=server.uri(names[Region.EU]),
            api_metrics_urls=NOBODY,
            realtime_metrics_urls=NOBODY,
        )
    )


@pytest.fixture
def canary(shared: Databases) -> Iterator[Canary]:
    world = World(shared)
    world.clear()
    with running_canary(world, world.entities("room", 3)) as canary:
        yield canary
    world.close()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def platform(shared: Databases, now: datetime | None = None) -> Platform:
    return Platform(shared.settings, now=now or datetime.now(UTC))


def served(canary: Canary, **rates: float) -> None:
    """Traffic on lists of both arms, which Ada's shard has served for a while."""
    rooms = canary.world.entities("room", 3)
    control = canary.world.publish(canary.ada, rooms)
    ours = canary.publish(canary.ada, rooms)
    canary.world.sql("update seda.generations set published_at = now() - interval '2 hours'")
    traffic(
        canary.database, experiment=canary.experiment.name, share=SHARE, control=control,
        canary=ours, people=3000, now=datetime.now(UTC), **rates,
    )  # fmt: skip


def run(shared: Databases, instance: dg.DagsterInstance) -> dict:
    job = build_definitions(platform(shared)).resolve_job_def("canary_gates")
    assert job.execute_in_process(instance=instance).success
    event = instance.get_latest_materialization_event(GATE)
    return {key: each.value for key, each in event.asset_materialization.metadata.items()}


def holds(instance: dg.DagsterInstance) -> bool:
    """The check that makes a fallen canary red in the catalogue."""
    key = dg.AssetCheckKey(GATE, "gates_hold")
    (latest,) = instance.event_log_storage.get_latest_asset_check_execution_by_key([key]).values()
    return latest.evaluation.passed


def test_a_canary_that_people_click_less_is_rolled_back_with_its_reason_in_the_ui(
    shared, canary, instance
) -> None:
    served(canary, ctr=0.1, canary_ctr=0.06)
    facts = run(shared, instance)
    assert facts["global_verdict"] == "fail"
    assert facts["global_rolled_back"] == 1
    assert facts["global_reason"].startswith("ctr: worse for sure, and by more than 10%")
    assert re.search(
        r"\| ctr \| fail \| 10\.\d+% \| [67]\.\d+% \| -[234]\d\.\d%", facts["global_gates"]
    )
    assert "| api_p95 | not known |" in facts["global_gates"]
    assert facts["eu_verdict"] == "no canary runs"
    assert not holds(instance)
    # Who is served what after it: whoever has lists, by the control again.
    assert "| control | test-1 | 1 | 1 |" in facts["global_serves"]
    assert "canary" not in facts["global_serves"]
    with canary.database.transaction() as connection:
        assert serving_experiment(connection) is None
        assert experiments(connection)[0].reason == facts["global_reason"]
    assert canary.world.sql("select from seda.generation_pointer where arm = 'canary'") == []
    assert run(shared, instance)["global_verdict"] == "no canary runs"
    assert holds(instance)


def test_one_that_is_as_good_goes_on_and_the_flag_leaves_a_bad_one_to_people(
    shared, canary, instance
) -> None:
    served(canary, ctr=0.1, canary_ctr=0.1)
    facts = run(shared, instance)
    assert (facts["global_verdict"], facts["global_rolled_back"]) == ("not enough data", 0)
    assert "global_reason" not in facts
    flags = shared.settings.home_directory() / "flags.json"
    flags.write_text(json.dumps({"automatic-rollback": False}))
    try:
        canary.world.sql(
            "delete from seda.fact_events e using seda.impressions i where i.arm = 'canary' "
            "and i.user_id = e.user_id"
        )
        facts = run(shared, instance)
    finally:
        flags.unlink()
    assert (facts["global_verdict"], facts["global_rolled_back"]) == ("fail", 0)
    assert "ctr" in facts["global_reason"]
    with canary.database.transaction() as connection:
        assert serving_experiment(connection) is not None


def test_the_sensor_asks_for_one_look_in_ten_minutes_while_a_canary_runs(
    shared, canary, instance
) -> None:
    start = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)

    def key(minutes: float) -> str:
        now = start + timedelta(minutes=minutes)
        context = dg.build_sensor_context(
            instance=instance, resources={"platform": platform(shared, now)}
        )
        found = canaries(context)
        return found.run_key if isinstance(found, dg.RunRequest) else "none"

    # Whoever restarts, the same minutes are the same request.
    assert len({key(0), key(3), key(9.9)}) == 1
    assert key(10) not in (key(0), "none")
    canary.world.sql("update seda.experiments set state = 'rolled_back', serving = false, "
                     "ended_at = now()")  # fmt: skip
    assert key(0) == "none"


def step(shared, instance, **config: object) -> SimpleNamespace:
    job = build_definitions(platform(shared)).resolve_job_def("model_stage")
    result = job.execute_in_process(
        instance=instance, raise_on_error=False,
        run_config={"ops": {"move_model": {"config": config}}},
    )  # fmt: skip
    said = [event.event_specific_data.metadata for event in result.all_node_events
            if event.is_successful_output]  # fmt: skip
    failed = [event.step_failure_data.error for event in result.all_node_events
              if event.is_step_failure]  # fmt: skip
    errors = " ".join(str(each.to_string()) for each in failed)
    return SimpleNamespace(ok=result.success, errors=errors, said=said[0] if said else {})


def test_the_job_moves_versions_and_says_what_stands_where(shared, canary, instance) -> None:
    refused = step(shared, instance, step="canary", version=CANARY_VERSION)
    assert not refused.ok
    assert "roll it back first" in refused.errors
    done = step(shared, instance, step="rollback", reason="complaints")
    assert done.ok
    assert "linear-design-1 serves everybody" in done.said["result"].value
    assert f"| {CANARY_VERSION} | shadow | linear |" in done.said["versions"].value
    assert step(shared, instance, step="retire", version=CANARY_VERSION).ok
    assert step(shared, instance, step="shadow", version=CANARY_VERSION).ok
    assert step(shared, instance, step="canary", version=CANARY_VERSION, share=0.05).ok
    assert step(shared, instance, step="promote").ok
    with canary.database.transaction() as connection:
        stages = {each.version: each.stage for each in registered(connection)}
    assert stages == {CANARY_VERSION: "active", "linear-design-1": "retired"}
    assert "no step fly" in step(shared, instance, step="fly").errors
    assert "no region mars" in step(shared, instance, step="promote", region="mars").errors
