"""This process among the others: what it holds counts while it gives signs of life.

A process that is killed, or cut off, is given up by any other after `SILENCE`; one that comes back
registers again with what its connections hold. Lingering leaves are ended here too: whichever
process is first takes them.
"""

import asyncio
import heapq
import logging
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg

from seda.database.regions import Region
from serving.pools import Pools
from serving.problems import DatabaseUnavailableError

BEAT_SECONDS: Final = 2.0
SILENCE: Final = timedelta(seconds=10)
SWEEP_SECONDS: Final = 0.25
SWEEP_APART_SECONDS: Final = 0.02
UNREGISTERED: Final = "SD001"
"""The SQL state of a statement of a process that was given up."""

_BEAT = "update seda.realtime_processes set last_seen_at = $2 where id = $1 returning true"
_REGISTER = "select seda.register_process($1, $2::uuid[], $3::uuid[], $4::integer[], $5)"
_RESIGN = "delete from seda.realtime_processes where id = $1"
_REAP = "select seda.reap_processes($1, $2)"
_RELEASE = "select seda.release_held_presence($1)"

_logger = logging.getLogger("serving")

Holds = Mapping[tuple[UUID, UUID], int]


class Registration:
    """The rows of this process in `realtime_processes`, and the work that any process may do."""

    def __init__(
        self,
        id: UUID,
        pools: Pools,
        holds: Callable[[Region], Holds],
        clock: Callable[[], datetime],
    ) -> None:
        self.id = id
        self._pools = pools
        self._holds = holds
        self._clock = clock
        self._steady_since: dict[Region, datetime] = {}
        self._due: dict[Region, list[datetime]] = {region: [] for region in Region}
        self._workers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Give signs of life, and end what lingers, from now on."""
        for region in Region:
            for work in (self._beat_forever(region), self._sweep_forever(region)):
                self._workers.append(asyncio.create_task(work))

    async def stop(self) -> None:
        """Stop, and resign: nothing is held by this process any more."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for region in Region:
            await self._quietly(region, self._execute(region, _RESIGN, self.id))

    async def register(self, region: Region) -> None:
        """Begin, or begin again with what the connections hold by now.

        Raises:
            DatabaseUnavailableError: nothing answers.
        """
        holds = self._holds(region)
        people = [person for person, _ in holds]
        rooms = [room for _, room in holds]
        counts = list(holds.values())
        await self._execute(region, _REGISTER, self.id, people, rooms, counts, self._clock())

    def lingers(self, region: Region, until: datetime) -> None:
        """Somebody will have left by then."""
        heapq.heappush(self._due[region], until)

    async def _beat_forever(self, region: Region) -> None:
        while True:
            if not await self._quietly(region, self._beat(region)):
                self._steady_since.pop(region, None)
            await asyncio.sleep(BEAT_SECONDS)

    async def _beat(self, region: Region) -> None:
        now = self._clock()
        async with self._pools.connection(region) as connection:
            known = await connection.fetchval(_BEAT, self.id, now)
        if not known:
            await self.register(region)
        # Who was cut off from the database itself cannot tell who else was.
        if now - self._steady_since.setdefault(region, now) >= SILENCE:
            await self._execute(region, _REAP, SILENCE, now)

    async def _sweep_forever(self, region: Region) -> None:
        due = self._due[region]
        while True:
            now = self._clock()
            while due and due[0] <= now:
                heapq.heappop(due)
            await self._quietly(region, self._execute(region, _RELEASE, now))
            seconds = SWEEP_SECONDS
            if due:  # what is due at nearly the same instant goes together
                until = (due[0] - self._clock()).total_seconds()
                seconds = min(seconds, max(until, SWEEP_APART_SECONDS))
            await asyncio.sleep(seconds)

    async def _execute(self, region: Region, statement: str, *values: object) -> None:
        async with self._pools.connection(region) as connection:
            await connection.execute(statement, *values)

    async def _quietly(self, region: Region, work: Coroutine[Any, Any, None]) -> bool:
        try:
            await work
        except (DatabaseUnavailableError, asyncpg.PostgresError) as problem:
            _logger.warning("presence of %s is not kept: %s", region, type(problem).__name__)
            return False
        except Exception:
            _logger.exception("presence of %s is not kept", region)
            return False
        return True
