"""Starts runs as Dagster's default launcher does, and can say whether a run's process is alive.

Without that, a run whose process was killed together with whoever watched it stays "in progress"
for ever, and holds its place in the queue and its pool. Dagster's monitor asks every few seconds.
"""

import psutil
from dagster import DagsterEventType, DagsterInstance, DagsterRun, DefaultRunLauncher
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus

_STARTED_LATE_SECONDS = 5.0
"""A process that began so much later than it says is another one with the same number."""


class LocalRunLauncher(DefaultRunLauncher):
    """For a code server on the machine on which the daemon runs."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Failed where the process that the run said it started is gone."""
        started = started_process(self._instance, run.run_id)
        if started is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "its process has not said its number")
        pid, at = started
        if is_alive(pid, at):
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"process {pid}")
        return CheckRunHealthResult(WorkerStatus.FAILED, f"its process {pid} is gone")


def started_process(instance: DagsterInstance, run_id: str) -> tuple[int, float] | None:
    """The process of a run and when it said so (seconds since the epoch); None before it did."""
    for entry in instance.all_logs(run_id, of_type=DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        told = event.engine_event_data.metadata.get("pid") if event else None
        if told is not None:
            return int(str(told.value)), entry.timestamp
    return None


def is_alive(pid: int, seen_at: float) -> bool:
    """Whether the process of that number which was there at that time still runs."""
    try:
        process = psutil.Process(pid)
        if process.create_time() > seen_at + _STARTED_LATE_SECONDS:
            return False
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
