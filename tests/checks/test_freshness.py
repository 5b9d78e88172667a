"""Whatever has a cadence says how old it may get, and the hourly has to be fresher."""

import dagster as dg

from seda_assets.automation.freshness import POLICIES
from seda_assets.definitions import definitions


def cadences() -> dict[dg.AssetKey, set[str]]:
    """Every asset that a job materialises, and the cadences of those jobs."""
    found: dict[dg.AssetKey, set[str]] = {}
    graph = definitions.resolve_asset_graph()
    for job in definitions.resolve_all_job_defs():
        cadence = job.tags.get("seda/cadence")
        for key in job.asset_layer.executable_asset_keys:
            if cadence in POLICIES and graph.get(key).is_materializable:
                found.setdefault(key, set()).add(cadence)
    return found


def test_every_asset_with_a_cadence_warns_and_fails_when_it_is_late() -> None:
    graph = definitions.resolve_asset_graph()
    with_cadence = cadences()
    assert len(with_cadence) > 20
    for key, names in with_cadence.items():
        policy = graph.get(key).freshness_policy_or_from_metadata
        assert policy is not None, key
        expected = POLICIES["hourly" if "hourly" in names else "nightly"]
        assert policy == expected, (key, names)
        assert policy.warn_window.to_timedelta() < policy.fail_window.to_timedelta()


def test_every_schedule_runs_a_job_whose_cadence_has_a_policy() -> None:
    for schedule in definitions.get_repository_def().schedule_defs:
        job = definitions.resolve_job_def(schedule.job_name)
        materialised = [
            key for key in job.asset_layer.executable_asset_keys
            if definitions.resolve_asset_graph().get(key).is_materializable
        ]  # fmt: skip
        assert not materialised or job.tags.get("seda/cadence") in POLICIES, schedule.name
