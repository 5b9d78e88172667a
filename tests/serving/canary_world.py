"""A canary that runs in a world: a version, an experiment, and somebody in either arm."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count

from seda.database.regions import RegionalDatabase
from seda.experiments.assignment import CANARY, CONTROL, arm_of
from seda.experiments.canaries import Experiment, start_canary
from seda.registry.models import BLEND, ModelVersion, register
from tests.serving.serving_world import Entity, Listener, World

CONTROL_VERSION, CANARY_VERSION = "linear-design-1", "canary-1"
SHARE = 0.1


@dataclass(frozen=True)
class Canary:
    """`ada` is in the canary, `ben` is not."""

    world: World
    experiment: Experiment
    ada: Listener
    ben: Listener

    @property
    def database(self) -> RegionalDatabase:
        return self.world.databases[self.ada.region]

    def publish(self, listener: Listener, *lists: list[Entity]) -> int:
        """Lists of the canary's version."""
        return self.world.publish(
            listener, *lists, model_version=CANARY_VERSION, experiment=self.experiment.name
        )


def name_for(ada: Listener, ben: Listener) -> str:
    """An experiment that draws the one and not the other."""
    names = (f"experiment-{number}" for number in count())
    return next(
        name
        for name in names
        if (arm_of(name, ada.id, SHARE), arm_of(name, ben.id, SHARE)) == (CANARY, CONTROL)
    )


@contextmanager
def running_canary(world: World, *lists: list[Entity]) -> Iterator[Canary]:
    """Ada and Ben have the control's lists; then the canary begins."""
    ada, ben = world.person("Ada"), world.person("Ben")
    for listener in (ada, ben):
        world.publish(listener, *lists, model_version=CONTROL_VERSION)
    database = world.databases[ada.region]
    try:
        with database.transaction() as connection:
            register(connection, ModelVersion(BLEND, CANARY_VERSION, "linear", {"content": 1}), {})
            experiment = start_canary(
                connection, CANARY_VERSION, share=SHARE, actor="test", now=datetime.now(UTC),
                name=name_for(ada, ben),
            )  # fmt: skip
        yield Canary(world, experiment, ada, ben)
    finally:
        world.clear()
        world.sql("delete from seda.model_registry where version <> %s", CONTROL_VERSION)
        world.sql("update seda.model_registry set stage = 'active'")
