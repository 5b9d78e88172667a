"""Candidates from four sources per person and type, each with its source's own raw score."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import dagster as dg

from seda.activity.affinity import genre_affinity
from seda.activity.snapshot import (
    FromSnapshot,
    RegionSnapshot,
    load_popularity,
    load_visible_presence,
)
from seda.database.regions import Region, Shard
from seda.experiments.listening import listening_of
from seda.recommender.candidates import social_candidates, trending_candidates, with_presence
from seda.recommender.fitting import collaborative_lists, content_lists, fitted_inputs
from seda.recommender.inputs import RankingInputs
from seda.recommender.signals.social import ATTENTION, STALE_AFTER, friend_taste
from seda.vectorstore.aligned import AlignedVectors
from seda_assets.assets.shard_facts import ShardFacts
from seda_assets.automation.freshness import NIGHTLY
from seda_assets.automation.partitions import LISTS, shard_runs, user_shards
from seda_assets.regional_files import StoredValues
from seda_assets.resources import Platform

PER_SOURCE = 200
"""Candidates of each source, per person and type."""
PER_MODEL = 150
"""Candidates of each model within a source."""

ByShard = Iterator[tuple[Shard, str, Any]]


def _source(name: str, description: str, deps: list[str]) -> Callable:
    """The decorator that the four sources share."""
    return dg.asset(
        name=f"{name}_candidates",
        description=description,
        deps=[dg.AssetKey(["seda", relation]) for relation in deps],
        partitions_def=user_shards,
        backfill_policy=shard_runs,
        pool=LISTS,
        group_name="candidates",
        owners=["team:recommendations"],
        kinds={"python", "numpy"},
        tags={"seda/layer": "candidates"},
        freshness_policy=NIGHTLY,
        code_version="2",
    )


PRESENCE = "presence"
"""Where the social source keeps the presence that it saw, so that ranking explains the same one."""


def _collected(
    context: dg.AssetExecutionContext, lists: ByShard, snapshots: dict[Region, RegionSnapshot]
) -> dict[str, FromSnapshot]:
    """Shard → type → lists; counts go to the partitions' metadata."""
    by_shard: dict[str, FromSnapshot] = {}
    facts = ShardFacts()
    for shard, kind, candidates in lists:
        version = snapshots[shard.region].version
        by_shard.setdefault(shard.key, FromSnapshot(version, {})).value[kind] = candidates
        if kind == PRESENCE:
            continue
        found = int((candidates.items >= 0).sum())
        facts.add(shard, {f"{kind}_candidates": found}, rows=found)
    facts.record(context)
    return by_shard


def _snapshots(
    platform: Platform, context: dg.AssetExecutionContext, matrices: StoredValues
) -> dict[Region, RegionSnapshot]:
    return {
        region: matrices[region] for region in platform.shards_by_region(context.partition_keys)
    }


@_source(
    "content",
    "Nearest entities of each taste, in the embedding space and in that of tags: exact, recall 1.",
    ["artists_vectors", "playlists_vectors", "rooms_vectors"],
)
def content_candidates(
    context: dg.AssetExecutionContext,
    platform: dg.ResourceParam[Platform],
    interaction_matrices: StoredValues,
    taste_vectors: StoredValues,
    collaborative_factors: StoredValues,
) -> dict[str, FromSnapshot]:
    snapshots = _snapshots(platform, context, interaction_matrices)

    def lists() -> ByShard:
        for region, shards in platform.shards_by_region(context.partition_keys).items():
            snapshot = snapshots[region]
            models = snapshot.checked(collaborative_factors[region], "collaborative_factors")
            for kind, entity in snapshot.entities.items():
                items = AlignedVectors(platform.databases[region], kind, entity)
                for shard in shards:
                    taste = snapshot.checked(taste_vectors[shard.key], f"taste_vectors {shard.key}")
                    rows, space = snapshot.rows_of(shard), models[kind].tags
                    inputs = RankingInputs(
                        plays=entity.known[rows],
                        taste=taste.vectors,
                        item_vectors=items.in_space(taste.space),
                        tag_taste=space.tastes(entity.plays[rows]),
                        tag_vectors=space.items,
                    )
                    yield shard, kind, content_lists(inputs, PER_MODEL, PER_SOURCE)

    return _collected(context, lists(), snapshots)


@_source(
    "collaborative",
    "ALS, EASE and item–item neighbours turn by turn; each model's best are found exactly.",
    [],
)
def collaborative_candidates(
    context: dg.AssetExecutionContext,
    platform: dg.ResourceParam[Platform],
    interaction_matrices: StoredValues,
    collaborative_factors: StoredValues,
) -> dict[str, FromSnapshot]:
    snapshots = _snapshots(platform, context, interaction_matrices)

    def lists() -> ByShard:
        for region, shards in platform.shards_by_region(context.partition_keys).items():
            snapshot = snapshots[region]
            models = snapshot.checked(collaborative_factors[region], "collaborative_factors")
            for kind, entity in snapshot.entities.items():
                listening = listening_of(snapshot, entity)
                for shard in shards:
                    rows = snapshot.rows_of(shard)
                    inputs = replace(
                        fitted_inputs(models[kind], listening.rows(rows), None),
                        blocked=entity.known[rows],
                    )
                    yield shard, kind, collaborative_lists(inputs, PER_MODEL, PER_SOURCE)

    return _collected(context, lists(), snapshots)


@_source(
    "social",
    "What friends play, and the rooms in which friends who show their presence are now.",
    ["friends", "room_presence"],
)
def social_candidates_asset(
    context: dg.AssetExecutionContext,
    platform: dg.ResourceParam[Platform],
    interaction_matrices: StoredValues,
) -> dict[str, FromSnapshot]:
    snapshots = _snapshots(platform, context, interaction_matrices)

    def lists() -> ByShard:
        for region, shards in platform.shards_by_region(context.partition_keys).items():
            snapshot = snapshots[region]
            presence = load_visible_presence(
                platform.databases[region], snapshot, attention=ATTENTION, stale_after=STALE_AFTER
            )
            for shard in shards:
                rows = snapshot.rows_of(shard)
                for kind, entity in snapshot.entities.items():
                    friends, plays = snapshot.friends[rows], entity.plays
                    scores = friend_taste(friends, plays[rows], plays)
                    if kind == "room":
                        scores = with_presence(scores, presence.counts[rows])
                    yield shard, kind, social_candidates(scores, PER_SOURCE)
                yield shard, PRESENCE, presence.rows(rows)

    return _collected(context, lists(), snapshots)


@_source(
    "trending",
    "What is played more than usual, everywhere and in a person's own genres.",
    ["entity_popularity"],
)
def trending_candidates_asset(
    context: dg.AssetExecutionContext,
    platform: dg.ResourceParam[Platform],
    interaction_matrices: StoredValues,
) -> dict[str, FromSnapshot]:
    snapshots = _snapshots(platform, context, interaction_matrices)

    def lists() -> ByShard:
        for region, shards in platform.shards_by_region(context.partition_keys).items():
            snapshot, database = snapshots[region], platform.databases[region]
            for kind, entity in snapshot.entities.items():
                trending = load_popularity(database, snapshot, kind).trending
                for shard in shards:
                    genres = genre_affinity(snapshot, snapshot.rows_of(shard))
                    yield (
                        shard,
                        kind,
                        trending_candidates(trending, entity.genres, genres, PER_SOURCE),
                    )

    return _collected(context, lists(), snapshots)
