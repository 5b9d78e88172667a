"""The sensor of people's requests: an export or a deletion is due, so it is worked on.

A deletion is in effect before this ticks; here the rest of it goes. Which jobs are due stands in
the database, under leases, so a run that is asked for twice finds nothing the second time.
"""

import dagster as dg

from seda.privacy.jobs import waiting_jobs
from seda.privacy.rewriting import standing
from seda_assets.automation.jobs import privacy, privacy_upkeep
from seda_assets.automation.under_way import under_way
from seda_assets.resources import Platform


@dg.sensor(
    job=privacy,
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def privacy_jobs(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.RunRequest | dg.SkipReason:
    """Somebody asked for their data, or for it to be deleted, or an export's seven days are over:
    do it."""
    if under_way(context, privacy.name) or under_way(context, privacy_upkeep.name):
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
        return dg.SkipReason(
            "No export or deletion is due, no export is over, and no small table stayed locked."
        )
    return dg.RunRequest(run_key=f"privacy-{platform.now():%Y%m%dT%H%M%S}")
