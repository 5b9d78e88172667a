"""The repository's dagster.yaml is an instance that stores events in Postgres, and nothing here."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.events import EngineEventData
from dagster._core.launcher.base import WorkerStatus
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import TickStatus
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import (
    QueuedRunCoordinatorDaemon,
)
from dagster_graphql.schema import create_schema
from graphql import parse, validate

from seda.cli import services, stuck_runs
from seda.database.embedded import EmbeddedServer
from seda.database.regions import Databases
from seda.settings import REPOSITORY, Settings
from seda_assets.automation.partitions import LISTS
from seda_assets.definitions import build_definitions
from seda_assets.resources import Platform
from seda_assets.run_backfill import LAUNCH
from seda_assets.run_launcher import is_alive


@pytest.fixture
def instance(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """The instance as every process of the platform opens it."""
    name = f"dagster_{tmp_path.parent.name.replace('-', '_')}"
    settings = Settings(_env_file=None, home=tmp_path, dagster_database_url=server.uri(name))
    monkeypatch.setenv("DAGSTER_HOME", str(REPOSITORY))
    monkeypatch.setenv("SEDA_DAGSTER_DATABASE_URL", Databases(settings).dagster_url)
    monkeypatch.setenv("SEDA_DAGSTER_ARTIFACTS", str(tmp_path / "dagster"))
    with dg.DagsterInstance.get() as instance:
        yield instance


def test_an_event_comes_back(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    before = sorted(REPOSITORY.iterdir())

    instance.report_runless_asset_event(
        dg.AssetMaterialization("a_table", metadata={"dagster/row_count": 7})
    )

    event = instance.get_latest_materialization_event(dg.AssetKey("a_table"))
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["dagster/row_count"].value == 7
    assert sorted(REPOSITORY.iterdir()) == before
    assert Path(instance.storage_directory()).is_relative_to(tmp_path)


def test_the_instance_is_set_up_for_a_machine_that_people_wait_for(
    instance: dg.DagsterInstance,
) -> None:
    assert instance.run_coordinator.dequeue_interval_seconds == 1  # type: ignore[attr-defined]
    assert instance.run_monitoring_enabled
    assert not instance.telemetry_enabled
    for instigator in (InstigatorType.SENSOR, InstigatorType.SCHEDULE):
        kept = instance.get_tick_retention_settings(instigator)
        for status in (TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE):
            assert 0 < kept[status] <= 30


def test_what_is_asked_of_the_ui_is_in_its_schema() -> None:
    schema = create_schema().graphql_schema

    for query in (stuck_runs._IN_PROGRESS, stuck_runs._END, stuck_runs._LIMIT, LAUNCH):
        assert not validate(schema, parse(query))


CODE = RepositoryPythonOrigin(
    sys.executable, ModuleCodePointer("seda_assets.definitions", "definitions", None)
)


def _queue(
    instance: dg.DagsterInstance, job: str, times: int = 1, **tags: str
) -> list[dg.DagsterRun]:
    definition = build_definitions(Platform()).resolve_job_def(job)
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("seda"), "__repository__")
    return [
        instance.create_run_for_job(
            definition,
            tags={**definition.tags, **tags},
            status=dg.DagsterRunStatus.QUEUED,
            remote_job_origin=repository.get_job_origin(job),
            job_code_origin=JobPythonOrigin(job, CODE),
        )
        for _ in range(times)
    ]


def _next(instance: dg.DagsterInstance) -> list[str]:
    """What the daemon would start now."""
    instance.event_log_storage.set_concurrency_slots(LISTS, 1)  # as `seda up` does
    daemon = QueuedRunCoordinatorDaemon(interval_seconds=1)
    chosen = daemon._get_runs_to_dequeue(instance, instance.get_concurrency_config(), None)
    return [run.job_name for run in chosen]


def _started(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    instance.handle_new_event(_event(run, dg.DagsterEventType.RUN_START))


def _event(run: dg.DagsterRun, kind: dg.DagsterEventType) -> dg.EventLogEntry:
    event = dg.DagsterEvent(kind.value, run.job_name)
    return dg.EventLogEntry(
        error_info=None, level=20, user_message="", run_id=run.run_id, timestamp=time.time(),
        job_name=run.job_name, dagster_event=event,
    )  # fmt: skip


def test_a_long_backfill_starves_neither_the_night_nor_what_people_wait_for(
    instance: dg.DagsterInstance,
) -> None:
    first, *_ = _queue(instance, "model_backfill", 5)
    assert _next(instance) == ["model_backfill"]  # one at a time writes lists
    _started(instance, first)
    _queue(instance, "nightly")
    _queue(instance, "embed_catalogue")
    _queue(instance, "realtime")
    # Beside the backfill; the night waits for one shard of it, not for all.
    assert _next(instance) == ["realtime", "embed_catalogue"]
    instance.handle_new_event(_event(first, dg.DagsterEventType.RUN_SUCCESS))
    assert _next(instance) == ["realtime", "nightly", "embed_catalogue"]


def test_there_is_always_a_place_for_the_re_rank(instance: dg.DagsterInstance) -> None:
    for job in ("nightly", "embed_catalogue", "observe_sources"):
        _started(instance, _queue(instance, job)[0])
    _queue(instance, "evaluation", 2)
    _queue(instance, "hourly")
    _queue(instance, "realtime")
    assert _next(instance) == ["realtime"]


def test_dagsters_processes_know_where_the_services_are() -> None:
    """A canary's gates ask them; on a free port the settings do not tell."""
    ports = services.Ports(api=8100, realtime=8101, notifier=8102, dagster=8103)
    started = list(services._dagster_services({"SEDA_API_PORT": "0"}, Path(), Path(), ports))
    assert len(started) == 3
    for service in started:
        told = service.environment
        assert (told["SEDA_API_PORT"], told["SEDA_REALTIME_PORT"]) == ("8100", "8101")


def test_a_run_whose_process_is_gone_is_found_out(instance: dg.DagsterInstance) -> None:
    assert services.LISTS_POOL == LISTS
    (run,) = _queue(instance, "realtime")
    launcher = instance.run_launcher
    assert launcher.supports_check_run_worker_health
    assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        instance.report_engine_event("Started.", run, EngineEventData.in_process(process.pid))
        assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
        process.kill()
    assert launcher.check_run_worker_health(run).status is WorkerStatus.FAILED
    # Somebody else has the number by now.
    assert is_alive(os.getpid(), time.time())
    assert not is_alive(os.getpid(), time.time() - 86_400)
