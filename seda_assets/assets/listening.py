"""What people listened to in the app, added to the counts that everything else reads."""

from hashlib import blake2b
from time import perf_counter

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from seda.activity.merging import merge_listens
from seda_assets.assets.sources import observe
from seda_assets.automation.freshness import HOURLY
from seda_assets.resources import Platform

MERGED_LISTENS = dg.AssetKey("merged_listens")


@dg.asset(
    key=MERGED_LISTENS,
    deps=[dg.AssetKey(["seda", "fact_events"])],
    group_name="activity",
    owners=["team:data"],
    kinds={"python", "postgres"},
    tags={"seda/layer": "activity"},
    freshness_policy=HOURLY,
)
def merged_listens(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
) -> dg.MaterializeResult:
    """Listens of thirty seconds and more, added to `activity_counts` by person, entity and day:
    each event once. The version of this asset is how far it has read, so where nobody listened
    nothing after it is stale."""
    metadata: dict[str, int | float] = {}
    for database in platform.databases:
        started = perf_counter()
        merged = merge_listens(database, now=platform.now())
        found = {"events": merged.events, "rows": merged.rows, "watermark": merged.watermark}
        metadata |= {f"{name}_{database.region}": count for name, count in found.items()}
        metadata[f"seconds_{database.region}"] = perf_counter() - started
    # What comes after reads the counts as they are now, not as they were observed before.
    now_there = observe(platform, "activity_counts")
    assert now_there.data_version is not None
    context.log_event(
        dg.AssetObservation(
            dg.AssetKey(["seda", "activity_counts"]),
            metadata=now_there.metadata,
            tags={DATA_VERSION_TAG: now_there.data_version.value},
        )
    )
    read = [metadata[f"watermark_{database.region}"] for database in platform.databases]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(blake2b(repr(read).encode(), digest_size=8).hexdigest()),
        metadata=metadata,
    )
