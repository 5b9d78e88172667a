"""Sensors: what a change in the data sets off, without waiting for a cadence.

A sensor here is a plain function of what the databases say, wrapped thinly: idempotent by run key
and bounded per tick.
"""

from hashlib import blake2b

import dagster as dg

from seda.database.regions import RegionalDatabase, Shard
from seda_assets.automation.jobs import all_shards, nightly
from seda_assets.resources import Platform

_UNSERVED = """
    select count(*) from seda.users u
    where u.deleted_at is null and u.bucket >= %s and u.bucket < %s
      and not exists (select from seda.generation_pointer where shard = %s)"""


def unserved_shards(platform: Platform) -> dict[str, int]:
    """Shards that have people and no published generation: key → people."""
    return {
        shard.key: people
        for shard in platform.shards.values()
        if (people := _people_unserved(platform.databases[shard.region], shard))
    }


def _people_unserved(database: RegionalDatabase, shard: Shard) -> int:
    with database.transaction() as connection:
        row = connection.execute(_UNSERVED, [*shard.buckets, shard.key]).fetchone()
    return int(row[0]) if row else 0


@dg.sensor(
    job=nightly,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def unserved_people(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.RunRequest | dg.SkipReason:
    """An import or a seed brought people of whom no list was ever published: run the graph for
    them now rather than tonight."""
    waiting = unserved_shards(platform)
    if not waiting:
        return dg.SkipReason("Every shard with people has a published generation.")
    # The same people waiting are the same request: a run that failed is not repeated in a loop.
    digest = blake2b(repr(sorted(waiting.items())).encode(), digest_size=8).hexdigest()
    return dg.RunRequest(run_key=f"unserved-{digest}", tags=all_shards())


sensors = [unserved_people]
