"""Vector search: the indexes of the active spaces, how well they are searched, when to move on."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from matplotlib.figure import Figure

from seda.database.regions import RegionalDatabase
from seda.vectorstore.indexes import (
    RebuildRefusedError,
    ensure_index,
    live_index,
    note_latencies,
)
from seda.vectorstore.opening import open_store
from seda.vectorstore.quality import RELATIONS, SearchQuality, load_searched, search_quality
from seda.vectorstore.store import RECALL, SEARCHABLE
from seda.vectorstore.thresholds import Threshold, index_scans, thresholds
from seda_assets.automation.freshness import NIGHTLY
from seda_assets.plots import new_figure, png
from seda_assets.resources import Platform

QUERIES = 4
"""Per line of the quality report: a look every night, not a benchmark."""
SEED = 20_261_124
_VECTORS = [dg.AssetKey(["seda", f"{kind}s_vectors"]) for kind in SEARCHABLE]


def _asset(name: str, deps: list[dg.AssetKey], **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "deps": deps,
        "group_name": "vectors",
        "owners": ["team:recommendations"],
        "kinds": {"python", "pgvector"},
        "tags": {"seda/layer": "vectors"},
        "freshness_policy": NIGHTLY,
        "code_version": "1",
        **more,
    }


@dg.asset(
    **_asset("vector_indexes", _VECTORS),
    check_specs=[
        dg.AssetCheckSpec(
            "recall_reached",
            asset="vector_indexes",
            description="Every index finds enough of the true nearest; otherwise search is exact.",
        )
    ],
)
def vector_indexes(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """One HNSW index per entity type in each region's active space: built where there is none,
    verified against exact search before it serves."""
    metadata: dict[str, Any] = {}
    refused: dict[str, str] = {}
    for database, kind in _each(platform):
        space, name = platform.active_space(database.region), f"{kind}_{database.region}"
        try:
            metadata[f"built_{name}"] = ensure_index(database, kind, space, now=platform.now())
        except RebuildRefusedError as problem:
            refused[name] = str(problem)
        with database.transaction() as connection:
            live = live_index(connection, kind, space)
        metadata[f"vectors_{name}"] = live.vectors if live else 0
        if live:
            metadata[f"recall_{name}"] = float(live.recalls[-1])
    check = dg.AssetCheckResult(
        check_name="recall_reached",
        passed=not refused,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=refused,
    )
    return dg.MaterializeResult(metadata=metadata, check_results=[check])


@dg.asset(**_asset("vector_search_quality", [dg.AssetKey("vector_indexes")]))
def vector_search_quality(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """Recall@50 and latency of searches by how much their filter lets through: unfiltered, and in
    each decile with filters that have nothing to do with the query, or exclude what is near it."""
    metadata: dict[str, Any] = {}
    measured: dict[str, list[SearchQuality]] = {}
    for database, kind in _each(platform):
        space, name = platform.active_space(database.region), f"{kind}_{database.region}"
        store = open_store(platform.settings, database)
        searched = load_searched(database, kind, space)
        lines = search_quality(store, kind, space, searched, queries=QUERIES, seed=SEED)
        store.close()
        if lines:
            measured[name] = lines
            unfiltered = (lines[0].p50_ms, lines[0].p95_ms, lines[0].p99_ms)
            with database.transaction() as connection:  # for /metrics
                note_latencies(connection, kind, space, unfiltered, platform.now())
            metadata[f"lowest_recall_{name}"] = min(line.recall for line in lines)
            metadata[f"p95_ms_{name}"] = lines[0].p95_ms
            metadata[f"slowest_p95_ms_{name}"] = max(line.p95_ms for line in lines)
    metadata["target_recall"] = RECALL
    if measured:
        metadata["plot"] = png(_quality_figure(measured))
        metadata["table"] = dg.MetadataValue.md(_quality_table(measured))
    return dg.MaterializeResult(metadata=metadata)


@dg.asset(
    **_asset("migration_thresholds", [dg.AssetKey("vector_search_quality")]),
    check_specs=[
        dg.AssetCheckSpec(
            "postgres_is_enough",
            asset="migration_thresholds",
            description="No index has passed the size, latency or load to move on from pgvector.",
        )
    ],
)
def migration_thresholds(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
) -> dg.MaterializeResult:
    """Whether vectors outgrow Postgres: more than 500k in an index, an unfiltered P95 above 120 ms,
    or more than 200 searches a second since the last look."""
    quality = _latest(context, "vector_search_quality")
    before = _latest(context, "migration_thresholds")
    now = platform.now().timestamp()
    elapsed = now - before.get("looked_at", now)
    metadata: dict[str, Any] = {"looked_at": now}
    reached: list[str] = []
    lines = ["| index | measure | value | limit | |", "| --- " * 5 + "|"]
    for database, kind in _each(platform):
        name = f"{kind}_{database.region}"
        with database.transaction() as connection:
            live = live_index(connection, kind, platform.active_space(database.region))
            scans = index_scans(connection, kind)
        metadata[f"scans_{name}"] = scans
        # A restarted server counts from nothing: a negative number says nothing.
        done = scans - before.get(f"scans_{name}", scans)
        found = thresholds(
            vectors=live.vectors if live else 0,
            p95_ms=quality.get(f"p95_ms_{name}"),
            queries_per_second=done / elapsed if elapsed > 0 and done >= 0 else None,
        )
        reached += [f"{name}: {each.name}" for each in found if each.is_reached]
        lines += [_threshold_row(name, each) for each in found]
    metadata["reached"] = len(reached)
    metadata["thresholds"] = dg.MetadataValue.md("\n".join(lines))
    check = dg.AssetCheckResult(
        check_name="postgres_is_enough",
        passed=not reached,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"reached": ", ".join(reached) or "none"},
    )
    return dg.MaterializeResult(metadata=metadata, check_results=[check])


def _each(platform: Platform) -> Iterator[tuple[RegionalDatabase, str]]:
    for database in platform.databases:
        for kind in SEARCHABLE:
            yield database, kind


def _latest(context: dg.AssetExecutionContext, name: str) -> Mapping[str, float]:
    """The numbers that an asset told of itself last; none if it never ran."""
    event = context.instance.get_latest_materialization_event(dg.AssetKey(name))
    told = event.asset_materialization if event else None
    return {
        key: float(value.value)
        for key, value in (told.metadata if told else {}).items()
        if isinstance(value.value, int | float)
    }


def _threshold_row(name: str, each: Threshold) -> str:
    value = "not measured" if each.value is None else f"{each.value:,.1f}"
    said = "**reached**" if each.is_reached else ""
    return f"| {name} | {each.name} | {value} | {each.limit:,.0f} | {said} |"


def _quality_table(measured: Mapping[str, list[SearchQuality]]) -> str:
    lines = [
        "| searched | filter | matching | recall@50 | P50 | P95 | P99 ms |",
        "| --- " * 7 + "|",
    ]
    for name, qualities in measured.items():
        for each in qualities:
            share = "all" if each.decile < 0 else f"{each.decile * 10}–{each.decile * 10 + 10} %"
            lines.append(
                f"| {name} | {each.relation} | {share} | {each.recall:.3f} | {each.p50_ms:.1f} "
                f"| {each.p95_ms:.1f} | {each.p99_ms:.1f} |"
            )
    return "\n".join(lines)


def _quality_figure(measured: Mapping[str, list[SearchQuality]]) -> Figure:
    figure = new_figure(width=9, height=4)
    for axes, relation in zip(figure.subplots(2, 2).T, RELATIONS, strict=True):
        recalls, latencies = axes
        for name, lines in measured.items():
            mine = [line for line in lines if line.relation == relation]
            deciles = [line.decile * 10 + 5 for line in mine]
            recalls.plot(deciles, [line.recall for line in mine], marker="o", label=name)
            latencies.plot(deciles, [line.p95_ms for line in mine], marker="o")
        recalls.axhline(RECALL, color="tab:red", linewidth=1)
        recalls.set_title(f"recall@50, {relation} filters", fontsize="small")
        latencies.set_title("P95 in ms, by share of entities that match (%)", fontsize="small")
        latencies.axhline(120, color="tab:red", linewidth=1)
    recalls.legend(fontsize="x-small", ncols=2)
    return figure
