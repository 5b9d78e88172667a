"""Ends presence that was joined over HTTP and never left: such a join has no connection to lose."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final

import asyncpg

from seda.database.regions import Region
from serving.pools import Pools
from serving.problems import DatabaseUnavailableError

EVERY_SECONDS: Final = 30.0

_logger = logging.getLogger("serving")


class HeldPresence:
    """A worker that releases, in every region, what is held past its time."""

    def __init__(self, pools: Pools, clock: Callable[[], datetime]) -> None:
        self._pools = pools
        self._clock = clock
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Release now, and every half minute from now on."""
        self._worker = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop the worker."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            for region in Region:
                try:
                    async with self._pools.transaction(region) as connection:
                        await connection.execute(
                            "select seda.release_held_presence($1)", self._clock()
                        )
                except (DatabaseUnavailableError, asyncpg.PostgresError) as problem:
                    _logger.warning("held presence was not released: %s", type(problem).__name__)
            await asyncio.sleep(EVERY_SECONDS)
