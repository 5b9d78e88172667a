"""User shards as partitions: contiguous keys, so that one run covers them all on one machine."""

import dagster as dg

from seda.database.regions import shards_of
from seda.settings import load_settings

user_shards = dg.StaticPartitionsDefinition([shard.key for shard in shards_of(load_settings())])

# One run for all asked shards. A cluster overrides it in its deployment with multi_run.
one_run = dg.BackfillPolicy.single_run()
