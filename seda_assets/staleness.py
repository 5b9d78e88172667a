"""Why Dagster calls an asset stale: new code, or a newer version of something that it reads.

The same answer as the UI's, asked from a process that has the definitions themselves.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import dagster as dg
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
from dagster._core.definitions.data_version import (
    CachingStaleStatusResolver,
    StaleCause,
    StaleCauseCategory,
)
from dagster._core.loader import LoadingContextForTest


@dataclass(frozen=True)
class Staleness:
    """One asset, or one partition of it: new code, what it reads that moved, and a sentence."""

    is_code: bool
    depends: frozenset[dg.AssetKey]
    said: str


StaleParts: TypeAlias = Mapping[dg.AssetKey, Mapping[str | None, Staleness]]


def stale_parts(
    instance: dg.DagsterInstance,
    graph: BaseAssetGraph,
    keys: Iterable[dg.AssetKey],
    partitions: Sequence[str],
) -> StaleParts:
    """Of these assets, what is stale: partition (None where there are none) → why.

    What was never materialised is missing, not stale, and not told of.
    """
    # The one loading context that Dagster has outside its own servers.
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    found: dict[dg.AssetKey, dict[str | None, Staleness]] = {}
    for key in keys:
        parts = partitions if graph.get(key).is_partitioned else [None]
        causes = {part: resolver.get_stale_causes(key, part) for part in parts}
        found[key] = {part: _staleness(each) for part, each in causes.items() if each}
    return {key: parts for key, parts in found.items() if parts}


def _staleness(causes: Sequence[StaleCause]) -> Staleness:
    depends = {
        cause.dependency_asset_key for cause in causes if cause.dependency_asset_key is not None
    }
    said = sorted({_sentence(cause) for cause in causes})
    is_code = any(cause.category is StaleCauseCategory.CODE for cause in causes)
    return Staleness(is_code, frozenset(depends), ", ".join(said))


def _sentence(cause: StaleCause) -> str:
    key = cause.dependency_asset_key
    return f"{cause.reason} ({key.to_user_string()})" if key else cause.reason
