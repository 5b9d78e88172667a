"""What a new model leaves to do, and doing it: which assets, for which shards, in which runs.

A shard is done when the lists that it serves were ranked by the active version, with nothing under
them that another code of a model computed. That is read from what is served and from Dagster's data
versions each time, not from a record of the backfill: so whatever was killed when, the next one
computes the rest and no shard twice.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph

from seda.database.arrays import UnknownPackedTypeError, unpack
from seda.database.regions import Region, Shard
from seda.database.storage import NotStoredError
from seda.errors import SedaError
from seda.publishing.served import served_lists
from seda.registry.models import BLEND, get_active
from seda_assets.assets.registry import MODEL_REGISTRY
from seda_assets.resources import Platform
from seda_assets.staleness import StaleParts, stale_parts

RANKED = dg.AssetKey("ranked_recommendations")
PUBLISHED = (
    dg.AssetKey(["seda", "recommendations"]),
    dg.AssetKey(["seda", "mv_user_top_candidates"]),
)
MATRICES = dg.AssetKey("interaction_matrices")
TASTE = dg.AssetKey("taste_vectors")
# Fitted at night alone: what is older than they are was computed with another model. Matrices and
# tastes move every hour, which makes no list another model's.
MODELS = frozenset(
    {
        MODEL_REGISTRY,
        *map(dg.AssetKey, ("learned_rankers", "collaborative_factors", "entity_clusters")),
    }
)
_REGIONAL = ("collaborative_factors", "entity_clusters")
_OF_SHARDS = ("taste_vectors", "social_candidates", "candidate_sets")


class InactiveModelError(SedaError):
    """Lists are only computed with the version that ranks."""


class UnknownShardError(SedaError):
    """A shard that these settings do not have."""


@dataclass(frozen=True)
class Backfill:
    """Assets and the shards for which they run; `shared` are those without shards.

    `shards` are in the order of the partitions; `reasons` are sentences for people.
    """

    shared: frozenset[dg.AssetKey]
    by_shard: frozenset[dg.AssetKey]
    shards: tuple[str, ...]
    reasons: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether everything is done."""
        return not self.shared and not self.shards


@dataclass(frozen=True)
class PlannedRun:
    """One run: assets, and the first and last of the contiguous shards that it covers."""

    assets: frozenset[dg.AssetKey]
    shards: tuple[str, str] | None

    @property
    def tags(self) -> dict[str, str]:
        """What tells Dagster the range; a run of no shard has none."""
        if self.shards is None:
            return {}
        first, last = self.shards
        return {
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last,
        }


def active_versions(platform: Platform) -> dict[Region, str]:
    """The version that ranks now, by region."""
    versions = {}
    for database in platform.databases:
        with database.transaction() as connection:
            versions[database.region] = get_active(connection, BLEND).version
    return versions


def outdated_shards(platform: Platform) -> dict[str, str]:
    """Shards that serve lists of another version than the active one → that version.

    A shard that serves nothing is not among them: that is the sensor `unserved_people`'s.
    """
    outdated = {}
    for database in platform.databases:
        with database.transaction() as connection:
            active, served = get_active(connection, BLEND).version, served_lists(connection)
        for shard, lists in served.items():
            if lists.versions != (active,) and shard in platform.shards:
                outdated[shard] = ", ".join(lists.versions)
    return dict(sorted(outdated.items()))


def published_shards(platform: Platform, instance: dg.DagsterInstance) -> set[str]:
    """Shards that serve what their newest ranking gave, by the run that made both.

    A run that fails tells of no shard that it has published: the rows do.
    """
    published = set()
    for database in platform.databases:
        with database.transaction() as connection:
            served = served_lists(connection)
        for shard, lists in served.items():
            newest = instance.fetch_materializations(
                dg.AssetRecordsFilter(asset_key=RANKED, asset_partitions=[shard]), limit=1
            ).records
            if newest and lists.runs == (newest[0].run_id,):
                published.add(shard)
    return published


def plan_backfill(
    platform: Platform,
    instance: dg.DagsterInstance,
    graph: BaseAssetGraph,
    chain: Iterable[dg.AssetKey],
    *,
    model: str | None = None,
    shards: Sequence[str] = (),
) -> Backfill:
    """What is left of `chain` (the assets up to the published lists), for all or these shards.

    Raises:
        InactiveModelError: `model` is not the active version in each region concerned.
        UnknownShardError: there is no such shard.
    """
    asked = _asked(platform, shards)
    _require_active(platform, asked, model)
    keys = [shard.key for shard in asked]
    plan = _Plan(graph, frozenset(chain), keys)
    outdated = outdated_shards(platform)
    plan.add_outdated({key: outdated[key] for key in keys if key in outdated})
    stale = stale_parts(instance, graph, plan.chain, keys)
    plan.add_stale(stale, published=published_shards(platform, instance))
    if plan.shards:
        concerned = [platform.shards[key] for key in plan.ordered_shards()]
        plan.add_moved(moved_positions(platform, concerned, computed=plan.assets))
    return plan.result()


def runs_of(backfill: Backfill, shards: Sequence[str], *, one: bool) -> list[PlannedRun]:
    """One run over each contiguous range of shards, or a run for each shard after what they share.

    `shards` are all of them, in the order of the partitions.
    """
    if not backfill.shards:
        return [PlannedRun(backfill.shared, None)] if backfill.shared else []
    if not one:
        before = [PlannedRun(backfill.shared, None)] if backfill.shared else []
        return before + [PlannedRun(backfill.by_shard, (key, key)) for key in backfill.shards]
    ranges: list[list[str]] = []
    for key in backfill.shards:
        if ranges and shards.index(ranges[-1][-1]) + 1 == shards.index(key):
            ranges[-1].append(key)
        else:
            ranges.append([key])
    shared = [backfill.shared, *[frozenset[dg.AssetKey]()] * (len(ranges) - 1)]
    return [
        PlannedRun(first | backfill.by_shard, (keys[0], keys[-1]))
        for first, keys in zip(shared, ranges, strict=True)
    ]


