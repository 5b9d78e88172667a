"""Vectors: catalogue entities are embedded where their text changed; people are weighted means."""

from time import perf_counter
from typing import Any

import dagster as dg
import numpy as np
from scipy import sparse

from seda.activity.affinity import taste_affinity
from seda.activity.snapshot import FromSnapshot, RegionSnapshot
from seda.embeddings.spaces import InSpace
from seda.embeddings.stand_ins import genre_centroids
from seda.embeddings.taste import taste_vectors as weighted_means
from seda.vectorstore.aligned import AlignedVectors
from seda.vectorstore.changed import store_changed_vectors
from seda.vectorstore.refresh import VectorRefresh, refresh_vectors
from seda_assets.assets.column_schemas import columns
from seda_assets.assets.samples import sample_rows
from seda_assets.assets.shard_facts import ShardFacts
from seda_assets.automation.freshness import HOURLY, NIGHTLY
from seda_assets.automation.partitions import LISTS, shard_runs, user_shards
from seda_assets.regional_files import StoredValues
from seda_assets.resources import Platform

_VECTOR_COLUMNS = columns(
    space_id="text: provider, model, dim, version and region of the space",
    entity_id="uuid",
    embedding="halfvec: unit norm",
    content_hash="text: of the text that was embedded",
    region="text",
    computed_at="timestamptz",
)


def _entity_vectors(entity_type: str, sources: list[str]) -> dg.AssetsDefinition:
    @dg.asset(
        key=["seda", f"{entity_type}s_vectors"],
        deps=[dg.AssetKey(["seda", source]) for source in sources],
        group_name="vectors",
        owners=["team:recommendations"],
        kinds={"python", "postgres", "pgvector"},
        tags={"seda/layer": "vectors"},
        description=f"One unit vector per {entity_type} in each region's active space. Only "
        "entities whose text changed or whose vector came of age are embedded; what a provider or "
        "the budget refuses waits in the queue while the old vector serves.",
        freshness_policy=NIGHTLY,
        metadata={
            "dagster/column_schema": _VECTOR_COLUMNS,
            "dagster/relation_identifier": f"seda.{entity_type}s_vectors",
        },
        code_version="2",
    )
    def vectors(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
        metadata: dict[str, Any] = {}
        total = 0
        for database in platform.databases:
            embeddings, started = platform.embeddings(database.region), perf_counter()
            with platform.follower(database) as follower:
                refresh = refresh_vectors(
                    database, entity_type, embeddings,
                    worker=platform.worker, clock=platform.now, follower=follower,
                )  # fmt: skip
            total += refresh.total - refresh.without_vector
            metadata |= _facts(str(database.region), refresh, perf_counter() - started)
            metadata[f"space_{database.region}"] = embeddings.active.id
        metadata["sample"] = sample_rows(platform, f"seda.{entity_type}s_vectors")
        return dg.MaterializeResult(metadata={"dagster/row_count": total, **metadata})

    return vectors


def _facts(region: str, refresh: VectorRefresh, seconds: float) -> dict[str, Any]:
    facts: dict[str, Any] = {
        f"texts_{region}": refresh.total,
        f"seconds_{region}": seconds,
        f"embedded_{region}": sum(refresh.embedded.values()),
        f"waiting_{region}": sum(refresh.waiting.values()),
        f"removed_{region}": refresh.removed,
    }
    for job, texts in refresh.embedded.items():
        facts[f"embedded_{job}_{region}"] = texts
    for reason, texts in refresh.waiting.items():
        facts[f"waiting_{reason}_{region}"] = texts
    if refresh.failed_over:
        facts[f"failed_over_{region}"] = refresh.failed_over
    if refresh.not_followed:
        facts[f"not_in_second_store_{region}"] = refresh.not_followed
    if refresh.shadowed:
        facts[f"shadowed_{region}"] = refresh.shadowed
    return facts


entity_vector_assets = [
    _entity_vectors("artist", ["artists", "artist_genres"]),
    _entity_vectors("playlist", ["playlists", "playlist_artists", "artist_genres"]),
    _entity_vectors("room", ["rooms"]),
]


@dg.asset(
    deps=[
        dg.AssetKey(["seda", "artists_vectors"]),
        dg.AssetKey(["seda", "playlists_vectors"]),
    ],
    partitions_def=user_shards,
    backfill_policy=shard_runs,
    pool=LISTS,
    group_name="vectors",
    owners=["team:recommendations"],
    kinds={"python", "numpy", "postgres"},
    tags={"seda/layer": "vectors"},
    freshness_policy=HOURLY,
    metadata={"dagster/column_schema": _VECTOR_COLUMNS},
    code_version="1",
)
def taste_vectors(
    context: dg.AssetExecutionContext,
    platform: dg.ResourceParam[Platform],
    interaction_matrices: StoredValues,
) -> dict[str, FromSnapshot]:
    """A person's taste: the recency- and affinity-weighted mean of artist, playlist and genre
    vectors, unit norm (no text of a person is sent anywhere). Also written to `user_vectors`."""
    results: dict[str, FromSnapshot] = {}
    facts = ShardFacts()
    for region, shards in platform.shards_by_region(context.partition_keys).items():
        database, space = platform.databases[region], platform.active_space(region)
        snapshot: RegionSnapshot = interaction_matrices[region]
        parts = {
            kind: AlignedVectors(database, kind, snapshot.entities[kind]).in_space(space)
            for kind in ("artist", "playlist")
        }
        genres = genre_centroids(snapshot.entities["artist"].genres, parts["artist"])
        parts["genre"] = genres.astype(np.float16)
        for shard in shards:
            rows = snapshot.rows_of(shard)
            taste = _means(taste_affinity(snapshot, rows), parts)
            stored = store_changed_vectors(
                database,
                "user",
                space,
                snapshot.user_ids[rows],
                taste,
                now=platform.now(),
            )
            facts.add(shard, {"changed": stored.stored}, rows=stored.total)
            results[shard.key] = FromSnapshot(snapshot.version, InSpace(space.id, taste))
    facts.record(context)
    return results


def _means(affinity: dict[str, sparse.csr_matrix], parts: dict[str, np.ndarray]) -> np.ndarray:
    """Weighted means over all kinds together; only items that somebody played are gathered."""
    chosen, vectors = [], []
    for kind, matrix in affinity.items():
        used = np.flatnonzero(matrix.getnnz(axis=0))
        chosen.append(matrix[:, used])
        vectors.append(parts[kind][used])
    return weighted_means(sparse.hstack(chosen, format="csr"), np.concatenate(vectors))
