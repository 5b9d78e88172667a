"""Hears what a region's database announces, on a connection of its own, again after it was lost.

NOTIFY is not kept for who is away: after every connection `resumed` is called, for the listener to
compare what it knows with what is.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg

from serving.realtime.announcements import CHANNELS

CONNECT_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = 0.2
PROBE_SECONDS: Final = 5.0

_logger = logging.getLogger("serving")


class Listening:
    """LISTENs on one region's URL (a direct connection, not a transaction pooler's)."""

    def __init__(
        self,
        region: str,
        url: str,
        heard: Callable[[str, str], None],
        resumed: Callable[[], Awaitable[None]],
    ) -> None:
        self._region = region
        self._url = url
        self._heard = heard
        self._resumed = resumed
        self._worker: asyncio.Task[None] | None = None
        self.connected = asyncio.Event()

    def start(self) -> None:
        """Connect, and stay connected."""
        self._worker = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Hear nothing more."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        self.connected.clear()

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as lost:
                _logger.warning("not listening to %s: %s", self._region, type(lost).__name__)
            except Exception:
                _logger.exception("not listening to %s", self._region)
            self.connected.clear()
            await asyncio.sleep(AGAIN_SECONDS)

    async def _listen(self) -> None:
        connection = await asyncpg.connect(
            self._url,
            timeout=CONNECT_SECONDS,
            server_settings={"application_name": "seda listen"},
        )
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        try:
            for channel in CHANNELS:
                await connection.add_listener(channel, self._on_notify)
            await self._resumed()
            self.connected.set()
            while not lost.is_set():
                try:
                    await asyncio.wait_for(lost.wait(), PROBE_SECONDS)
                except TimeoutError:  # a network that swallows packets says nothing by itself
                    await connection.execute("select 1", timeout=PROBE_SECONDS)
        finally:
            connection.terminate()

    def _on_notify(self, connection: Any, pid: int, channel: str, payload: str) -> None:
        self._heard(channel, payload)
