"""The assets of KPIs and housekeeping, run by their jobs on small worlds."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from seda.database.regions import Databases, Region
from seda_assets.assets.kpis import KPIS
from seda_assets.assets.sql_models import MODELS
from seda_assets.automation.schedules import schedules
from seda_assets.definitions import build_definitions
from seda_assets.resources import Platform

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def platform(shared_databases: Databases) -> Platform:
    platform = Platform(shared_databases.settings, now=NOW)
    for database in shared_databases:
        with database.transaction() as connection:
            _live(connection, canary=database.region is Region.EU)
    return platform


def _live(connection, *, canary: bool) -> None:
    """A person who was shown 150 artists two days ago, opened 30 of them and skipped the last."""
    model, arm = ("m2", "canary") if canary else ("m1", "control")
    connection.execute("insert into seda.users (id, created_at) values (%s, %s)",
                       ["00000000-0000-0000-0000-0000000000aa", NOW - 300 * DAY])  # fmt: skip
    connection.execute(
        "insert into seda.impression_pages (id, user_id, entity_type, model_version, arm, surface, "
        "shown_at, positions, recommendation_ids, entity_ids, is_new) "
        "select gen_random_uuid(), '00000000-0000-0000-0000-0000000000aa', 'artist', %s, %s, "
        "'feed', %s, array_agg(n), array_agg(md5(n::text)::uuid), array_agg(md5(n::text)::uuid), "
        "array_agg(mod(n, 2) = 0) from generate_series(1, 150) n",
        [model, arm, NOW - 2 * DAY],
    )
    connection.execute(
        "insert into seda.fact_events (event_id, user_id, event_type, props, created_at) "
        "select gen_random_uuid(), '00000000-0000-0000-0000-0000000000aa', "
        "case when n = 30 then 'track_skip' else 'rec_click' end, jsonb_build_object("
        "'entity_type', 'artist', 'entity_id', md5(n::text)::uuid::text), "
        "%s::timestamptz + interval '1 minute' from generate_series(1, 30) n",
        [NOW - 2 * DAY],
    )
    connection.execute(
        "insert into seda.event_receipts (event_id, user_id, body_hash, received_at) "
        "values (gen_random_uuid(), '00000000-0000-0000-0000-0000000000aa', '', %s)",
        [NOW - 40 * DAY],
    )


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def _run(platform: Platform, instance: dg.DagsterInstance, job: str) -> dict[str, dg.MetadataValue]:
    """Metadata of the job's last asset."""
    result = build_definitions(platform).resolve_job_def(job).execute_in_process(instance=instance)
    last = result.get_asset_materialization_events()[-1]
    return dict(last.materialization.metadata)


def test_kpis_are_told_beside_their_goals_with_plots(
    platform: Platform, instance: dg.DagsterInstance
) -> None:
    told = _run(platform, instance, "kpis")
    assert told["click_through"].value == pytest.approx(58 / 300)
    assert told["novelty"].value == pytest.approx(0.5)
    goals = told["goals"].value
    assert "| novelty | met | 50.0% | ≥ 30% | 150 of 300 |" in goals
    assert "| skips | too few | 3.3% | ≤ 15% | 2 of 60 |" in goals
    assert "| retention d7 | no data | – |  | 0 of 0 |" in goals
    assert {line.split("|")[1].strip() for line in told["by_region"].value.splitlines()[2:]} == {
        "global", "eu",
    }  # fmt: skip
    models = told["by_model"].value.splitlines()[2:]
    assert [line.split("|")[1].strip() for line in models] == ["m1, control", "m2, canary"]
    assert all("19.3% (29 of 150)" in line for line in models)
    assert told["click_through_days"].value.startswith("![figure](data:image/png;base64,")
    for kpi in KPIS:
        assert kpi.definition in told["definitions"].value
        # From the newest materialisation the UI draws the lineage of columns.
        made = instance.get_latest_materialization_event(dg.AssetKey(kpi.relation.split(".")))
        lineage = made.asset_materialization.metadata["dagster/column_lineage"].column_lineage
        assert set(lineage.deps_by_column) >= {"day", "numerator", "denominator"}


def test_a_kpi_is_an_asset_with_its_definition_checks_and_column_lineage(
    platform: Platform,
) -> None:
    graph = build_definitions(platform).resolve_asset_graph()
    for kpi in KPIS:
        key = dg.AssetKey(kpi.relation.split("."))
        node = graph.get(key)
        assert node.description == kpi.definition == MODELS[key.path[-1]].header.description
        assert node.group_name == "kpis"
        assert {"unique", "not_null"} <= {check.name for check in node.check_keys}
        lineage = node.metadata["dagster/column_lineage"].deps_by_column
        assert lineage["denominator"] or kpi.name == "retention_d7"


def test_housekeeping_removes_once_and_tells_what(
    platform: Platform, instance: dg.DagsterInstance
) -> None:
    told = _run(platform, instance, "housekeeping")
    assert told["rows_removed"].value == 2  # a receipt in each region
    assert 0 < told["longest_transaction_seconds"].value <= told["seconds"].value
    table = told["removed"].value
    for region in Region:
        assert f"| {region} | event_receipts | 1 |" in table
        assert f"| {region} | impression_pages | 0 |" in table
    assert _run(platform, instance, "housekeeping")["rows_removed"].value == 0


def test_both_run_every_night_and_neither_in_the_graph_that_serving_waits_for(
    platform: Platform,
) -> None:
    crons = {each.job_name: each.cron_schedule for each in schedules}
    assert crons["kpis"].endswith("1 * * *")
    assert crons["housekeeping"].endswith("5 * * *")
    definitions = build_definitions(platform)
    for name in ("nightly", "hourly"):
        selected = definitions.resolve_job_def(name).asset_layer.selected_asset_keys
        paths = {key.path[-1] for key in selected}
        assert not paths & {"retention", "online_kpis", "kpi_skips", "daily_impressions"}
