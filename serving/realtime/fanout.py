"""Tells the connected friends of an actor that a room's presence changed, and nobody else.

What the database announces is collected and looked at once per tick. Each viewer hears of what
concerns them at once, then at most once per window (`seda.social.presence.Windows`); a message says
how a room is when it is sent, so a later one never carries older news.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final
from uuid import UUID

import asyncpg

from seda.database.regions import Region
from seda.social.presence import Windows
from serving.pools import Pools
from serving.problems import DatabaseUnavailableError
from serving.realtime.announcements import (
    CIRCLES,
    FEED_UPDATED,
    PRESENCE,
    PresenceChange,
    feed_update,
    presence_changes,
)
from serving.realtime.batches import MOST
from serving.realtime.circles import CIRCLES as LOAD_CIRCLES
from serving.realtime.circles import PRESENT, ROOM_NAMES, Board, Circles
from serving.realtime.emitter import Emitter, encoded
from serving.realtime.numbers import Numbers

TICK_SECONDS: Final = 0.02
SLICE: Final = 100
"""Messages between two looks at what else the process has to do."""
REMEMBERED: Final = 10_000
LOAD_SECONDS: Final = 10.0
AGAIN_SECONDS: Final = 0.2

_logger = logging.getLogger("serving")

Came = Callable[[str, str, Collection[str]], None]


class Fanout:
    """One region's viewers, and the worker that tells them.

    `came(actor, room, viewers)` hears of every coming that somebody may be told of;
    `lingers(until)` of every leave that is not one yet.
    """

    def __init__(
        self,
        region: Region,
        pools: Pools,
        emitter: Emitter,
        window: timedelta,
        clock: Callable[[], datetime],
        numbers: Numbers,
        *,
        came: Came,
        lingers: Callable[[datetime], None],
    ) -> None:
        self.region = region
        self.circles = Circles()
        self.board = Board()
        self._pools = pools
        self._emitter = emitter
        self._window = window
        self._windows: Windows[str] = Windows(window)
        self._clock = clock
        self._numbers = numbers
        self._came = came
        self._lingers = lingers
        self._heard: deque[tuple[str, str]] = deque()
        self._changes: deque[PresenceChange] = deque()
        self._known: dict[int, None] = {}
        self._stale: set[str] = set()
        self._names: dict[str, tuple[str, str]] = {}
        self._wake = asyncio.Event()
        self._compare = True
        self._loading = asyncio.Lock()
        self._worker: asyncio.Task[None] | None = None
        self.ready = asyncio.Event()

    def start(self) -> None:
        """Start the worker."""
        self._worker = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop the worker; what still waits is not sent."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    @property
    def waiting(self) -> int:
        """Viewers that are to be told something."""
        return len(self._windows)

    def hear(self, channel: str, payload: str) -> None:
        """An announcement; the same one may come by two ways."""
        if channel != CIRCLES:
            key = hash(payload)
            if key in self._known:
                return
            self._known[key] = None
            if len(self._known) > REMEMBERED:
                del self._known[next(iter(self._known))]
        self._heard.append((channel, payload))
        self._wake.set()

    async def resumed(self) -> None:
        """Announcements may have been missed: compare with the database before anything else."""
        self._compare = True
        self._wake.set()

    async def admit(self, viewers: Collection[str]) -> None:
        """Load the circles of people who connect, in one statement."""
        await asyncio.wait_for(self.ready.wait(), LOAD_SECONDS)
        wanted = [viewer for viewer in set(viewers) if viewer not in self.circles]
        if wanted:
            self.circles.load(wanted, ())  # from now on a change of theirs is not overheard
            try:
                await self._load(wanted)
            except BaseException:
                for viewer in wanted:
                    self.circles.forget(viewer)
                raise

    def dismiss(self, viewer: str) -> None:
        """The viewer's last connection is gone."""
        self.circles.forget(viewer)
        self._windows.forget(viewer)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._something_to_do()
            began = loop.time()
            try:
                await self._tick()
            except (DatabaseUnavailableError, asyncpg.PostgresError, TimeoutError) as problem:
                # Nothing is told by circles that may be old; what was announced waits.
                _logger.warning("%s is not fanned out: %s", self.region, type(problem).__name__)
                await asyncio.sleep(AGAIN_SECONDS)
            except Exception:
                _logger.exception("a fan-out failed")
                self._compare = True
                await asyncio.sleep(AGAIN_SECONDS)
            spent = loop.time() - began
            self._numbers.tick.observe(spent)
            await asyncio.sleep(max(TICK_SECONDS - spent, 0))

    async def _something_to_do(self) -> None:
        if self._heard or self._changes or self._compare or self._stale:
            return
        self._wake.clear()
        due = self._windows.next_due()
        seconds = None if due is None else (due - self._clock()).total_seconds()
        if seconds is not None and seconds <= 0:
            return
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return

    async def _tick(self) -> None:
        if self._compare:
            await self._compare_with_database()
        self._changes.extend(self._drain())
        if self._stale:  # before the changes: who hides by now is told of to nobody
            await self._load_stale()
        while self._changes:
            self._apply(self._changes.popleft())
        await self._tell(self._windows.due(self._clock()))

    async def _load_stale(self) -> None:
        stale, self._stale = self._stale, set()
        try:
            while stale:
                some = set(islice(stale, MOST))
                await self._load([each for each in some if each in self.circles], look=True)
                stale -= some
        finally:
            self._stale |= stale

    def _drain(self) -> list[PresenceChange]:
        changes: list[PresenceChange] = []
        while self._heard:
            channel, payload = self._heard.popleft()
            if channel == PRESENCE:
                changes.extend(presence_changes(payload))
            elif channel == CIRCLES:
                self._stale |= self.circles.stale(payload)
            elif channel == FEED_UPDATED:
                self._pass_on(payload)
        self._numbers.heard.inc(len(changes))
        return changes

    def _apply(self, change: PresenceChange) -> None:
        actor, room = change.actor_id, change.room_id
        if change.kind == "~":
            self._lingers(change.at)
            return
        if change.kind == "+":
            if not self.board.came(actor, room, change.at):
                return
        elif not self.board.left(actor, room):
            return
        watchers = self.circles.watchers(actor)
        for viewer in watchers:
            self._windows.note(viewer, room, change.at)
        if watchers and change.kind == "+":
            self._came(actor, room, watchers)

    async def _compare_with_database(self) -> None:
        # What is announced from here on waits in the queue; what the snapshot has already is known
        # to the board by then, and is not told twice.
        now = self._clock()
        self._compare = False
        try:
            async with self._pools.connection(self.region) as connection:
                rows = await connection.fetch(PRESENT, now, timeout=LOAD_SECONDS)
        except BaseException:
            self._compare = True
            raise
        for _, actor, room, at in self.board.replace(rows):
            if not self.ready.is_set():
                continue
            for viewer in self.circles.watchers(actor):
                self._windows.note(viewer, room, at or now)
        if self.ready.is_set():
            self._stale |= set(self.circles.viewers())
        self.ready.set()

    async def _load(self, viewers: list[str], *, look: bool = False) -> None:
        async with self._loading:
            async with self._pools.connection(self.region) as connection:
                rows = await connection.fetch(LOAD_CIRCLES, viewers, timeout=LOAD_SECONDS)
            before = {viewer: self.circles.of(viewer).visible for viewer in viewers}
            self.circles.load([each for each in viewers if each in self.circles], rows)
        if look:
            self._look_anew(before)

    def _look_anew(self, before: dict[str, Any]) -> None:
        """Whose circle changed sees the rooms of those whom they may see, or see no longer."""
        now = self._clock()
        for viewer, then in before.items():
            visible = self.circles.of(viewer).visible
            for friend in {*then, *visible}:
                if then.get(friend) != visible.get(friend):
                    for room in self.board.rooms_of(friend):
                        self._windows.note(viewer, room, now, 0)

    async def _tell(self, due: list[str]) -> None:
        now = self._clock()
        viewers = [viewer for viewer in due if self._emitter.connected(viewer)]
        if not viewers:
            return
        await self._name_rooms({str(room) for room in self._windows.rooms(viewers)})
        shed_messages = changes = 0
        for place, viewer in enumerate(viewers, start=1):
            if not self._windows.waits(viewer):  # gone since the last slice
                continue
            pending = self._windows.take(viewer, now)
            # Behind by a window: faces are left out first, changes never.
            lag = self._clock() - pending.since
            shed = lag > 2 * self._window
            rooms = [self._room(viewer, str(room), n, shed) for room, n in pending.rooms.items()]
            since = pending.since.isoformat(timespec="microseconds")
            await self._emitter.emit(viewer, encoded("presence", {"rooms": rooms, "since": since}))
            self._numbers.lag.observe(lag.total_seconds())
            changes += sum(pending.rooms.values())
            shed_messages += shed
            if place % SLICE == 0:
                await asyncio.sleep(0)
        self._numbers.changes.inc(changes)
        self._numbers.shed.inc(shed_messages)

    def _room(self, viewer: str, room: str, changes: int, shed: bool) -> dict[str, Any]:
        room_id, name = self._names[room]
        block = self.board.block(self.circles.of(viewer), room, name)
        return {
            "room_id": room_id,
            "text": block.text,
            "count": block.count,
            "avatars": () if shed else block.avatars,
            "overflow": block.count if shed else block.overflow,
            "changes": changes,
        }

    async def _name_rooms(self, rooms: set[str]) -> None:
        unknown = [room for room in rooms if room not in self._names]
        if unknown:
            async with self._pools.connection(self.region) as connection:
                rows = await connection.fetch(ROOM_NAMES, unknown)
            known = {row["id"].hex: row["name"] for row in rows}  # a room may be gone by now
            self._names.update({room: (str(UUID(room)), known.get(room, "")) for room in unknown})

    def _pass_on(self, payload: str) -> None:
        update = feed_update(payload)
        if update is None:
            return
        packet = encoded("feed_updated", update.document)
        for user_id in update.users:
            if self._emitter.connected(user_id.hex):
                self._numbers.feeds.inc()
                self._emitter.emit_soon(user_id.hex, packet)
