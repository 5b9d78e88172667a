"""What is due now and then: signs of life go to the database, silent connections leave.

Signs of life are collected and written together: a heartbeat costs no statement of its own.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from seda.database.regions import Region
from seda.social.presence import Attendance
from serving.pools import Pools
from serving.problems import DatabaseUnavailableError
from serving.realtime.gateway import Gateway
from serving.realtime.toasts import Toasts

EVERY_SECONDS: Final = 20.0
FORGOTTEN: Final = timedelta(days=7)

# In one order, as everybody locks these rows; found by index, as in migration 0009.
_SEEN = """
    with seen as materialized (
        select p.tid, s.seen
        from (select user_id, room_id, max(seen) as seen
              from unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) as s (user_id, room_id, seen)
              group by user_id, room_id order by room_id, user_id) s
        cross join lateral (
            select l.ctid as tid from seda.room_presence l
            where l.room_id = s.room_id and l.user_id = s.user_id for update) p
    )
    update seda.room_presence p set last_seen_at = greatest(p.last_seen_at, s.seen)
    from seen s where p.ctid = s.tid
"""
_ACTIVE = """
    update seda.realtime_sessions s set last_active_at = greatest(s.last_active_at, a.seen)
    from (select user_id, session_id, max(seen) as seen
          from unnest($1::uuid[], $2::text[], $3::timestamptz[]) as a (user_id, session_id, seen)
          group by user_id, session_id) a
    where s.user_id = a.user_id and s.session_id = a.session_id
"""
_FORGET = "delete from seda.realtime_sessions where last_active_at < $1"

_logger = logging.getLogger("serving")


class Upkeep:
    """A worker for all regions."""

    def __init__(
        self,
        pools: Pools,
        gateway: Gateway,
        attendance: Mapping[Region, Attendance[str]],
        toasts: Sequence[Toasts],
        clock: Callable[[], datetime],
    ) -> None:
        self._pools = pools
        self._gateway = gateway
        self._attendance = attendance
        self._toasts = toasts
        self._clock = clock
        self._written: dict[Region, datetime] = dict.fromkeys(Region, clock())
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the worker."""
        self._worker = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop the worker."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    async def round(self) -> None:
        """Everything that is due."""
        await self._gateway.end_idle()
        for toasts in self._toasts:
            toasts.forget_old()
        for region in Region:
            try:
                await self._write(region)
            except (DatabaseUnavailableError, asyncpg.PostgresError) as problem:
                _logger.warning("signs of life are not kept: %s", type(problem).__name__)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            try:
                await self.round()
            except Exception:
                _logger.exception("the upkeep failed")

    async def _write(self, region: Region) -> None:
        now = self._clock()
        alive = list(self._attendance[region].alive_since(self._written[region]))
        seen = [(person, room, at) for _, person, rooms, at in alive for room in rooms]
        active = [
            (person, self._gateway.connections[sid].session_id, at)
            for sid, person, _, at in alive
            if sid in self._gateway.connections
        ]
        async with self._pools.connection(region) as connection:
            if seen:
                await connection.execute(_SEEN, *map(list, zip(*seen, strict=True)))
            if active:
                await connection.execute(_ACTIVE, *map(list, zip(*active, strict=True)))
            await connection.execute(_FORGET, now - FORGOTTEN)
        self._written[region] = now
