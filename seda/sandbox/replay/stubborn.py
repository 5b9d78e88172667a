"""A client that gets everything through: it connects again, and repeats what was not acknowledged.

As an app should: an intent keeps its event id until it is acknowledged, and who is in a room when
the connection is lost repeats the join, with the same id, on the next connection.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import aiohttp

from seda.errors import SedaError
from seda.sandbox.replay.wire import Client, ConnectionLostError, ConnectionRefusedError, Listener

_AGAIN_SECONDS: Final = 0.1


class IntentRefusedError(SedaError):
    """The service says no for good."""


@dataclass(frozen=True, slots=True)
class Step:
    """An intent and when it is due, in seconds from the start."""

    at: float
    event_id: UUID
    room_id: UUID
    joins: bool


@dataclass
class Stubborn:
    """One person's client; `repeats` and `connections` say how hard it was."""

    session: aiohttp.ClientSession
    url: str
    token: str
    session_id: str
    listener: Listener
    repeats: int = 0
    connections: int = 0
    _client: Client | None = None
    _inside: Step | None = field(default=None)

    async def carry_out(self, steps: Sequence[Step], started: float) -> None:
        """Every step at its time or as soon as it goes; `started` is the event loop's time.

        Raises:
            IntentRefusedError: an intent cannot be right, whenever it is sent.
        """
        loop = asyncio.get_running_loop()
        for step in steps:
            await self._wait(started + step.at - loop.time())
            await self._get_through(step)
            self._inside = step if step.joins else None

    async def stay(self, seconds: float) -> None:
        """Remain connected, and in the room, whatever happens."""
        await self._wait(seconds)

    async def close(self) -> None:
        """Go."""
        if self._client is not None:
            await self._client.close()

    async def _wait(self, seconds: float) -> None:
        """Meanwhile a lost connection is made again, and with it the presence."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            client = await self._connected()
            left = deadline - loop.time()
            if left <= 0:
                return
            try:
                async with asyncio.timeout(left):
                    await client.lost.wait()
            except TimeoutError:
                return

    async def _get_through(self, step: Step) -> None:
        while True:
            client = await self._connected()
            try:
                await self._ask(client, step)
                return
            except ConnectionLostError:
                self.repeats += 1

    async def _connected(self) -> Client:
        while self._client is None or self._client.lost.is_set():
            if self._client is not None:
                await self._client.close()
                self._client = None
            client = Client(self.session, self.url, self.listener)
            try:
                await client.connect(self.token, self.session_id)
                self.connections += 1
                if self._inside is not None:
                    await self._ask(client, self._inside)
            except (ConnectionRefusedError, ConnectionLostError):
                await client.close()
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            self._client = client
        return self._client

    async def _ask(self, client: Client, step: Step) -> None:
        """Until it is acknowledged; what the service cannot do now it may do a moment later."""
        intent = {"event_id": str(step.event_id), "room_id": str(step.room_id)}
        while True:
            answer: Any = await client.call(f"presence:{'join' if step.joins else 'leave'}", intent)
            if answer["ok"]:
                return
            if answer["problem"]["status"] < 500:
                raise IntentRefusedError(f"An intent was refused: {answer['problem']['detail']}")
            self.repeats += 1
            await asyncio.sleep(_AGAIN_SECONDS)