def moved_positions(
    platform: Platform, shards: Sequence[Shard], *, computed: frozenset[dg.AssetKey]
) -> list[str]:
    """What ranking would read, and refuse, since people or catalogue changed after the night.

    `computed` are assets that the backfill computes anyway.
    """
    moved = []
    for region in sorted({shard.region for shard in shards}):
        version = _version(platform, region, f"{MATRICES.path[-1]}/{region}")
        keys = [f"{name}/{region}" for name in _REGIONAL if dg.AssetKey(name) not in computed]
        for name in _OF_SHARDS:
            if dg.AssetKey(name) not in computed:
                keys += [f"{name}/{each.key}" for each in shards if each.region is region]
        moved += [key for key in keys if _version(platform, region, key) != version]
    return moved


def _version(platform: Platform, region: Region, key: str) -> str | None:
    """The snapshot's version of a stored intermediate result; None where there is none."""
    try:
        return str(unpack(platform.storages[region].get_arrays(key)).version)
    except (NotStoredError, UnknownPackedTypeError):
        return None


def _asked(platform: Platform, keys: Sequence[str]) -> list[Shard]:
    unknown = sorted(set(keys) - set(platform.shards))
    if unknown:
        raise UnknownShardError(
            f"There is no shard {', '.join(unknown)}; there are {', '.join(platform.shards)}."
        )
    return [shard for key, shard in platform.shards.items() if not keys or key in keys]


def _require_active(platform: Platform, shards: Sequence[Shard], model: str | None) -> None:
    for region, active in active_versions(platform).items():
        concerned = any(shard.region is region for shard in shards)
        if model is not None and concerned and active != model:
            raise InactiveModelError(
                f"The {region} region ranks with {active}, not with {model}: make {model} active "
                "there first, or choose shards of the other region."
            )


class _Plan:
    """Gathers what is to be done, each part with what follows from it."""

    def __init__(
        self, graph: BaseAssetGraph, chain: frozenset[dg.AssetKey], asked: Sequence[str]
    ) -> None:
        self._graph, self.chain, self._asked = graph, chain, asked
        self.assets: frozenset[dg.AssetKey] = frozenset()
        self.shards: set[str] = set()
        self._reasons: list[str] = []

    def add_outdated(self, outdated: Mapping[str, str]) -> None:
        """Shards whose lists another version ranked."""
        if not outdated:
            return
        self.shards |= set(outdated)
        self.assets |= {RANKED, *PUBLISHED}
        versions = ", ".join(sorted(set(outdated.values())))
        self._reasons.append(f"{_shards(outdated)} served by {versions}, which is not active.")

    def add_stale(self, stale: StaleParts, *, published: Set[str]) -> None:
        """Assets that another code computed, or before what they read of a model.

        `published` are shards whose served lists are those of their newest ranking, whatever
        Dagster recorded.
        """
        by_shard = {key for key in self.chain if self._graph.get(key).is_partitioned}
        reads = MODELS | by_shard - {TASTE}
        for key, parts in sorted(stale.items()):
            # What has no shards is stale by its sources all day: that is the night's to do.
            counts = reads if key in by_shard else frozenset[dg.AssetKey]()
            causes = {
                at: why
                for at, why in parts.items()
                if why.is_code
                or (why.depends & counts and not (key in PUBLISHED and at in published))
            }
            if not causes:
                continue
            found = {at for at in causes if at is not None}
            self.assets |= {key} | (self._graph_below(key) & self.chain)
            self.shards |= found or set(self._asked)
            why = "; ".join(sorted({each.said for each in causes.values()}))
            where = f" for {_shards(found)}" if found else ""
            self._reasons.append(f"{key.to_user_string()}{where}: {why}.")

    def add_moved(self, moved: Sequence[str]) -> None:
        """Everything from the matrices on, where positions mean something else by now."""
        if not moved:
            return
        below = self._graph_below(MATRICES) & self.chain - {dg.AssetKey("learned_rankers")}
        self.assets |= {MATRICES} | below
        self._reasons.append(
            f"{len(moved)} intermediate results are from before people or catalogue changed "
            f"({moved[0]}{', …' if len(moved) > 1 else ''}): they are computed again."
        )

    def ordered_shards(self) -> list[str]:
        return [key for key in self._asked if key in self.shards]

    def result(self) -> Backfill:
        shared = frozenset(key for key in self.assets if not self._graph.get(key).is_partitioned)
        by_shard = self.assets - shared
        shards = tuple(self.ordered_shards()) if by_shard else ()
        return Backfill(shared, by_shard, shards, tuple(self._reasons))

    def _graph_below(self, key: dg.AssetKey) -> frozenset[dg.AssetKey]:
        found: set[dg.AssetKey] = set()
        waiting = [key]
        while waiting:
            children = set(self._graph.get(waiting.pop()).child_keys) - found
            found |= children
            waiting += children
        return frozenset(found)


def _shards(keys: Iterable[str]) -> str:
    named = sorted(keys)
    return f"{len(named)} shard{'s' if len(named) != 1 else ''} ({', '.join(named)})"
