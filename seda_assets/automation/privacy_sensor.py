"""The sensor of people's requests: an export or a deletion is due, so it is worked on.

A deletion is in effect before this ticks; here the rest of it goes. Which jobs are due stands in
the database, under leases, so a run that is asked for twice finds nothing the second time.
"""

import dagster as dg

from seda.privacy.jobs import waiting_jobs
from seda.privacy.rewriting import standing
from seda_assets.automation.jobs import privacy
from seda_assets.resources import Platform

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dg.sensor(
    job=privacy,
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def privacy_jobs(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.RunRequest | dg.SkipReason:
    """Somebody asked for their data, or for it to be deleted: do it."""
    if context.instance.get_runs_count(dg.RunsFilter(job_name=privacy.name, statuses=_UNFINISHED)):
        return dg.SkipReason("A run is under way; what is asked meanwhile comes after it.")
    waiting, locked = 0, []
    for database in platform.databases:
        with database.transaction() as connection:
            waiting += waiting_jobs(connection, platform.now())
            tables = standing(connection)
            if tables.retry_is_due(platform.now()):
                locked.append(f"{database.region}-{tables.until}")
    if not waiting and locked:
        return dg.RunRequest(run_key=f"rewrite-{'-'.join(locked)}")
    if not waiting:
        return dg.SkipReason("No export or deletion is due, and no small table stayed locked.")
    return dg.RunRequest(run_key=f"privacy-{platform.now():%Y%m%dT%H%M%S}")
