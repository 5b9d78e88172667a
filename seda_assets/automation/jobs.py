"""The named selections of the graph that schedules, sensors and the command line run."""

import dagster as dg

from seda_assets.assets.sql_models import MODELS
from seda_assets.automation.partitions import user_shards

_everything = dg.AssetSelection.all()

nightly = dg.define_asset_job(
    "nightly",
    selection=_everything,
    description="The whole graph: summaries, vectors, factors, candidates, ranking, publishing.",
    executor_def=dg.in_process_executor,
    tags={"seda/cadence": "nightly"},
)

hourly = dg.define_asset_job(
    "hourly",
    selection=dg.AssetSelection.assets(*(model.relation.split(".") for model in MODELS.values()))
    | dg.AssetSelection.assets("interaction_matrices", "taste_vectors"),
    description="Popularity and summaries, and the taste vectors that follow from them.",
    executor_def=dg.in_process_executor,
    tags={"seda/cadence": "hourly"},
)

observe_sources = dg.define_asset_job(
    "observe_sources",
    selection=dg.AssetSelection.groups("sources", include_sources=True),
    description="Row counts and versions of every source.",
    executor_def=dg.in_process_executor,
)


def all_shards() -> dict[str, str]:
    """Run tags that make one run cover every user shard."""
    keys = user_shards.get_partition_keys()
    return {
        "dagster/asset_partition_range_start": keys[0],
        "dagster/asset_partition_range_end": keys[-1],
    }
