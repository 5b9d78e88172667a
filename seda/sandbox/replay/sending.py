"""Sends moves when they are due, in batches that grow when the database is slow."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

import numpy as np

from seda.progress import Progress
from seda.sandbox.replay.crowd import Crowd
from seda.sandbox.replay.figures import Sent
from seda.sandbox.replay.intake import Intake, Move
from seda.sandbox.replay.schedule import Schedule

LARGEST_BATCH: Final = 500
_TICK_SECONDS: Final = 0.01
_REPEATED_AFTER: Final = 0.2


class Sending:
    """One schedule on its way into one intake."""

    def __init__(
        self, schedule: Schedule, crowd: Crowd, intake: Intake, progress: Progress
    ) -> None:
        self._schedule, self._crowd = schedule, crowd
        self._intake, self._progress = intake, progress
        self._again: list[tuple[float, Move]] = []
        self._due: list[float] = []
        self._done: list[float] = []
        self._fresh = self._sent = self._repeats = 0
        self.started = 0.0

    async def run(self) -> None:
        """Everything, at its time or as soon after it as the intake can."""
        schedule, place = self._schedule, 0
        self.started = time.time()
        while place < len(schedule.at) or self._again:
            now = time.time() - self.started
            await self._repeat(now)
            end = min(int(np.searchsorted(schedule.at, now, side="right")), place + LARGEST_BATCH)
            end = self._without_anybody_twice(place, end)
            if end > place:
                await self._send(place, end, now)
                place = end
            else:
                await asyncio.sleep(_TICK_SECONDS)

    def _without_anybody_twice(self, place: int, end: int) -> int:
        seen: set[int] = set()
        for index, actor in enumerate(self._schedule.actors[place:end].tolist()):
            if actor in seen:
                return place + index
            seen.add(actor)
        return end

    async def _send(self, place: int, end: int, now: float) -> None:
        moves = [self._move(index) for index in range(place, end)]
        due = self.started + float(self._schedule.at[place])
        self._fresh += await self._intake.send(moves)
        self._sent += len(moves)
        self._due.append(due)
        self._done.append(time.time())
        self._again += [
            (now + _REPEATED_AFTER, move)
            for move, repeated in zip(moves, self._schedule.repeated[place:end], strict=True)
            if repeated
        ]
        self._progress.advance(len(moves))

    async def _repeat(self, now: float) -> None:
        due = [move for at, move in self._again if at <= now]
        if due:
            self._again = [(at, move) for at, move in self._again if at > now]
            self._repeats += len(due)
            self._fresh += await self._intake.send(due)

    def _move(self, index: int) -> Move:
        schedule, crowd = self._schedule, self._crowd
        return Move(
            uuid4(),
            crowd.people[schedule.actors[index]],
            crowd.rooms[schedule.rooms[index]],
            bool(schedule.joins[index]),
            datetime.now(UTC),
        )

    def sent(self) -> Sent:
        """What went in; a repeated move that was taken as a new one counts as refused."""
        return Sent(
            moves=self._sent,
            repeats=self._repeats,
            refused=abs(self._sent - self._fresh),
            started=self.started,
            due=np.array(self._due),
            done=np.array(self._done),
        )
