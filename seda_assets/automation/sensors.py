"""Sensors: what a change in the data sets off, without waiting for a cadence.

A sensor here is a plain function of what the databases say, wrapped thinly: idempotent by run key
and bounded per tick, and it asks for nothing while a run of its job has not ended.
"""

from hashlib import blake2b

import dagster as dg

from seda.database.regions import RegionalDatabase, Shard
from seda.embeddings.changes import pending_changes
from seda.embeddings.waiting import ready_types
from seda_assets.automation.jobs import all_shards, embed_catalogue, nightly
from seda_assets.automation.under_way import under_way
from seda_assets.resources import Platform

_EMBEDDING = "Texts are being embedded; what changes meanwhile comes after it."
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
    if under_way(context, nightly.name):
        return dg.SkipReason("A run of the graph is under way; who comes meanwhile comes after it.")
    waiting = unserved_shards(platform)
    if not waiting:
        return dg.SkipReason("Every shard with people has a published generation.")
    # The same people waiting are the same request: a run that failed is not repeated in a loop.
    return dg.RunRequest(run_key=f"unserved-{_digest(waiting)}", tags=all_shards())


def changed_types(platform: Platform) -> dict[str, int]:
    """What changed in the catalogue since its texts were last embedded: region and type → the
    newest change of a transaction that is older than every open one."""
    changed: dict[str, int] = {}
    for database in platform.databases:
        with database.transaction() as connection:
            for entity_type, newest in pending_changes(connection).items():
                changed[f"{database.region}/{entity_type}"] = newest
    return changed


@dg.sensor(
    job=embed_catalogue,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def catalogue_changes(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.RunRequest | dg.SkipReason:
    """Names, genres or contents in the catalogue changed: embed what says something else now. The
    refresh takes the changes off the log; what a failed run leaves is asked for again each hour."""
    if under_way(context, embed_catalogue.name):
        return dg.SkipReason(_EMBEDDING)
    changed = changed_types(platform)
    if not changed:
        return dg.SkipReason("No text of the catalogue changed since it was embedded.")
    key = f"changed-{_digest(changed)}-{platform.now():%Y%m%dT%H}"
    return dg.RunRequest(run_key=key, asset_selection=_embedding_assets(changed))


def waiting_types(platform: Platform) -> dict[str, int]:
    """Texts whose time to try again has come: region and type → how many."""
    waiting: dict[str, int] = {}
    for database in platform.databases:
        with database.transaction() as connection:
            for entity_type, texts in ready_types(connection, now=platform.now()).items():
                waiting[f"{database.region}/{entity_type}"] = texts
    return waiting


@dg.sensor(
    job=embed_catalogue,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def waiting_texts(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.RunRequest | dg.SkipReason:
    """A provider is expected back, or a budget: embed the texts that waited for it."""
    if under_way(context, embed_catalogue.name):
        return dg.SkipReason(_EMBEDDING)
    waiting = waiting_types(platform)
    if not waiting:
        return dg.SkipReason("No text waits whose time to try again has come.")
    # Another attempt moves the time of the next one, and so the minute in the key.
    key = f"waiting-{_digest(waiting)}-{platform.now():%Y%m%dT%H%M}"
    return dg.RunRequest(run_key=key, asset_selection=_embedding_assets(waiting))


def _embedding_assets(concerned: dict[str, int]) -> list[dg.AssetKey]:
    """Vectors of the types in keys such as `eu/artist`, the indexes and the reports."""
    types = {name.split("/")[1] for name in concerned}
    vectors = [dg.AssetKey(["seda", f"{name}s_vectors"]) for name in sorted(types)]
    reports = ("vector_indexes", "embedding_spend", "embedding_breakers")
    return [*vectors, *map(dg.AssetKey, reports)]


def _digest(state: dict[str, int]) -> str:
    return blake2b(repr(sorted(state.items())).encode(), digest_size=8).hexdigest()


sensors = [unserved_people, catalogue_changes, waiting_texts]
