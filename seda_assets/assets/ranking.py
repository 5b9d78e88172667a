"""Candidate sets and ranked lists: the sources' union without what is blocked, then the ranking."""

from dataclasses import replace

import dagster as dg
import numpy as np

from seda.activity.snapshot import FromSnapshot, RegionSnapshot, load_suppressed
from seda.database.regions import RegionalDatabase
from seda.recommender.candidates import CandidateLists, Source, merge_candidates, union
from seda.recommender.exploration import Exploration
from seda.recommender.learned import LearnedRankers
from seda.recommender.ranking import effective_shares, linear_weights
from seda.recommender.recommend import RankedLists, recommend
from seda.registry.models import BLEND, ModelVersion, get_active
from seda_assets.assets.canary_arm import CANARY_LISTS, canary_arm
from seda_assets.assets.candidates import PRESENCE
from seda_assets.assets.ranking_inputs import RankingData
from seda_assets.assets.shard_facts import ShardFacts
from seda_assets.automation.freshness import NIGHTLY
from seda_assets.automation.partitions import LISTS, shard_runs, user_shards
from seda_assets.regional_files import StoredValues
from seda_assets.resources import Platform

LIST_LENGTH = 50
SEED = 20_260_903


@dg.asset(
    deps=[dg.AssetKey(["seda", "suppressions"])],
    partitions_def=user_shards,
    backfill_policy=shard_runs,
    pool=LISTS,
    group_name="candidates",
    owners=["team:recommendations"],
    kinds={"python", "numpy"},
    tags={"seda/layer": "candidates"},
    freshness_policy=NIGHTLY,
    code_version="1",
)
def candidate_sets(
    context: dg.AssetExecutionContext,
    platform: dg.ResourceParam[Platform],
    interaction_matrices: StoredValues,
    content_candidates: StoredValues,
    collaborative_candidates: StoredValues,
    social_candidates: StoredValues,
    trending_candidates: StoredValues,
) -> dict[str, FromSnapshot]:
    """The union of the four sources per person and type, without what is already known, suppressed
    or wanted by nobody (people who opted out of recommendations)."""
    sources = {
        Source.CONTENT: content_candidates,
        Source.COLLABORATIVE: collaborative_candidates,
        Source.SOCIAL: social_candidates,
        Source.TRENDING: trending_candidates,
    }
    pools: dict[str, FromSnapshot] = {}
    facts = ShardFacts()
    for region, shards in platform.shards_by_region(context.partition_keys).items():
        snapshot: RegionSnapshot = interaction_matrices[region]
        database = platform.databases[region]
        suppressed = {kind: load_suppressed(database, snapshot, kind) for kind in snapshot.entities}
        for shard in shards:
            rows = snapshot.rows_of(shard)
            lists = {
                source: snapshot.checked(stored[shard.key], f"{source.name} candidates")
                for source, stored in sources.items()
            }
            pools[shard.key] = FromSnapshot(snapshot.version, {})
            for kind, entity in snapshot.entities.items():
                blocked = union(entity.known[rows], suppressed[kind][rows])
                offered = {source: _served(each[kind], snapshot.served[rows])
                           for source, each in lists.items()}  # fmt: skip
                pool = merge_candidates(offered, blocked=blocked)
                pools[shard.key].value[kind] = pool
                sizes = np.diff(pool.indptr)
                facts.add(shard, {f"{kind}_candidates": len(pool.items)}, rows=len(pool.items))
                smallest = int(sizes.min()) if len(sizes) else 0
                facts.note(shard, **{f"{kind}_smallest_pool": smallest})
    facts.record(context)
    return pools


