"""The named selections of the graph that schedules, sensors and the command line run."""

import dagster as dg

from seda_assets.assets.sql_models import KPIS, MODELS
from seda_assets.automation.partitions import user_shards
from seda_assets.checks.suites import served_age

# What people wait for, then what the clock asks for, then what was asked for by hand in the UI (0),
# then backfills. Of the runs that write lists the pool lets one run; the others have a lane.
PRIORITY = "dagster/priority"
_BATCH = {"seda/lane": "batch"}
_SCHEDULED = {PRIORITY: "5"}
# The launcher finds a process that is gone; what hangs is ended by the daemon after this long, or
# it would hold back what waits for it.
_LONGEST = "dagster/max_runtime"
_HOUR = 3600
BACKFILL_TAGS = {PRIORITY: "-10", _LONGEST: str(6 * _HOUR)}

_measurements = dg.AssetSelection.assets(
    "offline_evaluation", "vector_search_quality", "migration_thresholds"
)
_kpis = dg.AssetSelection.groups("kpis")
_housekeeping = dg.AssetSelection.assets("retention")
# What a provider is slow to answer must not hold the night up.
_linked_accounts = dg.AssetSelection.assets(["seda", "provider_imports"], "sealed_tokens")
_requests = dg.AssetSelection.assets("privacy_requests")
_promises = dg.AssetSelection.assets("privacy_promises")
_everything = (
    dg.AssetSelection.all()
    - _measurements
    - _kpis
    - _housekeeping
    - _linked_accounts
    - _requests
    - _promises
)

nightly = dg.define_asset_job(
    "nightly",
    selection=_everything,
    description="The whole graph: summaries, vectors, factors, candidates, ranking, publishing.",
    executor_def=dg.in_process_executor,
    tags={_LONGEST: str(6 * _HOUR), "seda/cadence": "nightly", **_SCHEDULED},
)

evaluation = dg.define_asset_job(
    "evaluation",
    selection=_measurements,
    description="The published lists measured on hidden plays, and vector search on exact search: "
    "after the night, so that serving never waits for it.",
    executor_def=dg.in_process_executor,
    tags={_LONGEST: str(6 * _HOUR), "seda/cadence": "nightly", **_BATCH},
)

hourly = dg.define_asset_job(
    "hourly",
    selection=dg.AssetSelection.assets(
        *(model.relation.split(".") for model in MODELS.values() if model.layer != KPIS)
    )
    | dg.AssetSelection.assets(
        "merged_listens",
        "interaction_matrices",
        "taste_vectors",
        "embedding_spend",
        "embedding_breakers",
    ),
    description="Popularity and summaries, the taste vectors that follow, and spend.",
    executor_def=dg.in_process_executor,
    tags={_LONGEST: str(_HOUR), "seda/cadence": "hourly", **_SCHEDULED},
)

kpis = dg.define_asset_job(
    "kpis",
    selection=_kpis,
    description="What people made of what they were shown, day by day, against its goals.",
    executor_def=dg.in_process_executor,
    tags={_LONGEST: str(2 * _HOUR), "seda/cadence": "nightly", **_BATCH},
)

housekeeping = dg.define_asset_job(
    "housekeeping",
    selection=_housekeeping,
    description="Removes what was kept for long enough, in small steps that nobody waits for.",
    executor_def=dg.in_process_executor,
    tags={_LONGEST: str(6 * _HOUR), "seda/cadence": "nightly", **_BATCH},
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
    tags={_LONGEST: str(2 * _HOUR), "seda/cadence": "on change", **_BATCH},
)

realtime = dg.define_asset_job(
    "realtime",
    # Validating takes seconds, which count here: the night checks what stands then.
    selection=dg.AssetSelection.assets(["seda", "realtime_rankings"]).without_checks(),
    description="Lists ranked again for whom friends' coming and going concerns.",
    executor_def=dg.in_process_executor,
    # Seconds count: before what the night left waiting.
    tags={_LONGEST: "120", "seda/cadence": "on change", PRIORITY: "10"},
)

links = dg.define_asset_job(
    "links",
    # Checked with the sources, each hour: the library of the checks takes seconds to load.
    selection=dg.AssetSelection.assets(["seda", "provider_imports"]).without_checks(),
    description="Linked accounts are read, mapped to the catalogue, and tastes follow.",
    executor_def=dg.in_process_executor,
    tags={_LONGEST: str(_HOUR), "seda/cadence": "on change", **_SCHEDULED},
)

token_upkeep = dg.define_asset_job(
    "token_upkeep",
    selection=dg.AssetSelection.assets("sealed_tokens"),
    description="Keys are rotated after 90 days, and what older ones wrap is wrapped again.",
    executor_def=dg.in_process_executor,
    tags={_LONGEST: str(_HOUR), "seda/cadence": "nightly", **_BATCH},
)

privacy = dg.define_asset_job(
    "privacy",
    selection=_requests,
    description="Exports and deletions that people asked for.",
    executor_def=dg.in_process_executor,
    tags={_LONGEST: str(6 * _HOUR), "seda/cadence": "on request", PRIORITY: "5"},
)

privacy_upkeep = dg.define_asset_job(
    "privacy_upkeep",
    selection=_requests | _promises,
    description="What is promised whether anybody asks or not: exports taken back, who came back "
    "with a backup deleted again, the audit log verified and trimmed, residency looked at.",
    executor_def=dg.in_process_executor,
    tags={_LONGEST: str(2 * _HOUR), "seda/cadence": "nightly", **_BATCH},
)

observe_sources = dg.define_asset_job(
    "observe_sources",
    selection=dg.AssetSelection.groups("sources", include_sources=True)
    | dg.AssetSelection.checks(
        dg.AssetCheckKey(dg.AssetKey(["seda", "provider_imports"]), "contents")
    )
    | served_age,
    description="Row counts and versions of every source, their checks, and the age of what is "
    "served.",
    executor_def=dg.in_process_executor,
    tags={_LONGEST: str(_HOUR), **_BATCH},
)

model_backfill = dg.define_asset_job(
    "model_backfill",
    selection=dg.AssetSelection.assets(["seda", "recommendations"]).upstream()
    | dg.AssetSelection.assets(["seda", "mv_user_top_candidates"]),
    description="What a new model or new code of one leaves to do, for the shards that still serve "
    "what was before. `seda backfill` chooses assets and shards.",
    executor_def=dg.in_process_executor,
    tags={"seda/cadence": "on change", **BACKFILL_TAGS},
)


def all_shards() -> dict[str, str]:
    """Run tags that make one run cover every user shard."""
    keys = user_shards.get_partition_keys()
    return {
        "dagster/asset_partition_range_start": keys[0],
        "dagster/asset_partition_range_end": keys[-1],
    }
