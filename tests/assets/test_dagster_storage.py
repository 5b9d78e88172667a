"""Old events and runs go from Dagster's storage; what exists, is stale or runs looks as before."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from seda.database.embedded import EmbeddedServer
from seda_assets.dagster_storage import prune

NOW = datetime.now(UTC)
KEPT = timedelta(days=30)
KEYS = ["a", "b"]
SHARDS = dg.StaticPartitionsDefinition(KEYS)


@dg.asset(check_specs=[dg.AssetCheckSpec("sound", asset="source")])
def source(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    context.log.info("a line of a log")
    check = dg.AssetCheckResult(check_name="sound", passed=True)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(context.run.run_id), check_results=[check]
    )


@dg.asset(partitions_def=SHARDS, deps=[source])
def sharded() -> None: ...


@dg.asset(deps=[source])
def failing(context: dg.AssetExecutionContext) -> None:
    if context.run.tags.get("fail"):
        raise RuntimeError("as asked")


@pytest.fixture(scope="module")
def url(server: EmbeddedServer) -> Iterator[str]:
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        connection.execute("create database pruned_dagster")
    yield server.uri("pruned_dagster")
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        connection.execute("drop database pruned_dagster with (force)")


@pytest.fixture(scope="module")
def instance(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """An instance on Postgres, as `dagster.yaml` has it."""
    home: Path = tmp_path_factory.mktemp("dagster")
    address = url.replace("postgresql://", "postgresql+psycopg2://")
    (home / "dagster.yaml").write_text(
        f"storage:\n  postgres:\n    postgres_url: {address}\ntelemetry:\n  enabled: false\n"
    )
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


def _run(instance: dg.DagsterInstance, *assets: dg.AssetsDefinition, **options: object) -> str:
    result = dg.materialize(
        list(assets), instance=instance, raise_on_error=False, selection=[assets[0]], **options
    )
    return result.run_id


def _age(url: str, run_id: str, days: float) -> None:
    """Everything of the run happened so many days earlier."""
    with psycopg.connect(url) as connection:
        for statement in (
            "update event_logs set timestamp = timestamp - %s where run_id = %s",
            "update asset_check_executions set create_timestamp = create_timestamp - %s "
            "where run_id = %s",
            "update runs set end_time = end_time - extract(epoch from %s) where run_id = %s",
        ):
            connection.execute(statement, [timedelta(days=days), run_id])


def _count(url: str, query: str, *values: object) -> int:
    with psycopg.connect(url) as connection:
        return connection.execute(query, values or None).fetchone()[0]


@pytest.fixture(scope="module")
def history(instance: dg.DagsterInstance, url: str) -> dict[str, str]:
    """Old and young runs of the three assets; the newest of partition b is old."""
    runs = {
        "replaced": _run(instance, source),
        "newest": _run(instance, source),
        "a": _run(instance, sharded, source, partition_key="a"),
        "b": _run(instance, sharded, source, partition_key="b"),
        "a again": _run(instance, sharded, source, partition_key="a"),
        "under way": _run(instance, failing, source),
        "failed": _run(instance, failing, source, tags={"fail": "yes"}),
    }
    for name, run_id in runs.items():
        _age(url, run_id, 1 if name == "a again" else 40)
    with psycopg.connect(url) as connection:
        connection.execute(
            "update runs set status = 'STARTED', end_time = null where run_id = %s",
            [runs["under way"]],
        )
    return runs


def _known(instance: dg.DagsterInstance) -> dict[str, object]:
    """What Dagster says of assets, partitions and checks."""
    keys = [dg.AssetKey(name) for name in ("source", "sharded", "failing")]
    statuses = instance.get_status_by_partition(keys[1], KEYS, SHARDS)
    checks = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(keys[0], "sound"), limit=1
    )
    latest = {key.to_user_string(): instance.get_latest_materialization_event(key) for key in keys}
    return {
        "latest": {name: event and event.run_id for name, event in latest.items()},
        "version": instance.get_latest_data_version_record(keys[0]).asset_materialization.tags[
            "dagster/data_version"
        ],
        "partitions": instance.get_materialized_partitions(keys[1]),
        "statuses": statuses,
        "check": [check.run_id for check in checks],
    }


def test_what_exists_is_the_same_after_old_events_and_runs_are_gone(
    instance: dg.DagsterInstance, url: str, history: dict[str, str]
) -> None:
    log = Path(instance.storage_directory()) / history["replaced"] / "compute_logs"
    log.mkdir(parents=True, exist_ok=True)
    of_run = "select count(*) from event_logs where run_id = %s"
    under_way, young = (_count(url, of_run, history[name]) for name in ("under way", "a again"))
    before = _known(instance)
    assert before["partitions"] == set(KEYS)

    events, checks, runs = prune(instance, now=NOW, kept=KEPT, step=7)
    assert (events.table, checks.table, runs.table) == (
        "event_logs", "asset_check_executions", "runs",
    )  # fmt: skip
    assert min(each.rows for each in (events, checks, runs)) > 0
    assert events.bytes > events.rows
    assert _known(instance) == before

    # Of replaced materialisations nothing is left, of newest ones themselves and their runs.
    assert set(runs.runs) == {history["replaced"], history["a"]}
    assert not log.exists()
    left = {name: _count(url, of_run, run_id) for name, run_id in history.items()}
    assert left["replaced"] == left["a"] == 0
    assert (left["under way"], left["a again"]) == (under_way, young)
    assert 0 < left["newest"] < 6
    assert 0 < left["b"] < 6
    assert instance.get_run_by_id(history["b"]) is not None
    assert instance.get_run_by_id(history["failed"]) is not None  # its plan is the newest
    orphans = (
        "select count(*) from asset_event_tags where event_id not in (select id from event_logs)"
    )
    assert _count(url, orphans) == 0


def test_a_second_pass_finds_nothing(instance: dg.DagsterInstance, history: dict[str, str]) -> None:
    prune(instance, now=NOW, kept=KEPT)
    assert [each.rows for each in prune(instance, now=NOW, kept=KEPT)] == [0, 0, 0]


def test_other_storages_are_left_alone() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert prune(instance, now=NOW, kept=KEPT) == []
