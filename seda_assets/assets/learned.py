"""Learned rankers: hyper-parameters, a tuned blend and trees, from the region's own data.

Nothing of a person leaves their region; each learns for itself. Learned again when the data have
drifted, else what was learned before is handed on.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from time import perf_counter

import dagster as dg
import numpy as np

from seda.activity.snapshot import FromSnapshot, RegionSnapshot
from seda.database.arrays import UnknownPackedTypeError, unpack
from seda.database.regions import Region, RegionalDatabase
from seda.experiments.canaries import serving_experiment
from seda.experiments.listening import listening_of
from seda.feedback.impressions import count_answers, load_logged
from seda.recommender.arrays import DoubleArray
from seda.recommender.learned import (
    DESIGN,
    FEEDBACK,
    LAMBDARANK,
    TUNED,
    LearnedRankers,
    LearningPlan,
    best_kind,
    learn,
    sampled,
)
from seda.recommender.tuning import DataSize
from seda.registry.models import BLEND, ModelVersion, get_active, promote, register
from seda.registry.rankers import data_size, learned_version
from seda.vectorstore.aligned import AlignedVectors
from seda_assets.assets.registry import observations
from seda_assets.automation.freshness import NIGHTLY
from seda_assets.automation.partitions import LISTS
from seda_assets.regional_files import StoredValues
from seda_assets.resources import Platform

PLAN = LearningPlan()
PAIRS_PER_RUN = 120_000_000
"""At 10⁸ a run of the `large` world took 259 s on two cores."""
SEED = 20_260_903
DESIGN_VERSION = "linear-design-1"


@dg.asset(
    deps=[
        *(dg.AssetKey(["seda", f"{kind}s_vectors"]) for kind in ("artist", "playlist", "room")),
        *(dg.AssetKey(["seda", name]) for name in ("impression_pages", "fact_events")),
    ],
    group_name="ranking",
    owners=["team:recommendations"],
    kinds={"python", "lightgbm"},
    tags={"seda/layer": "ranking"},
    freshness_policy=NIGHTLY,
    pool=LISTS,
    code_version="1",
)
def learned_rankers(
    context: dg.AssetExecutionContext,
    platform: dg.ResourceParam[Platform],
    interaction_matrices: StoredValues,
) -> dg.Output[dict]:
    """Per region and type: the models' hyper-parameters, a tuned blend and LambdaRank trees,
    learned on inner holdouts of interactions, and trees that learned from impressions too.
    Registered as challengers; what evaluation tells from the simpler ones becomes active."""
    results: dict[str, FromSnapshot] = {}
    metadata: dict[str, int | float | str] = {}
    budget = _Budget(PAIRS_PER_RUN)
    # The same order every night: who waited is next once what was before them is learned.
    for database in sorted(platform.databases, key=lambda each: each.region != Region.GLOBAL):
        region, started = str(database.region), perf_counter()
        snapshot: RegionSnapshot = interaction_matrices[region]
        before = _stored(platform, database.region)
        # A canary and its control stay what they are while they are compared.
        held = _canary_runs(database)
        learned = {
            kind: before[kind]
            if held and kind in before
            else _current(database, platform, snapshot, kind, before.get(kind), budget)
            for kind in ("artist", "playlist", "room")
        }
        if any(learned[kind] is not before.get(kind) for kind in learned):
            metadata[f"best_{region}"] = _register(database, learned, platform.now())
        for kind, each in learned.items():
            for measure, judged in (("ndcg", each.judged), ("live_ndcg", each.judged_live)):
                for ranker, gains in judged.items():
                    metadata[f"{kind}_{measure}_{ranker}_{region}"] = float(np.mean(gains))
        results[region] = FromSnapshot(snapshot.version, learned)
        metadata[f"seconds_{region}"] = perf_counter() - started
    for event in observations(platform):  # ranking reads in this run what was promoted in it
        context.log_event(event)
    return dg.Output(results, metadata=metadata | {"left_for_the_next_run": budget.refused})


def _canary_runs(database: RegionalDatabase) -> bool:
    with database.transaction() as connection:
        return serving_experiment(connection) is not None


class _Budget:
    """What one run may spend on learning, in pairs of a person and an item; the first always may.

    A night stays short however much has drifted: what is left over is learned the next night, and
    until then the ranker of before stands.
    """

    def __init__(self, pairs: int) -> None:
        self.left, self.refused, self._untouched = pairs, 0, True

    def takes(self, pairs: int) -> bool:
        if not self._untouched and pairs > self.left:
            self.refused += 1
            return False
        self.left, self._untouched = self.left - pairs, False
        return True


def _current(
    database: RegionalDatabase, platform: Platform, snapshot: RegionSnapshot, kind: str,
    before: LearnedRankers | None, budget: _Budget,
) -> LearnedRankers:  # fmt: skip
    entity = snapshot.entities[kind]
    answers = count_answers(database, kind)
    # Too few to learn from are no drift either, or every first answer would set off learning.
    counted = answers if answers >= PLAN.fewest_answers else 0
    size = DataSize(len(snapshot.user_ids), len(entity.ids), int(entity.plays.nnz), counted)
    before = before or LearnedRankers.nothing()
    if not before.size.drifted(size, PLAN.tolerance):
        return before
    sample = sampled(listening_of(snapshot, entity), PLAN.people_for(size.items), SEED)
    if sample.plays.nnz < PLAN.fewest_hits:
        return learn(sample, size=size, plan=PLAN, seed=SEED)
    if not budget.takes(sample.plays.shape[0] * size.items):
        return before
    vectors = AlignedVectors(database, kind, entity).in_space(
        platform.active_space(database.region)
    )
    return learn(
        sample, size=size, plan=PLAN, seed=SEED, item_vectors=vectors,
        logged=load_logged(database, kind),
    )  # fmt: skip


def _stored(platform: Platform, region: Region) -> dict[str, LearnedRankers]:
    """What the last run learned; nothing where there was none or another version wrote it."""
    storage, key = platform.storages[region], f"learned_rankers/{region}"
    if not storage.exists(key):
        return {}
    try:
        return dict(unpack(storage.get_arrays(key)).value)
    except UnknownPackedTypeError:
        return {}


def _register(database: RegionalDatabase, learned: dict[str, LearnedRankers], now: datetime) -> str:
    """Registers the challengers and promotes the best; without a verdict nothing changes.

    A version that was pinned by hand stays until the next time that something is learned.
    """
    inner = {name: each.judged for name, each in learned.items() if each.judged}
    live = {name: each.judged_live for name, each in learned.items() if each.judged_live}
    data = data_size(learned)
    with database.transaction() as connection:
        if not inner:
            return get_active(connection, BLEND).version
        for kind in (TUNED, LAMBDARANK, FEEDBACK):
            metrics = {"inner_ndcg_at_10": _means(inner, kind), "live_ndcg": _means(live, kind)}
            config = _weights(learned) if kind == TUNED else {}
            if any(metrics.values()):
                register(connection, ModelVersion(BLEND, learned_version(kind, data), kind, config),
                         metrics)  # fmt: skip
        best = best_kind([*inner.values()], seed=SEED, judged_live=[*live.values()])
        version = DESIGN_VERSION if best == DESIGN else learned_version(best, data)
        promote(connection, BLEND, version, now=now)
        return version


def _means(judged: dict[str, Mapping[str, DoubleArray]], kind: str) -> dict[str, float]:
    return {name: float(np.mean(each[kind])) for name, each in judged.items() if kind in each}


def _weights(learned: dict[str, LearnedRankers]) -> dict[str, dict[str, float]]:
    """The tuned blend's weights by type, for whoever reads the registry."""
    return {name: asdict(each.tuned) for name, each in learned.items() if each.tuned is not None}
