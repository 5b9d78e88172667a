"""When each job runs by the clock, on UTC; every schedule ships running."""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from seda_assets.automation.jobs import (
    all_shards,
    evaluation,
    hourly,
    housekeeping,
    kpis,
    nightly,
    observe_sources,
    privacy_upkeep,
    token_upkeep,
)


def _at(
    cron: str, job: UnresolvedAssetJobDefinition, says: str, *, over_shards: bool = False
) -> dg.ScheduleDefinition:
    """A schedule named after its job; `over_shards`: one run over all user shards."""

    @dg.schedule(
        name=f"{job.name}_schedule",
        description=says,
        job=job,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        # The scheduled moment, so that a daemon that restarts does not run it twice.
        key = f"{job.name}-{context.scheduled_execution_time:%Y%m%dT%H%M}"
        return dg.RunRequest(run_key=key, tags=all_shards() if over_shards else {})

    return schedule


def nightly_at(cron: str) -> dg.ScheduleDefinition:
    """The schedule of the whole graph at these moments; drills ask for it more often."""
    return _at(cron, nightly, "Everything, in one run over all user shards.", over_shards=True)


schedules = [
    _at("40 * * * *", observe_sources, "What the sources hold, before the hourly run reads them."),
    _at("45 * * * *", hourly, "Popularity, summaries and taste vectors.", over_shards=True),
    _at("5 1 * * *", token_upkeep, "The keys of people's tokens, before they are too old."),
    _at("30 1 * * *", kpis, "What yesterday came to, and the days of which apps told since."),
    nightly_at("15 2 * * *"),
    _at("15 4 * * *", evaluation, "What the night's lists are worth."),
    _at("35 4 * * *", privacy_upkeep, "What is promised, looked at; before tables are rewritten."),
    _at("15 5 * * *", housekeeping, "What was kept for long enough, when the night has read it."),
]
