"""The night as it runs in production: its schedule asks for it, Dagster's daemon takes it from the
queue, a code server starts it, and all of them may be killed.

The instance is that of the repository's `dagster.yaml`. Here the schedule asks every few minutes,
and each night is of another day, so a mix of two would show.
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import dagster as dg
import psutil
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.storage.tags import RUN_KEY_TAG

from benchmarks.drills.kills import Service
from benchmarks.drills.nights import NOW
from seda.cli.services import LOCATION, child_environment
from seda.database.regions import Databases
from seda.settings import REPOSITORY
from seda_assets.automation.jobs import all_shards, nightly
from seda_assets.automation.partitions import LISTS
from seda_assets.automation.schedules import nightly_at
from seda_assets.definitions import build_definitions
from seda_assets.resources import Platform
from seda_assets.run_launcher import is_alive, started_process

EVERY = "SEDA_DRILL_EVERY"
"""Minutes between two nights, for the code server."""
DAYS = 9
"""Nights are of the first days of the world, where nothing is embedded again for its age."""
_PATIENCE_SECONDS = 600.0
_OUTAGE_SECONDS = 60.0
_ENDED = (
    dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED,
)  # fmt: skip
_CODE = JobPythonOrigin(
    "nightly",
    RepositoryPythonOrigin(sys.executable, ModuleCodePointer(__name__, "definitions", None)),
)

Found = TypeVar("Found")


def key_of(moment: datetime) -> str:
    """The run key of the night that is scheduled for a moment."""
    return f"nightly-{moment:%Y%m%dT%H%M}"


def moment_of(run_key: str) -> datetime:
    """The moment for which a night was scheduled."""
    return datetime.strptime(run_key, "nightly-%Y%m%dT%H%M").replace(tzinfo=UTC)


def day_of(run_key: str, every: int) -> int:
    """The day that a night is of, from 1."""
    return int(moment_of(run_key).timestamp() // (60 * every)) % DAYS + 1


@dg.resource
def platform_of_the_run(context: dg.InitResourceContext) -> Platform:
    """The platform on the day that the run's key stands for."""
    assert context.run is not None
    day = day_of(context.run.tags[RUN_KEY_TAG], int(os.environ[EVERY]) or 1)
    return Platform(now=NOW + timedelta(days=day))


def definitions() -> dg.Definitions:
    """The whole graph, and the night's schedule alone, where there is to be one."""
    made, every = build_definitions(Platform()), int(os.environ[EVERY])
    return dg.Definitions(
        assets=made.assets,
        asset_checks=made.asset_checks,
        jobs=[nightly],
        schedules=[nightly_at(f"*/{every} * * * *")] if every else [],
        resources={**(made.resources or {}), "platform": platform_of_the_run},
    )


@dataclass(frozen=True)
class Asked:
    """What became of the nights that were asked for."""

    keys: Counter[str]
    """Run key → runs under it."""
    statuses: Counter[str]
    every: int

    @property
    def twice(self) -> list[str]:
        """Nights of which there are two runs."""
        return sorted(key for key, runs in self.keys.items() if runs > 1)

    @property
    def lost(self) -> list[str]:
        """Nights between the first one and the last one that nobody asked for."""
        first, *_, last = sorted(self.keys)
        at, missing = moment_of(first), []
        while (key := key_of(at)) < last:
            missing += [] if key in self.keys else [key]
            at += timedelta(minutes=self.every)
        return missing


