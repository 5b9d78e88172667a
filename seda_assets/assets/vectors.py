"""Vectors: catalogue entities are embedded where their text changed; people are weighted means."""

from time import perf_counter
from typing import Any

import dagster as dg
import numpy as np
from scipy import sparse

from seda.activity.affinity import taste_affinity
from seda.activity.snapshot import FromSnapshot, RegionSnapshot
from seda.embeddings.taste import taste_vectors as weighted_means
from seda.vectorstore.aligned import load_aligned
from seda.vectorstore.refresh import refresh_vectors, store_changed_vectors
from seda_assets.assets.column_schemas import columns
from seda_assets.assets.samples import sample_rows
from seda_assets.assets.shard_facts import ShardFacts
from seda_assets.automation.freshness import NIGHTLY
from seda_assets.automation.partitions import one_run, user_shards
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
        "entities whose text changed are embedded; the rest stay as they are.",
        freshness_policy=NIGHTLY,
        metadata={
            "dagster/column_schema": _VECTOR_COLUMNS,
            "dagster/relation_identifier": f"seda.{entity_type}s_vectors",
        },
        code_version="1",
    )
    def vectors(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
        metadata: dict[str, Any] = {}
        total = 0
        for database in platform.databases:
            embedder, started = platform.embedder(database.region), perf_counter()
            refresh = refresh_vectors(database, entity_type, embedder, now=platform.now())
            total += refresh.total
            metadata[f"vectors_{database.region}"] = refresh.total
            metadata[f"seconds_{database.region}"] = perf_counter() - started
            metadata[f"embedded_{database.region}"] = refresh.embedded
            metadata[f"removed_{database.region}"] = refresh.removed
            metadata[f"space_{database.region}"] = embedder.space.id
        metadata["sample"] = sample_rows(platform, f"seda.{entity_type}s_vectors")
        return dg.MaterializeResult(metadata={"dagster/row_count": total, **metadata})

    return vectors


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
    backfill_policy=one_run,
    group_name="vectors",
    owners=["team:recommendations"],
    kinds={"python", "numpy", "postgres"},
    tags={"seda/layer": "vectors"},
    freshness_policy=NIGHTLY,
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
        database, embedder = platform.databases[region], platform.embedder(region)
        snapshot: RegionSnapshot = interaction_matrices[region]
        parts = {
            kind: load_aligned(database, kind, embedder.space, snapshot.entities[kind].ids)
            for kind in ("artist", "playlist")
        }
        parts["genre"] = embedder.embed(list(snapshot.genre_names)).astype(np.float16)
        for shard in shards:
            rows = snapshot.rows_of(shard)
            taste = _means(taste_affinity(snapshot, rows), parts)
            stored = store_changed_vectors(
                database,
                "user",
                embedder.space,
                snapshot.user_ids[rows],
                taste,
                now=platform.now(),
            )
            facts.add(shard, {"changed": stored.embedded}, rows=stored.total)
            results[shard.key] = FromSnapshot(snapshot.version, taste)
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
