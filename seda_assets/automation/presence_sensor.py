"""The sensor of the durable lane: friends came or went, so lists are ranked again.

How far events were read stands in each region's database and moves in the transaction that writes
what they led to: whatever is killed when, no event is lost and none counts twice. The sensor asks
for one run at a time, and what happens meanwhile waits for the next one, together.
"""

import dagster as dg

from seda.activity.social_events import EventRange, lock_cursor, move_cursor, next_range
from seda.database.regions import Region, RegionalDatabase
from seda.publishing.overlays import CONSUMER, people_concerned
from seda_assets.automation.jobs import realtime
from seda_assets.resources import Platform

RANGE_TAG = "seda/events"
"""Tag of a run: the ranges of transactions that it was asked to read."""
FAILED_AT_ONCE = 3
"""Runs for the same events that are asked for as fast as the sensor ticks; then one a minute."""

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

_LISTED = "select exists (select from seda.generation_pointer)"


def waiting_events(platform: Platform) -> dict[Region, EventRange]:
    """By region, the events that concern somebody and were not read, or a range without events
    where overlays are to be made again. Events that concern nobody are read by looking at them."""
    waiting = {}
    for database in platform.databases:
        shards = sum(shard.region is database.region for shard in platform.shards.values())
        with database.transaction() as connection:
            # Before the first night there is no list, nor a ranker for one: events wait for it.
            if connection.execute(_LISTED).fetchone() != (True,):
                continue
            ahead = next_range(connection, CONSUMER)
            if people_concerned(connection, ahead, shards=shards, now=platform.now()):
                waiting[database.region] = ahead
        if ahead.events and database.region not in waiting:
            _pass_over(database, ahead, platform)
    return waiting


def _pass_over(database: RegionalDatabase, ahead: EventRange, platform: Platform) -> None:
    now = platform.now()
    with database.transaction() as connection:
        if lock_cursor(connection, CONSUMER, now) == ahead.since:
            move_cursor(connection, CONSUMER, ahead.until, now)


@dg.sensor(
    job=realtime,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def presence_events(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.SensorResult | dg.SkipReason:
    """Friends came or went since the last run: rank again the lists of whom it concerns."""
    if _count(context, dg.RunsFilter(job_name=realtime.name, statuses=_UNFINISHED)):
        return dg.SkipReason("A re-rank is under way; what happens meanwhile comes after it.")
    waiting = waiting_events(platform)
    if not waiting:
        return dg.SkipReason("Nobody came or went whose friends have a list to rank again.")
    ranges = ",".join(f"{region}:{each.since}-{each.until}" for region, each in waiting.items())
    tried = _count(context, dg.RunsFilter(tags={RANGE_TAG: ranges}))
    attempt = str(tried) if tried < FAILED_AT_ONCE else f"{platform.now():%Y%m%dT%H%M}"
    until = {str(region): each.until for region, each in waiting.items()}
    request = dg.RunRequest(
        run_key=f"{ranges}/{attempt}",
        run_config={"ops": {"seda__realtime_rankings": {"config": {"until": until}}}},
        tags={RANGE_TAG: ranges},
    )
    return dg.SensorResult(run_requests=[request], cursor=ranges)


def _count(context: dg.SensorEvaluationContext, runs: dg.RunsFilter) -> int:
    return context.instance.get_runs_count(runs)
