"""Offline evaluation: what the pipeline finds of plays that were hidden from it, every night."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from seda.activity.snapshot import RegionSnapshot
from seda.experiments.offline import evaluate_region, load_world, nightly_pipeline
from seda.recommender.evaluate import EvaluationReport
from seda.recommender.evaluate.figures import accuracy_figure, cohorts_figure, tradeoff_figure
from seda.recommender.evaluate.report import COLUMNS, rows, summary
from seda.recommender.ranking import linear_weights
from seda.registry.models import BLEND, get_active
from seda_assets.automation.freshness import NIGHTLY
from seda_assets.plots import png
from seda_assets.regional_files import StoredValues
from seda_assets.resources import Platform

RESAMPLES = 500


@dg.asset(
    deps=[*(dg.AssetKey(["seda", f"{kind}s_vectors"]) for kind in ("artist", "playlist", "room"))],
    group_name="evaluation",
    owners=["team:recommendations"],
    kinds={"python", "numpy"},
    tags={"seda/layer": "evaluation"},
    freshness_policy=NIGHTLY,
    code_version="2",
)
def offline_evaluation(
    context: dg.AssetExecutionContext,
    platform: dg.ResourceParam[Platform],
    interaction_matrices: StoredValues,
    entity_clusters: StoredValues,
) -> dg.MaterializeResult:
    """Recall, NDCG, MAP, coverage, novelty and variety of the published lists beside popularity,
    random and each single source, per region and cohort, on plays that the fit did not see.

    A sample of at most 2,000 people per region is ranked; `seda evaluate --report` writes the same
    as a page."""
    metadata: dict[str, Any] = {}
    for database in platform.databases:
        region, space = str(database.region), platform.active_space(database.region)
        snapshot: RegionSnapshot = interaction_matrices[region]
        clusters = snapshot.checked(entity_clusters[region], "entity_clusters")
        with database.transaction() as connection:
            model = get_active(connection, BLEND)
        design = linear_weights(model.kind, model.config)
        for kind in snapshot.entities:
            world = load_world(database, snapshot, space, kind, clusters=clusters[kind])
            report = evaluate_region(
                world, nightly_pipeline(model.kind, design), resamples=RESAMPLES
            )
            metadata |= _figures(f"{kind}_{region}", report)
            if kind == "artist":
                metadata[f"variety_{region}"] = png(tradeoff_figure(report))
                metadata[f"cohorts_{region}"] = png(cohorts_figure(report))
            for leak in report.leaks:
                context.log.error("%s, %s region: %s", kind, region, leak)
    return dg.MaterializeResult(metadata=metadata)


def _figures(name: str, report: EvaluationReport) -> Mapping[str, Any]:
    published = report.methods[0].overall
    return {
        f"{name}_ndcg": published.ndcg.value,
        f"{name}_recall": published.recall.value,
        f"{name}_coverage": published.coverage,
        f"{name}_distance": published.list_distance.value,
        f"{name}_people": report.users,
        f"{name}_leaks": len(report.leaks),
        f"{name}_table": dg.MetadataValue.md(f"{summary(report)}\n\n{_markdown(report)}"),
        f"{name}_methods": png(accuracy_figure(report)),
    }


def _markdown(report: EvaluationReport) -> str:
    lines = [COLUMNS, ("---",) * len(COLUMNS), *rows(report)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
