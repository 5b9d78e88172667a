"""The named selections of the graph that schedules, sensors and the command line run."""

import dagster as dg

from seda_assets.assets.sql_models import MODELS
from seda_assets.automation.partitions import user_shards

# The default launcher cannot ask whether a run's worker lives. Whatever runs for longer than this is
# ended by the daemon: a run that died silently would hold back what waits for it.
_LONGEST = "dagster/max_runtime"
_HOUR = 3600

_measurements = dg.AssetSelection.assets(
    "offline_evaluation", "vector_search_quality", "migration_thresholds"
)
_everything = dg.AssetSelection.all() - _measurements

nightly = dg.define_asset_job(
    "nightly",
    selection=_everything,
    description="The whole graph: summaries, vectors, factors, candidates, ranking, publishing.",
    executor_def=dg.in_process_executor,
    tags={_LONGEST: str(6 * _HOUR), "seda/cadence": "nightly"},
)

evaluation = dg.define_asset_job(
    "evaluation",
    selection=_measurements,
    description="The published lists measured on hidden plays, and vector search on exact search: "
    "after the night, so that serving never waits for it.",
    executor_def=dg.in_process_executor,
    tags={_LONGEST: str(6 * _HOUR), "seda/cadence": "nightly"},
)

hourly = dg.define_asset_job(
    "hourly",
    selection=dg.AssetSelection.assets(*(model.relation.split(".") for model in MODELS.values()))
    | dg.AssetSelection.assets(
        "interaction_matrices", "taste_vectors", "embedding_spend", "embedding_breakers"
    ),
    description="Popularity and summaries, the taste vectors that follow, and spend.",
    executor_def=dg.in_process_executor,
    tags={_LONGEST: str(_HOUR), "seda/cadence": "hourly"},
)

embed_catalogue = dg.define_asset_job(
    "embed_catalogue",
    selection=dg.AssetSelection.assets(
        *(["seda", f"{kind}s_vectors"] for kind in ("artist", "playlist", "room")),
        "vector_indexes",
        "embedding_spend",
        "embedding_breakers",
    ),
    description="Vectors of the catalogue's new and changed texts, and of those that waited.",
    executor_def=dg.in_process_executor,
    tags={_LONGEST: str(2 * _HOUR), "seda/cadence": "on change"},
)

realtime = dg.define_asset_job(
    "realtime",
    selection=dg.AssetSelection.assets(["seda", "realtime_rankings"]),
    description="Lists ranked again for whom friends' coming and going concerns.",
    executor_def=dg.in_process_executor,
    # Seconds count: before what the night left waiting.
    tags={_LONGEST: "120", "seda/cadence": "on change", "dagster/priority": "10"},
)

privacy = dg.define_asset_job(
    "privacy",
    selection=dg.AssetSelection.assets("privacy_requests"),
    description="Exports and deletions that people asked for.",
    executor_def=dg.in_process_executor,
    tags={"seda/cadence": "on request"},
)

observe_sources = dg.define_asset_job(
    "observe_sources",
    selection=dg.AssetSelection.groups("sources", include_sources=True),
    description="Row counts and versions of every source.",
    executor_def=dg.in_process_executor,
    tags={_LONGEST: str(_HOUR)},
)


def all_shards() -> dict[str, str]:
    """Run tags that make one run cover every user shard."""
    keys = user_shards.get_partition_keys()
    return {
        "dagster/asset_partition_range_start": keys[0],
        "dagster/asset_partition_range_end": keys[-1],
    }
