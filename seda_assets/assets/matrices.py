"""Interaction matrices: each region's people, catalogue and plays as arrays, read once per run."""

from time import perf_counter

import dagster as dg

from seda.activity.snapshot import RegionSnapshot, load_snapshot
from seda_assets.assets.listening import MERGED_LISTENS
from seda_assets.automation.freshness import HOURLY
from seda_assets.automation.partitions import LISTS
from seda_assets.resources import Platform

_SOURCES = (
    "users", "friends", "artists", "artist_genres", "playlists", "rooms",
    "room_members", "artist_follows", "activity_counts",
)  # fmt: skip


@dg.asset(
    deps=[*(dg.AssetKey(["seda", source]) for source in _SOURCES), MERGED_LISTENS],
    group_name="collaborative",
    owners=["team:recommendations"],
    kinds={"python", "numpy"},
    tags={"seda/layer": "matrices"},
    freshness_policy=HOURLY,
    pool=LISTS,
    code_version="1",
)
def interaction_matrices(platform: dg.ResourceParam[Platform]) -> dg.Output[dict]:
    """People, catalogue, plays, friendships and genres of each region as sparse matrices.

    Positions in every later intermediate result are positions in this snapshot."""
    snapshots: dict[str, RegionSnapshot] = {}
    metadata: dict[str, int | float | str] = {}
    for database in platform.databases:
        region = str(database.region)
        started = perf_counter()
        snapshots[region] = snapshot = load_snapshot(database)
        metadata[f"seconds_{region}"] = perf_counter() - started
        metadata[f"users_{region}"] = len(snapshot.user_ids)
        metadata[f"friendships_{region}"] = snapshot.friends.nnz
        metadata[f"snapshot_{region}"] = snapshot.version
        for kind, entity in snapshot.entities.items():
            metadata[f"{kind}_interactions_{region}"] = entity.plays.nnz
            metadata[f"{kind}s_{region}"] = len(entity.ids)
    return dg.Output(snapshots, metadata=metadata)
