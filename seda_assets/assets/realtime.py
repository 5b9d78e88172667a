"""The durable lane of social events: lists ranked again for the friends of who came or went, as an
overlay on the generation that is served."""

from collections.abc import Callable

import dagster as dg
from pydantic import Field

from seda.activity.social_events import next_range
from seda.database.regions import RegionalDatabase
from seda.experiments.canaries import serving_experiment
from seda.publishing.overlays import CONSUMER, update_overlays
from seda.recommender.learned import LearnedRankers
from seda.recommender.ranking import Ranker, linear_weights
from seda.registry.models import BLEND, ModelVersion, get_version
from seda.registry.rankers import MissingRankerError, exact_ranker
from seda_assets.assets.column_schemas import columns
from seda_assets.automation.freshness import NIGHTLY
from seda_assets.regional_files import StoredValues
from seda_assets.resources import Platform

_COLUMNS = columns(
    user_id="uuid",
    entity_type="text: room",
    generation="bigint: the base; the overlay counts while it is served",
    source="text: real-time",
    model_version="text",
    ranks="smallint[]: where each published place stands now, from 1",
    scores="real[]: in published order",
    presence="real[]: the friends who are there, in [0, 1)",
    signals="real[]: the same, calibrated: what the ranker reads",
    lifts="real[]: the places that each item owes to them",
    computed_at="timestamptz",
    expires_at="timestamptz",
)


class EventsToRead(dg.Config):
    """Up to which transaction each region's social events are read; no entry: all there are."""

    until: dict[str, int] = Field(default={})


@dg.asset(
    key_prefix=["seda"],
    deps=[
        *(dg.AssetKey(["seda", name])
          for name in ("recommendations", "mv_user_top_candidates", "social_events",
                       "room_presence", "friends")),
    ],
    group_name="read_models",
    owners=["team:recommendations"],
    kinds={"python", "postgres"},
    tags={"seda/layer": "read_models", "seda/lane": "durable"},
    metadata={
        "dagster/column_schema": _COLUMNS,
        "dagster/relation_identifier": "seda.realtime_rankings",
    },
    freshness_policy=NIGHTLY,
    code_version="1",
)  # fmt: skip
def realtime_rankings(
    context: dg.AssetExecutionContext,
    config: EventsToRead,
    platform: dg.ResourceParam[Platform],
    learned_rankers: StoredValues,
) -> dg.MaterializeResult:
    """Rooms ranked again for the friends of people who came or went, from the signals stored with
    their published rows: an overlay that names its base generation. After a flip of that generation
    it is made again on the new one."""
    totals = dict.fromkeys(("events", "people", "lists", "written", "dropped", "left_alone"), 0)
    seconds = 0.0
    for database in platform.databases:
        region, now = database.region, platform.now()
        with database.transaction() as connection:
            ahead = next_range(connection, CONSUMER)
        until = config.until.get(str(region), ahead.until)
        report = update_overlays(
            database, until=until, now=now,
            rankers=_rankers(database, learned_rankers[region].value),
            shards=sum(shard.region is region for shard in platform.shards.values()),
        )  # fmt: skip
        found = {
            "events": ahead.events, "people": report.people, "lists": report.lists,
            "written": report.written, "dropped": report.dropped,
            "left_alone": report.of_another_ranker,
        }  # fmt: skip
        for name, count in found.items():
            totals[name] += count
        seconds += report.seconds
        context.log.info(f"{region}: {found}")
    return dg.MaterializeResult(
        metadata={
            **totals,
            "dagster/row_count": totals["written"],
            "seconds": seconds,
            "ms_per_person": 1000 * seconds / totals["people"] if totals["people"] else 0.0,
        }
    )


def _rankers(
    database: RegionalDatabase, learned: dict[str, LearnedRankers]
) -> Callable[[str], Ranker | None]:
    def ranker_of(version: str) -> Ranker | None:
        with database.transaction() as connection:
            model = get_version(connection, BLEND, version)
            canary = serving_experiment(connection)
        if model is None:
            return None
        if canary and canary.running and canary.canary_version == version:
            return _canary_ranker(model, learned)
        return learned["room"].ranker(model.kind, linear_weights(model.kind, model.config))

    return ranker_of


def _canary_ranker(model: ModelVersion, learned: dict[str, LearnedRankers]) -> Ranker | None:
    try:
        return exact_ranker(model, learned, "room")
    except MissingRankerError:
        return None  # its lists are left as they are
