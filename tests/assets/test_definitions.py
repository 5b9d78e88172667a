"""The code location: loads alone, knows every dependency, and ships its automation running."""

import subprocess
import sys

import dagster as dg

from seda_assets.assets.sources import SOURCES
from seda_assets.definitions import definitions

FLOW = [
    "interaction_matrices",
    "taste_vectors",
    "collaborative_factors",
    "entity_clusters",
    "content_candidates",
    "collaborative_candidates",
    "social_candidates",
    "trending_candidates",
    "candidate_sets",
    "ranked_recommendations",
]


def _graph():
    return definitions.resolve_asset_graph()


def test_loads_in_a_fresh_interpreter() -> None:
    code = "import seda_assets.definitions as d; d.definitions.resolve_asset_graph()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_stage_of_the_flow_is_an_asset() -> None:
    keys = {key.path[-1] for key in _graph().materializable_asset_keys}
    assert set(FLOW) <= keys
    assert {"recommendations", "mv_user_top_candidates", "mv_genre_top_rooms"} <= keys
    assert {"user_activity_summary", "user_profiles", "artists_vectors"} <= keys
    assert "offline_evaluation" in keys


def test_no_dependency_is_a_typo() -> None:
    graph = _graph()
    external = {key.to_user_string() for key in graph.external_asset_keys}
    observed = {f"seda/{name}" for name in (*SOURCES, "model_registry")}
    assert external <= observed, external - observed


def test_every_asset_says_what_it_is_who_owns_it_and_how_fresh_it_must_be() -> None:
    graph = _graph()
    for key in graph.materializable_asset_keys:
        node = graph.get(key)
        assert node.description, key
        assert node.owners, key
        assert node.kinds, key
        assert node.group_name != "default", key
        assert node.freshness_policy_or_from_metadata is not None, key
        assert node.code_version, key


def test_work_per_person_is_partitioned_and_one_run_covers_all_shards() -> None:
    graph = _graph()
    for name in (*FLOW[4:], "taste_vectors"):
        node = graph.get(dg.AssetKey(name))
        assert node.partitions_def is not None, name
        assert node.backfill_policy == dg.BackfillPolicy.single_run(), name
    keys = graph.get(dg.AssetKey("candidate_sets")).partitions_def.get_partition_keys()
    assert keys == sorted(keys)
    assert {key.split("-")[0] for key in keys} == {"eu", "global"}


def test_the_hourly_job_does_summaries_and_taste_and_publishes_nothing() -> None:
    job = definitions.resolve_job_def("hourly")
    keys = {key.path[-1] for key in job.asset_layer.executable_asset_keys}
    assert {"entity_popularity", "user_activity_summary", "taste_vectors"} <= keys
    assert "recommendations" not in keys


def test_schedules_and_sensors_ship_running() -> None:
    repository = definitions.get_repository_def()
    assert {schedule.name for schedule in repository.schedule_defs} >= {
        "nightly_schedule",
        "hourly_schedule",
    }
    for schedule in repository.schedule_defs:
        assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    for sensor in repository.sensor_defs:
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
