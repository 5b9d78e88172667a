"""The repository's dagster.yaml is an instance that stores events in Postgres, and nothing here."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickStatus
from dagster_graphql.schema import create_schema
from graphql import parse, validate

from seda.cli import stuck_runs
from seda.database.embedded import EmbeddedServer
from seda.database.regions import Databases
from seda.settings import REPOSITORY, Settings


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

    for query in (stuck_runs._IN_PROGRESS, stuck_runs._END):
        assert not validate(schema, parse(query))