class QueuedNights:
    """Dagster over a drill's databases: a daemon, a code server, and the runs that they start."""

    def __init__(self, databases: Databases, folder: Path, every: int = 1) -> None:
        """`every`: minutes between two nights, of which an hour has a whole number; 0: nobody asks
        but `ask`."""
        self.every = every
        environment = {**child_environment(databases.settings, databases), EVERY: str(every)}
        os.environ.update(environment)  # dagster.yaml reads it where an instance is opened
        self.instance = dg.DagsterInstance.from_config(str(REPOSITORY))
        self.instance.event_log_storage.set_concurrency_slots(LISTS, 1)  # as `seda up` does
        socket, workspace = folder / "code.sock", folder / "workspace.yaml"
        workspace.write_text(
            f"load_from:\n  - grpc_server: {{socket: '{socket}', location_name: {LOCATION}}}\n"
        )
        code = (
            f"dagster api grpc --socket {socket} --location-name {LOCATION} "
            f"--module-name {__name__} --attribute definitions --working-directory {REPOSITORY}"
        )
        daemon = f"dagster._daemon run -w {workspace}"
        self.services = {
            "the code server": Service(code, environment, folder / "code.log"),
            "the daemon": Service(daemon, environment, folder / "daemon.log"),
        }

    def revive(self) -> None:
        """Start again what ended, as a supervisor does."""
        for service in self.services.values():
            service.revive()

    def ask(self, key: str) -> None:
        """Queue a night at once, as the schedule would at the minute that its key names."""
        job = definitions().resolve_job_def(nightly.name)
        location = RegisteredCodeLocationOrigin(LOCATION)
        repository = RemoteRepositoryOrigin(location, "__repository__")
        run = self.instance.create_run_for_job(
            job, tags={**job.tags, **all_shards(), RUN_KEY_TAG: key},
            remote_job_origin=repository.get_job_origin(job.name), job_code_origin=_CODE,
        )  # fmt: skip
        self.instance.report_dagster_event(dg.DagsterEvent.job_enqueue(run), run_id=run.run_id)

    def until_at_work(self, key: str) -> None:
        """Wait until the process of a night's run is there and has begun.

        Raises:
            TimeoutError: it does not.
        """
        self._until(
            f"the night {key} has not begun",
            lambda: (
                (run := self.run_of(key)) is not None
                and run.status is dg.DagsterRunStatus.STARTED
                and bool(self._processes())
            ),
        )

    def run_of(self, key: str) -> dg.DagsterRun | None:
        """The run of a night; None before the daemon has asked for it."""
        found = self._asking(
            lambda: self.instance.get_runs(dg.RunsFilter(tags={RUN_KEY_TAG: key}), limit=1)
        )
        return found[0] if found else None

    def ended(self, key: str) -> dg.DagsterRun:
        """The run of a night when it has ended, however it did.

        Raises:
            TimeoutError: it does not.
        """
        self._until(
            f"the night {key} has not ended",
            lambda: (run := self.run_of(key)) is not None and run.status in _ENDED,
        )
        run = self.run_of(key)
        assert run is not None
        return run

    def seconds_until_end(self, key: str) -> float:
        """From the moment for which a night was scheduled to its end."""
        record = self.instance.get_run_records(dg.RunsFilter(tags={RUN_KEY_TAG: key}), limit=1)[0]
        assert record.end_time is not None
        return float(record.end_time - moment_of(key).timestamp())

    def first_night(self) -> str:
        """The run key of the first night that the schedule asks for, once its daemon is there.

        Raises:
            TimeoutError: it asks for none.
        """
        self._until("no night has been asked for", lambda: bool(self.asked().keys))
        return min(self.asked().keys)

    def next_night(self, margin_seconds: float) -> datetime:
        """The next moment of the schedule that is at least so far away."""
        far = datetime.now(UTC) + timedelta(seconds=margin_seconds)
        step = 60 * self.every
        return datetime.fromtimestamp((far.timestamp() // step + 1) * step, UTC)

    def kill_run(self) -> bool:
        """Kill the process of whatever run is at work; whether there was one."""
        found = False
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
                found = True
        return found

    def asked(self) -> Asked:
        """Every night that was asked for."""
        runs = self._asking(self.instance.get_runs)
        return Asked(
            Counter(run.tags.get(RUN_KEY_TAG, "without a key") for run in runs),
            Counter(run.status.value for run in runs),
            self.every,
        )

    def close(self) -> None:
        """The daemon first, so that nothing new begins; what is at work may end."""
        self.services["the daemon"].stop()
        psutil.wait_procs(self._processes(), timeout=_PATIENCE_SECONDS)
        self.services["the code server"].stop()

    def _until(self, otherwise: str, there: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not there():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{otherwise} after {_PATIENCE_SECONDS:.0f} s")
            self.revive()
            time.sleep(0.2)

    def _processes(self) -> list[psutil.Process]:
        runs = self._asking(
            lambda: self.instance.get_runs(
                dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
            )
        )
        found = []
        for run in runs:
            started = self._asking(lambda run=run: started_process(self.instance, run.run_id))
            if started is not None and is_alive(*started):
                found.append(psutil.Process(started[0]))
        return found

    def _asking(self, question: Callable[[], Found]) -> Found:
        """An answer of the instance, whose database may have been killed just now."""
        deadline = time.monotonic() + _OUTAGE_SECONDS
        while True:
            try:
                return question()
            except Exception:  # of which kind depends on where the connection was cut
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
