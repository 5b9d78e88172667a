"""Collaborative factors: one fit per region and type; nothing of a person leaves its region."""

from time import perf_counter

import dagster as dg
from scipy import sparse

from seda.activity.snapshot import FromSnapshot, RegionSnapshot
from seda.recommender.models.als import AlsConfig, train_als
from seda_assets.automation.freshness import NIGHTLY
from seda_assets.regional_files import StoredValues

CONFIG = AlsConfig()
SEED = 20_260_901


@dg.asset(
    group_name="collaborative",
    owners=["team:recommendations"],
    kinds={"python", "numpy"},
    tags={"seda/layer": "factors"},
    freshness_policy=NIGHTLY,
    code_version="1",
)
def collaborative_factors(interaction_matrices: StoredValues) -> dg.Output[dict]:
    """Factors of people and items by alternating least squares (implicit), per region and type.

    Genres join the artist fit as rows of their own, which places rarely played artists."""
    fitted: dict[str, FromSnapshot] = {}
    metadata: dict[str, int | float] = {"factors": CONFIG.factors * CONFIG.fits}
    for region in interaction_matrices:
        snapshot: RegionSnapshot = interaction_matrices[region]
        factors = {}
        for kind, entity in snapshot.entities.items():
            started = perf_counter()
            side = side_rows(snapshot) if kind == "artist" else None
            factors[kind] = train_als(entity.plays, config=CONFIG, seed=SEED, side_rows=side)
            metadata[f"{kind}_fit_seconds_{region}"] = perf_counter() - started
            known = int((factors[kind].users != 0).any(axis=1).sum())
            metadata[f"{kind}_users_with_factors_{region}"] = known
        fitted[region] = FromSnapshot(snapshot.version, factors)
    return dg.Output(fitted, metadata=metadata)


def side_rows(snapshot: RegionSnapshot) -> sparse.csr_matrix:
    """What else is a row over the artists: genres."""
    return snapshot.entities["artist"].genres.T.tocsr()
