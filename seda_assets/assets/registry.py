"""The model registry, observed: a shard's data version changes with the versions that rank it.

So a version that is made active in a region, or a canary that begins or ends there, marks the
ranked lists of its shards as stale, and a challenger in shadow marks nothing.
"""

from collections.abc import Iterator

import dagster as dg

from seda.database.regions import RegionalDatabase
from seda.registry.models import BLEND
from seda_assets.automation.partitions import user_shards
from seda_assets.resources import Platform

MODEL_REGISTRY = dg.AssetKey(["seda", "model_registry"])

_SERVING = """
    select stage || ':' || version, md5(concat_ws('|', version, stage, kind, config::text))
    from seda.model_registry where name = %s and stage in ('active', 'canary')
    order by stage, version"""


def observed_registry(platform: Platform) -> dict[str, str]:
    """Shard → the data version of what ranks it now: stages, versions and their configuration."""
    versions = {database.region: _version(database) for database in platform.databases}
    return {key: versions[shard.region] for key, shard in platform.shards.items()}


def _version(database: RegionalDatabase) -> str:
    with database.transaction() as connection:
        rows = connection.execute(_SERVING, [BLEND]).fetchall()
    return ",".join(f"{name}:{digest[:8]}" for name, digest in rows)


def observations(platform: Platform) -> Iterator[dg.AssetObservation]:
    """The same as events, for an asset that has changed the registry."""
    for key, version in observed_registry(platform).items():
        yield dg.AssetObservation(
            MODEL_REGISTRY, partition=key, tags={"dagster/data_version": version}
        )


@dg.observable_source_asset(
    key=MODEL_REGISTRY,
    group_name="sources",
    description="The versions of the ranking model that serve people now, by shard.",
    metadata={"dagster/relation_identifier": "seda.model_registry"},
    tags={"seda/layer": "source"},
    partitions_def=user_shards,
)
def model_registry(platform: dg.ResourceParam[Platform]) -> dg.DataVersionsByPartition:
    return dg.DataVersionsByPartition(observed_registry(platform))
