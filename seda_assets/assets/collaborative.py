"""Fitted models: one fit per region and type; nothing of a person leaves its region."""

from time import perf_counter

import dagster as dg

from seda.activity.snapshot import FromSnapshot, RegionSnapshot
from seda.experiments.listening import listening_of
from seda.recommender.fitting import train_signals
from seda_assets.automation.freshness import NIGHTLY
from seda_assets.automation.partitions import LISTS
from seda_assets.regional_files import StoredValues

SEED = 20_260_901


@dg.asset(
    group_name="collaborative",
    owners=["team:recommendations"],
    kinds={"python", "numpy"},
    tags={"seda/layer": "factors"},
    freshness_policy=NIGHTLY,
    pool=LISTS,
    code_version="2",
)
def collaborative_factors(
    interaction_matrices: StoredValues, learned_rankers: StoredValues
) -> dg.Output[dict]:
    """ALS factors, EASE and neighbour weights and the tag space, per region and type.

    Genres join the fits as rows of their own, which places rarely played items; friends join EASE.
    Hyper-parameters are those that the region's own data chose."""
    fitted: dict[str, FromSnapshot] = {}
    metadata: dict[str, int | float] = {}
    for region in interaction_matrices:
        snapshot: RegionSnapshot = interaction_matrices[region]
        # Sizes, weights and hyper-parameters have no positions: a newer snapshot may use them.
        learned = learned_rankers[region].value
        models = {}
        for kind, entity in snapshot.entities.items():
            started = perf_counter()
            listening = listening_of(snapshot, entity)
            models[kind] = train_signals(listening, config=learned[kind].config, seed=SEED)
            metadata[f"{kind}_fit_seconds_{region}"] = perf_counter() - started
            metadata[f"{kind}_ease_weights_{region}"] = models[kind].ease.weights.nnz
            known = int((models[kind].als.users != 0).any(axis=1).sum())
            metadata[f"{kind}_users_with_factors_{region}"] = known
        fitted[region] = FromSnapshot(snapshot.version, models)
    return dg.Output(fitted, metadata=metadata)