@dg.asset(
    deps=[
        *(dg.AssetKey(["seda", f"{kind}s_vectors"]) for kind in ("artist", "playlist", "room")),
        *(dg.AssetKey(["seda", name])
          for name in ("entity_popularity", "impression_pages", "fact_events", "playlist_artists",
                       "model_registry")),
    ],
    partitions_def=user_shards,
    backfill_policy=shard_runs,
    pool=LISTS,
    group_name="ranking",
    owners=["team:recommendations"],
    kinds={"python", "numpy"},
    tags={"seda/layer": "ranking"},
    freshness_policy=NIGHTLY,
    code_version="2",
)  # fmt: skip
def ranked_recommendations(
    context: dg.AssetExecutionContext,
    platform: dg.ResourceParam[Platform],
    interaction_matrices: StoredValues,
    taste_vectors: StoredValues,
    collaborative_factors: StoredValues,
    learned_rankers: StoredValues,
    entity_clusters: StoredValues,
    social_candidates: StoredValues,
    candidate_sets: StoredValues,
) -> dict[str, FromSnapshot]:
    """The top 50 per person and type: ranked by the active model version, diversified under caps,
    novelty quota at every prefix, one exploring place, reasons with their evidence. While a canary
    runs its people are ranked by both versions: the control's lists are the way back."""
    ranked: dict[str, FromSnapshot] = {}
    facts = ShardFacts()
    exploration = Exploration(rate=platform.settings.exploration_rate)
    for region, shards in platform.shards_by_region(context.partition_keys).items():
        snapshot: RegionSnapshot = interaction_matrices[region]
        database = platform.databases[region]
        model = _active_model(database)
        design = linear_weights(model.kind, model.config)
        learned: dict[str, LearnedRankers] = learned_rankers[region].value
        models = snapshot.checked(collaborative_factors[region], "collaborative_factors")
        clusters = snapshot.checked(entity_clusters[region], "entity_clusters")
        canary = canary_arm(platform, database, learned, context.log)
        for shard in shards:
            ranked[shard.key] = FromSnapshot(snapshot.version, {"model_version": model.version})
            facts.note(shard, model_version=model.version)
            if canary:
                ranked[shard.key].value[CANARY_LISTS] = canary.named()
                facts.note(shard, canary_version=canary.version)
        for kind in snapshot.entities:
            data = RankingData(
                database, snapshot, kind, models[kind], clusters=clusters[kind],
                space=platform.active_space(database.region), day=platform.now().toordinal(),
            )  # fmt: skip
            ranker = learned[kind].ranker(model.kind, design)
            # Dismissed after the candidates were stored: a backfill ranks what the night left.
            suppressed = load_suppressed(database, snapshot, kind)
            for shard in shards:
                pool = snapshot.checked(candidate_sets[shard.key], "candidate_sets")[kind]
                pool = pool.without(suppressed[snapshot.rows_of(shard)])
                taste = snapshot.checked(taste_vectors[shard.key], "taste_vectors")
                seen = snapshot.checked(social_candidates[shard.key], "social_candidates")
                presence = seen[PRESENCE] if kind == "room" else None
                inputs = data.inputs(shard, pool=pool, taste=taste, presence=presence)
                lists = recommend(
                    inputs, weights=ranker, k=LIST_LENGTH, exploration=exploration, seed=SEED
                )
                ranked[shard.key].value[kind] = lists
                if canary:
                    chosen = canary.people(snapshot.user_ids[snapshot.rows_of(shard)])
                    ranked[shard.key].value[CANARY_LISTS][kind] = recommend(
                        replace(inputs, pool=pool.of_users(chosen)), weights=canary.rankers[kind],
                        k=LIST_LENGTH, exploration=exploration, seed=SEED,
                    )  # fmt: skip
                    facts.note(shard, canary_people=int(chosen.sum()))
                facts.add(shard, _counts(kind, lists), rows=int((lists.items >= 0).sum()))
                shares = effective_shares(lists.contributions[lists.items >= 0])
                facts.note(shard, **{f"{kind}_share_{term}": share
                                     for term, share in shares.items() if share})  # fmt: skip
    facts.record(context)
    return ranked


def _active_model(database: RegionalDatabase) -> ModelVersion:
    with database.transaction() as connection:
        return get_active(connection, BLEND)


def _served(lists: CandidateLists, served: np.ndarray) -> CandidateLists:
    """No candidates at all for people who opted out."""
    return CandidateLists(np.where(served[:, None], lists.items, -1), lists.scores)


def _counts(kind: str, lists: RankedLists) -> dict[str, int]:
    listed = lists.items >= 0
    return {
        f"{kind}_rows": int(listed.sum()),
        f"{kind}_new": int((lists.is_new & listed).sum()),
        f"{kind}_novelty_shortfall": int(lists.shortfall.sum()),
        f"{kind}_relaxed": int(lists.relaxed.sum()),
        f"{kind}_explored": int((lists.displaced >= 0).sum()),
        f"{kind}_people_without_a_list": int((~listed.any(axis=1)).sum()),
    }
