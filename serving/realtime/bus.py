"""Where a process hears what a region's database announces.

By itself it LISTENs. Where Redis is configured, one process (who holds a lease there) listens and
passes everything on, so that Postgres wakes one connection and not one per process. While Redis is
away every process listens for itself; what comes by both ways is heard once.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import coredis
import orjson
from coredis.exceptions import RedisError

from serving.realtime.listening import Listening

LEASE_MS: Final = 3000
POLL_SECONDS: Final = 0.5
OVERLAP_SECONDS: Final = 2.0
STORE_SECONDS: Final = 1.0
_RESUMED = "resumed"
_RENEW = """
    if redis.call('get', KEYS[1]) == ARGV[1] then
        return redis.call('pexpire', KEYS[1], ARGV[2])
    end
    return redis.call('set', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0
"""
_LET_GO = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end"

_logger = logging.getLogger("serving")


class Bus(Protocol):
    """A way to hear announcements."""

    def start(self) -> None:
        """Hear from now on."""

    async def stop(self) -> None:
        """Hear nothing more."""

    def hears(self) -> bool:
        """Whether announcements arrive just now."""


class PostgresBus:
    """Every process listens for itself."""

    def __init__(self, listening: Listening) -> None:
        self._listening = listening

    def start(self) -> None:
        """Connect and listen."""
        self._listening.start()

    async def stop(self) -> None:
        """Stop listening."""
        await self._listening.stop()

    def hears(self) -> bool:
        """Whether the connection is there."""
        return self._listening.connected.is_set()


class RedisBus:
    """One process of all listens and passes on; `name` tells environment and region."""

    def __init__(
        self,
        redis_url: str,
        name: str,
        process: str,
        listen: Callable[[Callable[[str, str], None], Callable[[], Awaitable[None]]], Listening],
        heard: Callable[[str, str], None],
        resumed: Callable[[], Awaitable[None]],
    ) -> None:
        self._url = redis_url
        self._channel = f"seda:realtime:{name}"
        self._process = process
        self._heard = heard
        self._resumed = resumed
        self._make = lambda: listen(self._from_postgres, self._postgres_resumed)
        self._listening: Listening | None = None
        self._relaying = False
        self._subscribed = False
        self._told_of_relay = False
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue()
        self._number = 0
        self._sequences: dict[str, int] = {}
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Subscribe, or listen."""
        self._worker = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Neither subscribe nor listen."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        await self._stop_listening()

    def hears(self) -> bool:
        """Whether announcements arrive by either way."""
        listens = self._listening is not None and self._listening.connected.is_set()
        return listens or (self._subscribed and not self._relaying)

    async def _run(self) -> None:
        while True:
            try:
                await self._follow()
            except (RedisError, OSError, TimeoutError) as problem:
                _logger.warning("no Redis, so listening alone: %s", type(problem).__name__)
            except Exception:
                _logger.exception("the bus failed")
            self._subscribed = self._relaying = False
            self._start_listening()
            await asyncio.sleep(POLL_SECONDS)

    async def _follow(self) -> None:
        commands = coredis.Redis.from_url(
            self._url, connect_timeout=STORE_SECONDS, stream_timeout=STORE_SECONDS
        )
        hearing = coredis.Redis.from_url(self._url, connect_timeout=STORE_SECONDS)
        subscription = hearing.pubsub(ignore_subscribe_messages=True)
        tasks: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout(2 * STORE_SECONDS):
                await commands.ping()
                await subscription.subscribe(self._channel)
            self._sequences.clear()
            self._subscribed = True
            await self._resumed()
            for work in (self._receive(subscription), self._send(commands), self._lease(commands)):
                tasks.append(asyncio.create_task(work))
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            subscription.close()  # its other way to end asks a server that may be gone
            await self._let_go(commands)
            for client in (commands, hearing):
                client.connection_pool.disconnect()

    async def _lease(self, client: Any) -> None:
        """Relay while the lease is ours; poll it, which also tells whether Redis is there."""
        began = asyncio.get_running_loop().time()
        while True:
            async with asyncio.timeout(2 * STORE_SECONDS):
                mine = await client.eval(
                    _RENEW, [f"{self._channel}:relay"], [self._process, str(LEASE_MS)]
                )
            self._relaying = bool(mine)
            if self._relaying:
                self._start_listening()
            elif asyncio.get_running_loop().time() - began > OVERLAP_SECONDS:
                await self._stop_listening()
            await asyncio.sleep(POLL_SECONDS)

    async def _receive(self, subscription: Any) -> None:
        while True:
            message = await subscription.get_message(timeout=POLL_SECONDS)
            if message is None or message["type"] not in ("message", b"message"):
                continue
            sender, number, channel, payload = orjson.loads(message["data"])
            if sender == self._process:
                continue
            expected = self._sequences.get(sender, number)
            self._sequences = {sender: number + 1}
            if channel == _RESUMED or number != expected:  # or some were lost on the way
                await self._resumed()
            if channel != _RESUMED:
                self._heard(channel, payload)

    async def _send(self, client: Any) -> None:
        while True:
            await client.publish(self._channel, await self._outgoing.get())

    async def _let_go(self, client: Any) -> None:
        try:
            async with asyncio.timeout(STORE_SECONDS):
                await client.eval(_LET_GO, [f"{self._channel}:relay"], [self._process])
        except (RedisError, OSError, TimeoutError):
            return

    def _from_postgres(self, channel: str, payload: str) -> None:
        self._heard(channel, payload)
        self._pass_on(channel, payload)

    async def _postgres_resumed(self) -> None:
        await self._resumed()
        self._pass_on(_RESUMED, "")

    def _pass_on(self, channel: str, payload: str) -> None:
        if self._relaying:
            message = [self._process, self._number, channel, payload]
            self._number += 1
            self._outgoing.put_nowait(orjson.dumps(message))

    def _start_listening(self) -> None:
        if self._listening is None:
            self._listening = self._make()
            self._listening.start()
        elif self._relaying and not self._told_of_relay:
            self._pass_on(_RESUMED, "")
        self._told_of_relay = self._relaying

    async def _stop_listening(self) -> None:
        if self._listening is not None:
            listening, self._listening = self._listening, None
            await listening.stop()
