"""What a run says of each shard reads well: counts add up, and floats have few places."""

import dagster as dg

from seda.database.regions import shards_of
from seda.settings import Settings
from seda_assets.assets.shard_facts import ShardFacts
from seda_assets.automation.partitions import user_shards


def test_counts_add_up_and_floats_are_short() -> None:
    shard = shards_of(Settings(_env_file=None))[0]

    @dg.asset(partitions_def=user_shards)
    def counted(context: dg.AssetExecutionContext) -> None:
        facts = ShardFacts()
        facts.add(shard, {"artist_rows": 2}, rows=2)
        facts.add(shard, {"artist_rows": 3}, rows=3)
        facts.note(shard, model_version="v-1", artist_share_content=0.5595903992652893)
        facts.record(context)

    result = dg.materialize([counted], partition_key=shard.key)
    (event,) = result.asset_materializations_for_node("counted")
    told = {name: each.value for name, each in event.metadata.items()}
    seconds = told.pop("run_seconds")
    assert told == {
        "dagster/row_count": 5, "artist_rows": 5, "model_version": "v-1",
        "artist_share_content": 0.5596,
    }  # fmt: skip
    assert seconds == round(seconds, 4)
