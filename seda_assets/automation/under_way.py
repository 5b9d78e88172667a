"""Whether a job has a run that has not ended: a sensor then waits, and asks for all the rest."""

import dagster as dg

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def under_way(context: dg.SensorEvaluationContext, job: str) -> bool:
    """Whether a run of the job waits or works."""
    return bool(context.instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=UNFINISHED)))
