"""The supervisor: starts services as children, watches them, and leaves none behind.

One supervisor per folder, by a lock that dies with it. Every child is its own session, so that
Ctrl-C in the terminal reaches the supervisor alone, which then stops the children in order.
"""

import fcntl
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from seda.cli import leftovers
from seda.cli.readiness import Probe
from seda.cli.signals import die_with_parent, ignore_further_signals, stop_signals
from seda.errors import SedaError

_POLL_SECONDS = 0.15
_GRACE_SECONDS = 12.0
_LOG_LINES = 15

Held = TypeVar("Held")


class AlreadyRunningError(SedaError):
    """Another supervisor holds the folder."""


class ServiceFailedError(SedaError):
    """A child ended by itself, or was not ready in time."""


@dataclass(frozen=True)
class Service:
    """One child: `name` names its log and record, `title` names it to people."""

    name: str
    title: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    ready: Probe | None = None
    ready_within_seconds: float = 60.0


@dataclass(eq=False)
class Child:
    """A started service."""

    service: Service
    process: subprocess.Popen[bytes]
    record: leftovers.Record | None
    log: Path | None


class Supervisor:
    """A context manager over a home's `run/` (or a folder in it) and `logs/`.

    Leaving it stops every child. Entering raises `AlreadyRunningError` while another process
    supervises the same folder.
    """

    def __init__(
        self, home: Path, folder: str = "", *, grace_seconds: float = _GRACE_SECONDS
    ) -> None:
        self.home = home
        self.run_folder = home / "run" / folder
        self.log_folder = home / "logs"
        self.children: list[Child] = []
        self._folder = folder
        self._grace_seconds = grace_seconds
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        self._exits.enter_context(lock(self.home, self._folder))
        self.log_folder.mkdir(exist_ok=True)
        self._exits.enter_context(stop_signals())
        leftovers.end_leftovers(self.run_folder)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        ignore_further_signals()
        with self._exits:
            self.stop()

    def keep_open(self, context: AbstractContextManager[Held]) -> Held:
        """Enter what the children need; it is left after the last of them has stopped."""
        return self._exits.enter_context(context)

    def start(self, service: Service, *, visible: bool = False) -> Child:
        """Start a child; its output goes to its log, or to ours when `visible`."""
        log = None if visible else self._fresh_log(service.name)
        mark = uuid.uuid4().hex
        with ExitStack() as files:
            output = files.enter_context(log.open("wb")) if log else None
            process = subprocess.Popen(
                service.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                env={**service.environment, leftovers.MARK: mark},
                start_new_session=True,
                preexec_fn=die_with_parent if sys.platform == "linux" else None,
            )
        record = leftovers.Record.of(service.name, process.pid, mark)
        if record:
            record.write(self.run_folder)
        child = Child(service, process, record, log)
        self.children.append(child)
        return child

    def run(self, service: Service) -> int:
        """Start a child that ends by itself, its output visible; returns its exit status."""
        child = self.start(service, visible=True)
        while child.process.poll() is None:
            time.sleep(_POLL_SECONDS)
        self._forget(child)
        return child.process.returncode

    def wait_until_ready(self, *waited: Child) -> None:
        """Return when every one of these answers.

        Raises:
            ServiceFailedError: a child ended, or one of these took too long.
        """
        waiting = [child for child in waited if child.service.ready]
        started = time.monotonic()
        while waiting:
            self.check()
            waiting = [child for child in waiting if not _is_ready(child)]
            for child in waiting:
                limit = child.service.ready_within_seconds
                if time.monotonic() - started > limit:
                    raise ServiceFailedError(
                        f"{child.service.title} was not ready within {limit:.0f} s: read "
                        f"{child.log}, and try again when this machine is less busy."
                    )
            time.sleep(_POLL_SECONDS)

    def watch(self) -> None:
        """Return never: `StopRequested` or a child's end leaves it.

        Raises:
            ServiceFailedError: a child ended.
        """
        while True:
            self.check()
            time.sleep(_POLL_SECONDS)

    def check(self) -> None:
        """Raise if a child has ended.

        Raises:
            ServiceFailedError: with the last lines that it wrote.
        """
        for child in self.children:
            status = child.process.poll()
            if status is not None:
                raise ServiceFailedError(
                    f"{child.service.title} stopped ({describe_status(status)}); the end of "
                    f"{child.log} says:\n{_last_lines(child.log)}"
                )

    def stop(self) -> None:
        """SIGTERM every child, newest first; SIGKILL all that is left of them after the grace."""
        for child in reversed(self.children):
            child.process.terminate()
        deadline = time.monotonic() + self._grace_seconds
        for child in reversed(self.children):
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
        for child in list(self.children):
            self._forget(child)

    def _forget(self, child: Child) -> None:
        if child.record:
            leftovers.kill(leftovers.family_of(child.record))
            leftovers.forget(self.run_folder, child.service.name)
        child.process.wait()
        self.children.remove(child)

    def _fresh_log(self, name: str) -> Path:
        log = self.log_folder / f"{name}.log"
        if log.exists():
            log.replace(self.log_folder / f"{name}.previous.log")
        return log


def lock(home: Path, folder: str = "") -> TextIOWrapper:
    """The lock of a home's `run/`, or of a folder in it, until the file is closed or we die.

    Raises:
        AlreadyRunningError: another process holds it.
    """
    run_folder = home / "run" / folder
    run_folder.mkdir(parents=True, exist_ok=True)
    file = (run_folder / "lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as problem:
        file.seek(0)
        holder = file.read().strip()
        file.close()
        raise AlreadyRunningError(
            f"Another {f'seda {folder}'.strip()} (process {holder or 'unknown'}) is at work in "
            f"{home}: stop it there with Ctrl-C, or set SEDA_HOME to another folder."
        ) from problem
    file.seek(0)
    file.truncate()
    file.write(str(os.getpid()))
    file.flush()
    return file


def describe_status(status: int) -> str:
    """`subprocess`'s return code in words."""
    return f"killed by signal {-status}" if status < 0 else f"exit status {status}"


def _is_ready(child: Child) -> bool:
    return child.service.ready is None or child.service.ready()


def _last_lines(log: Path | None) -> str:
    if log is None:
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 16_384))
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-_LOG_LINES:])
