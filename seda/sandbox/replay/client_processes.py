"""The clients' processes, seen from the replay's own."""

import asyncio
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import fields
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Final, TypeVar
from uuid import uuid4

import numpy as np

from seda.errors import SedaError
from seda.progress import Progress
from seda.sandbox.replay.figures import Heard, Messages, Toasts, Told
from seda.sandbox.replay.listeners import Seat, run_listeners

_QUIET_SECONDS: Final = 1.0
"""After everything was heard: long enough for what should not come."""
_ANSWER_SECONDS: Final = 120.0
_GOODBYE_SECONDS: Final = 10.0

Columns = TypeVar("Columns", Messages, Told, Toasts)


class ReplayFailedError(SedaError):
    """The replay could not be carried through."""


class ClientProcesses:
    """All clients, spread over processes; `end` must be called."""

    def __init__(
        self,
        url: str,
        tokens: Sequence[str],
        rooms: Sequence[str],
        processes: int,
        progress: Progress,
    ) -> None:
        self._progress, self._count = progress, len(tokens)
        self._pipes: list[Connection] = []
        self._processes: list[BaseProcess] = []
        context = multiprocessing.get_context("spawn")
        seats = [Seat(n, token, f"replay-{uuid4()}") for n, token in enumerate(tokens)]
        for number in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=run_listeners,
                args=(url, seats[number::processes], list(rooms), theirs),
                daemon=True,
            )
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        self._over = False
        self._changes = [0] * processes

    def pids(self) -> list[int]:
        """Of the processes."""
        return [process.pid for process in self._processes if process.pid]

    def wait_ready(self) -> None:
        """Until everybody is connected."""
        self._progress.start("Clients connect", self._count)
        for pipe in self._pipes:
            ready = False
            while not ready:
                kind, value = self._receive(pipe)
                ready = kind == "ready"
                if kind == "connected":
                    self._progress.advance(value)

    async def drain(self, expected: int, patience: float) -> None:
        """Until so many changes were heard and no more, or none came for `patience` seconds."""
        before, quiet_since = -1, time.monotonic()
        while True:
            await asyncio.sleep(0.1)
            heard, now = self._count_changes(), time.monotonic()
            if heard != before:
                before, quiet_since = heard, now
            if now - quiet_since > (_QUIET_SECONDS if heard >= expected else patience):
                return

    def heard(self) -> Heard:
        """What every process heard."""
        for pipe in self._pipes:
            pipe.send("stop")
        parts: list[Heard] = []
        for pipe in self._pipes:
            kind, value = self._receive(pipe)
            while kind != "heard":
                kind, value = self._receive(pipe)
            parts.append(value)
        self._over = True
        return merge(parts)

    def end(self) -> None:
        """No process stays."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(_GOODBYE_SECONDS if self._over else 0)
            if process.is_alive():
                process.terminate()
                process.join(_GOODBYE_SECONDS)

    def _count_changes(self) -> int:
        for number, pipe in enumerate(self._pipes):
            while pipe.poll():
                kind, value = self._receive(pipe)
                if kind == "changes":
                    self._changes[number] = value
        return sum(self._changes)

    def _receive(self, pipe: Connection) -> tuple[str, Any]:
        try:
            if not pipe.poll(_ANSWER_SECONDS):
                raise ReplayFailedError("The clients do not answer any more.")
            kind, value = pipe.recv()
        except (EOFError, OSError) as problem:
            raise ReplayFailedError("A process of the clients was lost.") from problem
        if kind == "failed":
            raise ReplayFailedError(value)
        return kind, value


def merge(parts: Sequence[Heard]) -> Heard:
    """One from several, in no order."""

    return Heard(
        _joined(Messages, [part.messages for part in parts]),
        _joined(Told, [part.told for part in parts]),
        _joined(Toasts, [part.toasts for part in parts]),
        sum(part.elsewhere for part in parts),
        sum(part.connected for part in parts),
        sum(part.lost_connections for part in parts),
        np.concatenate([part.late for part in parts]),
    )


def _joined(kind: type[Columns], parts: Sequence[Columns]) -> Columns:
    columns = {
        column.name: np.concatenate([getattr(part, column.name) for part in parts])
        for column in fields(kind)
    }
    return kind(**columns)
