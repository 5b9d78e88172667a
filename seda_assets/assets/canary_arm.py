"""The arm of a running canary, as ranking and publishing meet it."""

import logging
from dataclasses import dataclass

import numpy as np

from seda.database.identifiers import Ids, uuids_of
from seda.database.regions import RegionalDatabase
from seda.experiments.assignment import in_canary
from seda.experiments.canaries import Experiment, serving_experiment
from seda.experiments.flags import CANARIES, Flags
from seda.recommender.learned import LearnedRankers
from seda.recommender.ranking import Ranker
from seda.registry.models import get_version
from seda.registry.rankers import MissingRankerError, exact_ranker
from seda_assets.resources import Platform

CANARY_LISTS = "canary"
"""Under this name ranked lists of a shard hold the canary's, beside the control's by type."""


@dataclass(frozen=True)
class CanaryArm:
    """A running experiment and its version's rankers by entity type."""

    experiment: Experiment
    rankers: dict[str, Ranker]

    @property
    def version(self) -> str:
        """Of the model."""
        return self.experiment.canary_version

    def named(self) -> dict[str, object]:
        """What the canary's ranked lists say of themselves."""
        return {"experiment": self.experiment.name, "model_version": self.version}

    def people(self, ids: Ids) -> np.ndarray:
        """Bool `(people,)`: who of them is in the canary."""
        return in_canary(self.experiment.name, uuids_of(ids), self.experiment.share)


def canary_arm(
    platform: Platform, database: RegionalDatabase, learned: dict[str, LearnedRankers],
    log: logging.Logger,
) -> CanaryArm | None:  # fmt: skip
    """The region's canary, if one runs, its flag is on and its rankers are there.

    Without it the canary's people get the control's lists: a canary never costs anybody a list.
    """
    with database.transaction() as connection:
        found = serving_experiment(connection)
        version = get_version(connection, found.model, found.canary_version) if found else None
    if found is None or version is None or not found.running:
        return None
    if not Flags(platform.settings).on(CANARIES, region=str(database.region)):
        log.warning(f"The flag {CANARIES.name} is off in {database.region}: no canary is ranked.")
        return None
    try:
        return CanaryArm(found, {kind: exact_ranker(version, learned, kind) for kind in learned})
    except MissingRankerError as problem:
        log.warning(f"No canary is ranked in {database.region}: {problem}")
        return None
