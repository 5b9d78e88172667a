"""What a run over many shards has to say of each: one set of counts per partition, not per run."""

from collections import defaultdict
from time import perf_counter

import dagster as dg

from seda.database.regions import Shard

ROWS = "dagster/row_count"


class ShardFacts:
    """Counts by shard; `record` puts them on the partitions' materialisations."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, float | str]] = defaultdict(dict)
        self._started = perf_counter()

    def add(self, shard: Shard, amounts: dict[str, int], *, rows: int = 0) -> None:
        """Sum up amounts, and rows of the shard."""
        counts = self._counts[shard.key]
        for name, amount in {**amounts, ROWS: rows}.items():
            counts[name] = int(counts.get(name, 0)) + amount

    def note(self, shard: Shard, **facts: float | str) -> None:
        """Set facts that do not add up."""
        self._counts[shard.key].update(facts)

    def record(self, context: dg.AssetExecutionContext, key: dg.AssetKey | None = None) -> None:
        """Attach every shard's facts to its partition, and the run's seconds to all of them.

        The UI prints a float with all its places: four are enough to read.
        """
        for partition in context.partition_keys:
            facts = {ROWS: 0, **self._counts.get(partition, {})}
            facts["run_seconds"] = perf_counter() - self._started
            facts = {name: round(fact, 4) if isinstance(fact, float) else fact
                     for name, fact in facts.items()}  # fmt: skip
            context.add_asset_metadata(facts, asset_key=key, partition_key=partition)
