"""A scripted day of the data team: who is there, which versions, and what its parts share."""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.drills.dagster_ui import Part
from benchmarks.drills.feed_readers import Group, Person, Terms
from benchmarks.drills.protocol import Protocol
from benchmarks.drills.running_platform import RunningPlatform, seda
from seda.database.regions import Region, shards_of

EXPERIMENT, SHARE = "data-day", 0.1
BACKFILLED, CANARY = "day-1", "day-2"
WEIGHTS = {
    BACKFILLED: {"content": 0.3, "collaborative": 0.3, "social": 0.2, "popularity": 0.2},
    CANARY: {"content": 0.1, "collaborative": 0.2, "social": 0.1, "popularity": 0.6},
}
CTR = {"control": 0.10, "canary": 0.06}
LISTS = ("ranked_recommendations", "seda/recommendations", "seda/mv_user_top_candidates")
ARMS: Sequence[Group] = [(region, arm) for region in Region for arm in ("control", "canary")]
READERS = 2
"""Of each region and arm."""
COUNTRIES = ("US", "CA", "BR", "JP", "GB", "AU", "IN", "MX", "ZA", "PT")


@dataclass
class Day:
    """What the parts of the day know of each other."""

    platform: RunningPlatform
    protocol: Protocol
    seed: int
    terms: Terms = field(default_factory=Terms)
    people: list[Person] = field(default_factory=list)
    before: dict[Part, frozenset[str]] = field(default_factory=dict)
    """What was stale after the night."""
    nightly: frozenset[str] = frozenset()
    """Assets that the night makes."""
    broken: list[str] = field(default_factory=list)
    """Runs that were meant to fail."""

    def shards(self, region: Region) -> list[str]:
        of = shards_of(self.platform.databases.settings)
        return [shard.key for shard in of if shard.region is region]

    @property
    def all_shards(self) -> list[str]:
        return [shard.key for shard in shards_of(self.platform.databases.settings)]

    def served(self, region: Region) -> set[str]:
        """The versions that the UI says a region's shards were published with."""
        ui = self.platform.ui
        return {
            ui.metadata("seda/recommendations", [shard])["model_version"]
            for shard in self.shards(region)
        }

    def groups(self, region: Region) -> list[Group]:
        return [group for group in ARMS if group[0] is region]

    def changed(self, region: Region, before: str, after: str, since: float) -> None:
        """A region's people get the other version, from some moment since then until now."""
        for group in self.groups(region):
            self.terms.begin(group, after, since)
            if before != after:
                self.terms.end(group, before, time.monotonic())

    def newly_stale(self) -> dict[Part, frozenset[str]]:
        """What is stale now and was not after the night, or for another reason."""
        now = self.platform.ui.stale(self.all_shards)
        return {part: why for part, why in now.items() if why != self.before.get(part)}


def register(version: str, region: Region, folder: Path) -> None:
    """`seda model register` with the weights of that version."""
    weights = folder / f"{version}.json"
    weights.write_text(json.dumps(WEIGHTS[version]))
    seda("model", "register", version, "--weights", str(weights), "--region", region)


def named(parts: Iterable[Part]) -> str:
    """Assets and their partitions in one line."""
    return ", ".join(sorted(f"{asset} {shard or ''}".strip() for asset, shard in parts))


def readers_of(people: Sequence[Person]) -> list[Person]:
    """Some people of each region and arm."""
    return [
        person
        for group in ARMS
        for person in [each for each in people if each.group == group][:READERS]
    ]
