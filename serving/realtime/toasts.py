"""Toasts for the connected: friends came, and somebody may be worth telling (SOC-3).

What is plainly no moment, or too soon after a toast of this process, is seen in what the fan-out
knows; everything else is asked of the database as it is now, claimed there, and emitted once the
claim is committed.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

import asyncpg

from seda.database.regions import Region
from seda.notifications.arrivals import Arrival, load_candidates
from seda.notifications.log import RECORD, Logged, record_values
from seda.notifications.toast_slots import Announcement, Session, announce
from seda.social.toasts import APART, DropReason, moment_among
from serving.pools import Pools
from serving.problems import DatabaseUnavailableError
from serving.realtime.emitter import Emitter, encoded
from serving.realtime.fanout import Fanout
from serving.realtime.gateway import Gateway
from serving.realtime.numbers import Numbers

MOST: Final = 60
"""Pairs of viewer and room that are looked at together."""
MOST_WAITING: Final = 50_000

_logger = logging.getLogger("serving")

Pair = tuple[str, str]


class Toasts:
    """One region's comings, and the worker that decides what is said of them."""

    def __init__(
        self,
        fanout: Fanout,
        gateway: Gateway,
        pools: Pools,
        emitter: Emitter,
        window: timedelta,
        clock: Callable[[], datetime],
        numbers: Numbers,
    ) -> None:
        self._fanout = fanout
        self._gateway = gateway
        self._pools = pools
        self._emitter = emitter
        self._seconds = window.total_seconds()
        self._clock = clock
        self._numbers = numbers
        self._came: dict[Pair, set[str]] = {}
        self._told_at: dict[str, datetime] = {}
        self._refused: dict[str, set[str]] = {}
        self._wake = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    @property
    def region(self) -> Region:
        """Whose people these are."""
        return self._fanout.region

    @property
    def waiting(self) -> int:
        """Pairs of viewer and room that wait for a look."""
        return len(self._came)

    def start(self) -> None:
        """Start the worker."""
        self._worker = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop the worker; what is not decided is not said."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    def came(self, actor: str, room: str, viewers: Collection[str]) -> None:
        """Somebody came whom these viewers may hear of."""
        if len(self._came) >= MOST_WAITING:  # toasts are shed long before presence is
            self._numbers.toasts.labels("shed").inc(len(viewers))
            return
        for viewer in viewers:
            self._came.setdefault((viewer, room), set()).add(actor)
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._look()
            except (DatabaseUnavailableError, asyncpg.PostgresError, TimeoutError) as problem:
                _logger.warning("%s has no toasts: %s", self.region, type(problem).__name__)
            except Exception:
                _logger.exception("toasts failed")
            await asyncio.sleep(self._seconds)
            if self._came:
                self._wake.set()

    async def _look(self) -> None:
        now = self._clock()
        pairs: dict[Pair, set[str]] = {}
        soon: list[Pair] = []
        addressed: set[str] = set()
        for pair in list(self._came):
            viewer = pair[0]
            if viewer in addressed:  # one at a time: the next one may be too soon by then
                continue
            came = self._came.pop(pair)
            told_at = self._told_at.get(viewer)
            too_soon = told_at is not None and now - told_at < APART
            if too_soon and pair[1] in self._refused.get(viewer, ()):
                continue
            if not self._is_moment(pair, came):
                continue
            if too_soon:
                soon.append(pair)
                continue
            pairs[pair] = came
            addressed.add(viewer)
            if len(pairs) == MOST:
                break
        await self._refuse(soon, now)
        if not pairs:
            return
        try:
            await self._announce(pairs, now)
        except (DatabaseUnavailableError, asyncpg.PostgresError):
            # Claims hold even if their commit was not heard of: another look passes no cap.
            for pair, came in pairs.items():
                self._came.setdefault(pair, set()).update(came)
            raise

    def _is_moment(self, pair: Pair, came: set[str]) -> bool:
        viewer, room = pair
        there = self._fanout.board.visible(self._fanout.circles.of(viewer), room)
        return moment_among(there, came) is not None

    async def _refuse(self, pairs: Sequence[Pair], now: datetime) -> None:
        """Log what comes too soon, once for each toast and room."""
        reason = str(DropReason.TOO_SOON)
        entries = []
        for viewer, room in pairs:
            refused = self._refused.setdefault(viewer, set())
            if room not in refused:
                refused.add(room)
                person, place = UUID(viewer), UUID(room)
                entries += [
                    Logged(person, "toast", "suppressed", reason, "room", place, session, None, now)
                    for session in self._gateway.sessions(viewer)
                ]
        self._numbers.toasts.labels(reason).inc(len(pairs))
        if entries:
            async with self._pools.connection(self.region) as connection:
                await connection.execute(RECORD, *record_values(entries))

    async def _announce(self, pairs: dict[Pair, set[str]], now: datetime) -> None:
        arrivals = {(actor, room) for (_, room), came in pairs.items() for actor in came}
        async with self._pools.transaction(self.region) as connection:
            found = await load_candidates(
                connection,
                [Arrival(UUID(actor), UUID(room)) for actor, room in arrivals],
                [UUID(viewer) for viewer, _ in pairs],
            )
            addressed = [
                (Session(viewer, session), candidate)
                for viewer, candidate in found
                if (viewer.hex, candidate.room_id.hex) in pairs
                for session in self._gateway.sessions(viewer.hex)
            ]
            announcements = await announce(connection, addressed, now)
        self._numbers.toasts.labels("not_sent").inc(len(addressed) - len(announcements))
        for announcement in announcements:
            await self._emit(announcement)

    async def _emit(self, announcement: Announcement) -> None:
        now = self._clock()
        session, toast = announcement.session, announcement.toast
        viewer = session.user_id.hex
        self._told_at[viewer] = now
        self._refused.pop(viewer, None)
        block = toast.block()
        document = {
            "id": str(uuid4()),
            "room_id": str(toast.candidate.room_id),
            "moment": str(toast.moment),
            "text": block.text,
            "count": block.count,
            "avatars": block.avatars,
            "overflow": block.overflow,
            "at": now.isoformat(timespec="microseconds"),
        }
        packet = encoded("toast", document)
        for sid in self._gateway.session_sids(viewer, session.session_id):
            await self._emitter.send(sid, packet)
        self._numbers.toasts.labels("sent").inc()

    def forget_old(self) -> None:
        """Let go of what no longer matters."""
        edge = self._clock() - APART
        for viewer in [each for each, at in self._told_at.items() if at <= edge]:
            del self._told_at[viewer]
            self._refused.pop(viewer, None)
