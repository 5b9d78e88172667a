"""What a supervisor writes down about its children, and how the next one ends those left behind.

A process is ended only if it is the recorded one (same id, moment of creation and command line) or
carries in its environment the random mark that only the recorded one's family has.
"""

import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

MARK = "SEDA_SUPERVISED_BY"
"""Environment variable of every child and of what the child starts."""
_CLOCK_TOLERANCE_SECONDS = 2.0
_KILL_SECONDS = 5.0


@dataclass(frozen=True)
class Record:
    """One child as it was started; `mark` is the value of `MARK` in its environment."""

    name: str
    pid: int
    created: float
    command: list[str]
    mark: str

    @classmethod
    def of(cls, name: str, pid: int, mark: str) -> "Record | None":
        """The record of a running process; None when it has gone already."""
        try:
            process = psutil.Process(pid)
            return cls(name, pid, process.create_time(), process.cmdline(), mark)
        except psutil.Error:
            return None

    def process(self) -> psutil.Process | None:
        """The process, if it is still this very one."""
        try:
            process = psutil.Process(self.pid)
            same = (
                abs(process.create_time() - self.created) < _CLOCK_TOLERANCE_SECONDS
                and process.cmdline() == self.command
                and process.status() != psutil.STATUS_ZOMBIE
            )
        except psutil.Error:
            return None
        return process if same else None

    def write(self, folder: Path) -> None:
        """Write it down, whole or not at all."""
        unfinished = folder / f".{self.name}.json"
        unfinished.write_text(json.dumps(asdict(self)))
        unfinished.replace(folder / f"{self.name}.json")


def recorded(folder: Path) -> list[Record]:
    """Every record in the folder; one that cannot be read says nothing."""
    records = []
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            records.append(Record(**json.loads(path.read_text())))
        except (ValueError, TypeError):
            path.unlink(missing_ok=True)
    return records


def forget(folder: Path, name: str) -> None:
    """Remove the record of that name."""
    (folder / f"{name}.json").unlink(missing_ok=True)


def end_leftovers(folder: Path) -> list[str]:
    """End what a killed supervisor left behind; returns the names of what still ran."""
    ended = []
    for record in recorded(folder):
        family = family_of(record)
        if family:
            ended.append(record.name)
            kill(family)
        forget(folder, record.name)
    return ended


def family_of(record: Record) -> list[psutil.Process]:
    """The recorded process and what it started, as far as any of them is still there."""
    leader = record.process()
    family = {leader} if leader is not None else set()
    return list(family.union(p for p in psutil.process_iter() if _is_marked(p, record)))


def _is_marked(process: psutil.Process, record: Record) -> bool:
    """Whether the process inherited the record's mark; its environment may be none of ours."""
    try:
        return (
            process.pid != os.getpid()
            and process.create_time() >= record.created - _CLOCK_TOLERANCE_SECONDS
            and process.environ().get(MARK) == record.mark
        )
    except (psutil.Error, OSError):
        return False


def kill(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL all of them, and wait until they are gone."""
    doomed = list(processes)
    for process in doomed:
        try:
            process.kill()
        except psutil.Error:
            continue
    deadline = time.monotonic() + _KILL_SECONDS
    for process in doomed:
        # Of one that is being reaped just now newer kernels say ENOENT, which psutil lets through.
        with suppress(psutil.Error, OSError):
            process.wait(max(0.0, deadline - time.monotonic()))
