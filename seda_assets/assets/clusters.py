"""Clusters of the catalogue: what "home" means to a person, and so what is new to them."""

from time import perf_counter

import dagster as dg
import numpy as np

from seda.activity.snapshot import FromSnapshot, RegionSnapshot
from seda.recommender.clusters import cluster_items
from seda.vectorstore.aligned import AlignedVectors
from seda_assets.automation.freshness import NIGHTLY
from seda_assets.automation.partitions import LISTS
from seda_assets.regional_files import StoredValues
from seda_assets.resources import Platform

SEED = 20_260_902


@dg.asset(
    deps=[dg.AssetKey(["seda", f"{kind}s_vectors"]) for kind in ("artist", "playlist", "room")],
    group_name="vectors",
    owners=["team:recommendations"],
    kinds={"python", "scikitlearn"},
    tags={"seda/layer": "vectors"},
    freshness_policy=NIGHTLY,
    pool=LISTS,
    code_version="1",
)
def entity_clusters(
    platform: dg.ResourceParam[Platform], interaction_matrices: StoredValues
) -> dg.Output[dict]:
    """About √items clusters per type, from the vectors; the novelty quota reads a person's home
    clusters from it."""
    labelled: dict[str, FromSnapshot] = {}
    metadata: dict[str, int | float] = {}
    started = perf_counter()
    for database in platform.databases:
        region = str(database.region)
        snapshot: RegionSnapshot = interaction_matrices[region]
        labels = {}
        for kind, entity in snapshot.entities.items():
            space = platform.active_space(database.region)
            vectors = AlignedVectors(database, kind, entity).in_space(space)
            labels[kind] = cluster_items(vectors, seed=SEED)
            metadata[f"{kind}_clusters_{region}"] = len(np.unique(labels[kind]))
        labelled[region] = FromSnapshot(snapshot.version, labels)
    metadata["seconds"] = perf_counter() - started
    return dg.Output(labelled, metadata=metadata)
