"""What stored intermediate results hold, counted per region or shard and type: one row each.

Files are mapped and passed over once; nothing is sampled. What the counts may be is declared in
`intermediates`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from seda.activity.snapshot import EntitySnapshot, FromSnapshot, RegionSnapshot
from seda.database.arrays import pack, unpack
from seda.database.regions import Region, Shard
from seda.database.storage import RegionalStorage
from seda.recommender.soundness import (
    Counts,
    list_counts,
    matrix_outside,
    non_finite,
    outside,
    pool_counts,
    repeated_ids,
)
from seda_assets.assets.canary_arm import CANARY_LISTS
from seda_assets.resources import Platform

Row = dict[str, str | int]


@dataclass(frozen=True)
class Stored:
    """One region's intermediate results, of these shards."""

    storage: RegionalStorage
    region: Region
    shards: Sequence[Shard]

    @classmethod
    def of(cls, platform: Platform, region: Region, shards: Sequence[Shard]) -> "Stored":
        return cls(platform.storages[region], region, shards)

    @cached_property
    def snapshot(self) -> RegionSnapshot:
        """What all positions are positions of."""
        found: RegionSnapshot = unpack(
            self.storage.get_arrays(f"interaction_matrices/{self.region}")
        )
        return found

    def regional(self, name: str) -> FromSnapshot:
        found: FromSnapshot = unpack(self.storage.get_arrays(f"{name}/{self.region}"))
        return found

    def by_shard(self, name: str) -> Iterator[tuple[Shard, FromSnapshot]]:
        for shard in self.shards:
            yield shard, unpack(self.storage.get_arrays(f"{name}/{shard.key}"))


Counting = Callable[[Stored], Iterator[Row]]


def _row(place: str, kind: str, counts: Mapping[str, int]) -> Row:
    return {"place": place, "entity_type": kind, **counts}


def matrices(stored: Stored) -> Iterator[Row]:
    """Per type: ids that come twice, entries that point at nothing, plays that are no counts; the
    people of the region count with each."""
    snapshot = stored.snapshot
    people = len(snapshot.user_ids)
    unordered = int((np.diff(snapshot.user_buckets) < 0).sum())
    shared = {
        "repeated_ids": repeated_ids(snapshot.user_ids),
        "wrong_people": unordered + abs(people - len(snapshot.served))
        + abs(people - len(snapshot.user_buckets)),
    }  # fmt: skip
    friends = matrix_outside(snapshot.friends, (people, people))
    for kind, entity in snapshot.entities.items():
        counts = _of_entity(entity, people, len(snapshot.genre_names))
        counts["outside_catalogue"] += friends
        counts["repeated_ids"] += shared["repeated_ids"]
        yield _row(str(stored.region), kind, shared | counts)


def _of_entity(entity: EntitySnapshot, people: int, genres: int) -> Counts:
    items = len(entity.ids)
    shapes = [(each, (people, items)) for each in (entity.plays, entity.recent, entity.known)]
    shapes += [(each, (items, genres)) for each in (entity.genres, entity.tags)]
    return {
        "repeated_ids": repeated_ids(entity.ids),
        "outside_catalogue": sum(matrix_outside(each, shape) for each, shape in shapes),
        "non_finite": sum(non_finite(each.data) for each, _ in shapes),
        "negative": sum(int((each.data < 0).sum()) for each, _ in shapes),
    }


def factors(stored: Stored) -> Iterator[Row]:
    """Per type: rows that are not one per person or item, numbers that are none, weights that
    point at no item."""
    snapshot, found = stored.snapshot, stored.regional("collaborative_factors")
    for kind, entity in snapshot.entities.items():
        if found.version != snapshot.version:
            yield _row(str(stored.region), kind, {"other_snapshot": 1})
            continue
        models, items = found.value[kind], len(entity.ids)
        weights = [
            each.weights
            for each in (models.ease, models.neighbours, models.walks, models.tag_neighbours)
        ]
        yield _row(str(stored.region), kind, {
            "wrong_people": abs(len(models.als.users) - len(snapshot.user_ids)),
            "wrong_items": abs(len(models.als.items) - items) + abs(len(models.tags.items) - items),
            "outside_catalogue": sum(outside(each.indices, items) for each in weights),
            "non_finite": sum(map(non_finite, pack(models).values())),
        })  # fmt: skip


