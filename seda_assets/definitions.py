"""The whole platform on one screen: what exists, when it runs, what it reaches outside."""

from pathlib import Path

from seda.settings import REPOSITORY
from seda_assets.resources import Platform, use_fast_kernels

use_fast_kernels()  # before anything below imports numpy

import dagster as dg  # noqa: E402

from seda_assets.assets.canary_gate import canary_gate  # noqa: E402
from seda_assets.assets.candidates import (  # noqa: E402
    collaborative_candidates,
    content_candidates,
    social_candidates_asset,
    trending_candidates_asset,
)
from seda_assets.assets.clusters import entity_clusters  # noqa: E402
from seda_assets.assets.collaborative import collaborative_factors  # noqa: E402
from seda_assets.assets.embeddings import (  # noqa: E402
    embedding_breakers,
    embedding_spend,
    shadow_agreement,
)
from seda_assets.assets.evaluation import offline_evaluation  # noqa: E402
from seda_assets.assets.kpis import online_kpis  # noqa: E402
from seda_assets.assets.learned import learned_rankers  # noqa: E402
from seda_assets.assets.links import (  # noqa: E402
    announced_imports,
    provider_imports,
    sealed_tokens,
)
from seda_assets.assets.listening import merged_listens  # noqa: E402
from seda_assets.assets.matrices import interaction_matrices  # noqa: E402
from seda_assets.assets.privacy import privacy_promises, privacy_requests  # noqa: E402
from seda_assets.assets.ranking import candidate_sets, ranked_recommendations  # noqa: E402
from seda_assets.assets.read_models import published_lists  # noqa: E402
from seda_assets.assets.realtime import realtime_rankings  # noqa: E402
from seda_assets.assets.registry import model_registry  # noqa: E402
from seda_assets.assets.retention import retention  # noqa: E402
from seda_assets.assets.sources import source_assets  # noqa: E402
from seda_assets.assets.sql_models import sql_model_assets  # noqa: E402
from seda_assets.assets.vector_search import (  # noqa: E402
    migration_thresholds,
    vector_indexes,
    vector_search_quality,
)
from seda_assets.assets.vectors import entity_vector_assets, taste_vectors  # noqa: E402
from seda_assets.automation.canaries import (  # noqa: E402
    canaries,
    canary_gates,
    model_stage,
)
from seda_assets.automation.jobs import (  # noqa: E402
    embed_catalogue,
    evaluation,
    hourly,
    housekeeping,
    kpis,
    links,
    model_backfill,
    nightly,
    observe_sources,
    privacy,
    privacy_upkeep,
    realtime,
    token_upkeep,
)
from seda_assets.automation.links_sensor import imported_lists, provider_links  # noqa: E402
from seda_assets.automation.notices import notices  # noqa: E402
from seda_assets.automation.presence_sensor import presence_events  # noqa: E402
from seda_assets.automation.privacy_sensor import privacy_jobs  # noqa: E402
from seda_assets.automation.rewriting_job import (  # noqa: E402
    rewrite_tables,
    rewrite_tables_schedule,
)
from seda_assets.automation.schedules import schedules  # noqa: E402
from seda_assets.automation.sensors import sensors  # noqa: E402
from seda_assets.checks.suites import suite_checks  # noqa: E402
from seda_assets.code_versions import with_code_versions  # noqa: E402
from seda_assets.regional_files import RegionalFiles  # noqa: E402

assets: list[dg.AssetsDefinition] = [
    *entity_vector_assets,
    merged_listens,
    interaction_matrices,
    taste_vectors,
    learned_rankers,
    collaborative_factors,
    entity_clusters,
    content_candidates,
    collaborative_candidates,
    social_candidates_asset,
    trending_candidates_asset,
    candidate_sets,
    ranked_recommendations,
    published_lists,
    realtime_rankings,
    embedding_spend,
    embedding_breakers,
    shadow_agreement,
    vector_indexes,
    vector_search_quality,
    migration_thresholds,
    offline_evaluation,
    provider_imports,
    announced_imports,
    sealed_tokens,
    privacy_requests,
    privacy_promises,
    canary_gate,
    online_kpis,
    retention,
]


def build_definitions(platform: Platform, *, code: Path = REPOSITORY) -> dg.Definitions:
    """The graph over this platform; tests and the command line pass their own.

    `code` is the folder whose files the assets' code versions are of.
    """
    return dg.Definitions(
        assets=[
            *source_assets,
            model_registry,
            *sql_model_assets,  # their code version is that of their SQL
            *with_code_versions(assets, code),
        ],
        asset_checks=suite_checks,
        jobs=[
            nightly,
            evaluation,
            hourly,
            observe_sources,
            embed_catalogue,
            realtime,
            model_backfill,
            canary_gates,
            model_stage,
            kpis,
            housekeeping,
            links,
            token_upkeep,
            privacy,
            privacy_upkeep,
            rewrite_tables,
        ],
        schedules=[*schedules, rewrite_tables_schedule],
        sensors=[
            *sensors,
            presence_events,
            provider_links,
            imported_lists,
            canaries,
            privacy_jobs,
            *notices,
        ],
        resources={"platform": platform, "io_manager": RegionalFiles(platform)},
    )


definitions = build_definitions(Platform())
