"""The gates of a running canary: judged, noted, and acted upon, with the reason in the UI."""

from typing import Any

import dagster as dg

from seda.database.regions import RegionalDatabase
from seda.experiments.canaries import serving_experiment
from seda.experiments.flags import AUTOMATIC_ROLLBACK, Flags
from seda.experiments.looks import HEADINGS, Look, cells, conclude, look
from seda.experiments.operations import Counters, MetricsSources, scrape
from seda.publishing.served import served_people
from seda_assets.automation.freshness import NIGHTLY
from seda_assets.resources import Platform

_HOLD = "gates_hold"


@dg.asset(
    deps=[
        *(dg.AssetKey(["seda", name])
          for name in ("recommendations", "mv_user_top_candidates", "impression_pages",
                       "fact_events")),
    ],
    group_name="experiments",
    owners=["team:recommendations"],
    kinds={"python", "postgres"},
    tags={"seda/layer": "experiments"},
    freshness_policy=NIGHTLY,
    code_version="1",
    check_specs=[
        dg.AssetCheckSpec(
            _HOLD, asset="canary_gate",
            description="No gate of a running canary fails. What failed, and whether the canary "
            "was rolled back, is said here until the next look.",
        )
    ],
)  # fmt: skip
def canary_gate(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
) -> dg.MaterializeResult:
    """What a running canary's gates say in each region, and a rollback where they ask for one:
    operational gates, privacy, sample ratio, and quality by sequential tests that allow a look at
    any time. Rollback is automatic unless the flag `automatic-rollback` is off."""
    flags, running = Flags(platform.settings), running_canaries(platform)
    # Services are asked once, and only where there is a canary to judge.
    counters = scrape(MetricsSources.of(platform.settings)) if running else Counters()
    metadata: dict[str, Any] = {}
    for database in platform.databases:
        region = str(database.region)
        if region in running:
            automatic = flags.on(AUTOMATIC_ROLLBACK, region=region)
            metadata |= _looked(context, database, counters, platform, automatic)
        else:
            metadata[f"{region}_verdict"] = "no canary runs"
        metadata[f"{region}_serves"] = dg.MetadataValue.md(_serves(database))
    return dg.MaterializeResult(metadata=metadata, check_results=[_held(metadata)])


def _held(said: dict[str, Any]) -> dg.AssetCheckResult:
    """Red in the catalogue where a canary was rolled back, or should be."""
    failed = {
        key: value for key, value in said.items() if key.endswith(("_reason", "_rolled_back"))
    }
    reasons = any(key.endswith("_reason") for key in failed)
    return dg.AssetCheckResult(check_name=_HOLD, passed=not reasons, metadata=failed)


def running_canaries(platform: Platform) -> dict[str, str]:
    """By region, the experiment that runs."""
    found = {}
    for database in platform.databases:
        with database.transaction() as connection:
            experiment = serving_experiment(connection)
        if experiment is not None and experiment.running:
            found[str(database.region)] = experiment.name
    return found


def _looked(
    context: dg.AssetExecutionContext, database: RegionalDatabase, counters: Counters,
    platform: Platform, automatic: bool,
) -> dict[str, Any]:  # fmt: skip
    region = str(database.region)
    found = look(database, counters, now=platform.now())
    if found is None:
        return {f"{region}_verdict": "the canary ended meanwhile"}
    rolled_back = conclude(database, found, automatic=automatic)
    judgement, canary = found.judgement, found.experiment
    said: dict[str, Any] = {
        f"{region}_verdict": str(judgement.verdict),
        f"{region}_experiment": f"{canary.name}: {canary.canary_version} for {canary.share:.0%} "
        f"beside {canary.control_version}",
        f"{region}_rolled_back": int(rolled_back),
        f"{region}_gates": dg.MetadataValue.md(table_of(found)),
    }
    if judgement.rollback:
        said[f"{region}_reason"] = judgement.rollback
        told = "was rolled back" if rolled_back else "is to be rolled back by hand"
        context.log.error(f"{region}: {canary.canary_version} {told}: {judgement.rollback}")
    else:
        context.log.info(f"{region}: {canary.canary_version}: {judgement.verdict}")
    return said


def table_of(found: Look) -> str:
    """The gates as `seda gate` prints them, in Markdown."""
    rows = [HEADINGS, tuple("---" for _ in HEADINGS), *map(cells, found.judgement.gates)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _serves(database: RegionalDatabase) -> str:
    """Which version serves how many people, after what was done here."""
    with database.transaction() as connection:
        found = served_people(connection)
    rows = [f"| {each.arm} | {each.model_version} | {each.shards} | {each.people:,} |"
            for each in found]  # fmt: skip
    return "\n".join(["| arm | model version | shards | people |", "| --- " * 4 + "|", *rows])
