"""Nightly and hourly cadences; they ship running, on UTC."""

import dagster as dg

from seda_assets.automation.jobs import (
    all_shards,
    evaluation,
    hourly,
    housekeeping,
    kpis,
    nightly,
    observe_sources,
    token_upkeep,
)


@dg.schedule(
    job=nightly,
    cron_schedule="15 2 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def nightly_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Everything, in one run over all user shards."""
    return dg.RunRequest(run_key=_key("nightly", context), tags=all_shards())


@dg.schedule(
    job=evaluation,
    cron_schedule="15 4 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def evaluation_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """What the night's lists are worth."""
    return dg.RunRequest(run_key=_key("evaluation", context))


@dg.schedule(
    job=kpis,
    cron_schedule="30 1 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def kpis_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """What yesterday came to, and the days before, of which apps told since."""
    return dg.RunRequest(run_key=_key("kpis", context))


@dg.schedule(
    job=housekeeping,
    cron_schedule="15 5 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def housekeeping_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """What was kept for long enough, when the night's runs have read it."""
    return dg.RunRequest(run_key=_key("housekeeping", context))


@dg.schedule(
    job=hourly,
    cron_schedule="45 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def hourly_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Popularity, summaries and taste vectors."""
    return dg.RunRequest(run_key=_key("hourly", context), tags=all_shards())


@dg.schedule(
    job=observe_sources,
    cron_schedule="40 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def observe_sources_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """What the sources hold, just before the hourly run reads them."""
    return dg.RunRequest(run_key=_key("observe", context))


@dg.schedule(
    job=token_upkeep,
    cron_schedule="5 1 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def token_upkeep_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """The keys of people's tokens, before they are too old."""
    return dg.RunRequest(run_key=_key("tokens", context))


def _key(cadence: str, context: dg.ScheduleEvaluationContext) -> str:
    # The scheduled moment, so that a daemon that restarts does not run it twice.
    return f"{cadence}-{context.scheduled_execution_time:%Y%m%dT%H%M}"


schedules = [
    nightly_schedule,
    evaluation_schedule,
    hourly_schedule,
    observe_sources_schedule,
    kpis_schedule,
    housekeeping_schedule,
    token_upkeep_schedule,
]
