"""User shards as partitions, how many of them a run covers, and the pool of runs that write lists.

Keys are contiguous, so that one run covers them all on one machine; on a cluster a setting makes a
run of each.
"""

import dagster as dg

from seda.database.regions import shards_of
from seda.settings import Settings, load_settings

LISTS = "lists"
"""Pool of everything between the interaction matrices and the published lists: positions in one are
positions in the other, so two runs must not write them at once. Its limit is in dagster.yaml."""

user_shards = dg.StaticPartitionsDefinition([shard.key for shard in shards_of(load_settings())])


def backfill_policy(settings: Settings) -> dg.BackfillPolicy:
    """One run over all asked shards, or a run for each (`SEDA_RUNS`)."""
    if settings.runs == "one":
        return dg.BackfillPolicy.single_run()
    return dg.BackfillPolicy.multi_run(max_partitions_per_run=1)


shard_runs = backfill_policy(load_settings())