def clusters(stored: Stored) -> Iterator[Row]:
    """Per type: labels that are not one per item, or are none."""
    snapshot, found = stored.snapshot, stored.regional("entity_clusters")
    for kind, entity in snapshot.entities.items():
        if found.version != snapshot.version:
            yield _row(str(stored.region), kind, {"other_snapshot": 1})
            continue
        labels, items = found.value[kind], len(entity.ids)
        yield _row(str(stored.region), kind, {
            "wrong_items": abs(len(labels) - items),
            "outside_clusters": outside(labels, max(items, 1), padded=True),
        })  # fmt: skip


def tastes(stored: Stored) -> Iterator[Row]:
    """Per shard: rows that are not one per person, numbers that are none."""
    snapshot = stored.snapshot
    for shard, found in stored.by_shard("taste_vectors"):
        if found.version != snapshot.version:
            yield _row(shard.key, "user", {"other_snapshot": 1})
            continue
        vectors = found.value.vectors
        yield _row(shard.key, "user", {
            "wrong_people": abs(len(vectors) - _people(snapshot, shard)),
            "non_finite": non_finite(vectors),
        })  # fmt: skip


def lists_of(source: str) -> Counting:
    """Counts one source's candidates, per shard and type."""

    def counting(stored: Stored) -> Iterator[Row]:
        snapshot = stored.snapshot
        for shard, found in stored.by_shard(source):
            for kind, entity in snapshot.entities.items():
                if found.version != snapshot.version:
                    yield _row(shard.key, kind, {"other_snapshot": 1})
                    continue
                lists = found.value[kind]
                people = _people(snapshot, shard)
                counts = list_counts(
                    lists.items, lists.scores, people=people, count=len(entity.ids)
                )
                yield _row(shard.key, kind, counts | {"largest_pool": lists.items.shape[1]})

    return counting


def pools(stored: Stored) -> Iterator[Row]:
    """The candidates of each shard and type."""
    snapshot = stored.snapshot
    for shard, found in stored.by_shard("candidate_sets"):
        rows = snapshot.rows_of(shard)
        for kind, entity in snapshot.entities.items():
            if found.version != snapshot.version:
                yield _row(shard.key, kind, {"other_snapshot": 1})
                continue
            items = len(entity.ids)
            hungry = (np.diff(entity.plays[rows].indptr) > 0) & (
                np.diff(entity.known[rows].indptr) < items
            )
            counts = pool_counts(
                found.value[kind], served=snapshot.served[rows], hungry=hungry, items=items
            )
            yield _row(shard.key, kind, counts)


def ranked(stored: Stored) -> Iterator[Row]:
    """The ranked lists of each shard and type; a canary's count with the control's."""
    snapshot = stored.snapshot
    for shard, found in stored.by_shard("ranked_recommendations"):
        for kind, entity in snapshot.entities.items():
            if found.version != snapshot.version:
                yield _row(shard.key, kind, {"other_snapshot": 1})
                continue
            counts: Counts = {}
            for arm in (found.value, found.value.get(CANARY_LISTS)):
                for name, count in _of_ranked(arm, kind, _people(snapshot, shard), entity).items():
                    counts[name] = counts.get(name, 0) + count
            yield _row(shard.key, kind, counts)


def _of_ranked(
    arm: Mapping[str, Any] | None, kind: str, people: int, entity: EntitySnapshot
) -> Counts:
    if not arm:
        return {}
    lists = arm[kind]
    return list_counts(lists.items, lists.scores, people=people, count=len(entity.ids))


def _people(snapshot: RegionSnapshot, shard: Shard) -> int:
    rows = snapshot.rows_of(shard)
    return rows.stop - rows.start
