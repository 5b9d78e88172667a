"""A Socket.IO client that costs little: thousands of them share one event loop.

It speaks Engine.IO 4 over a websocket, with text packets and one namespace: what the service sends
and the official client understands. A test holds the two beside each other.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

import aiohttp
import orjson

from seda.errors import SedaError

PATIENCE_SECONDS: Final = 20.0
_PATH: Final = "/socket.io/?EIO=4&transport=websocket"
_OPEN, _PING, _PONG = "0", "2", "3"
_CONNECTED, _REFUSED, _EVENT, _ACKNOWLEDGED, _CLOSED = "40", "44", "42", "43", "41"

Listener = Callable[[str, Any], None]


class ConnectionRefusedError(SedaError):
    """The service does not let a client in."""


class ConnectionLostError(SedaError):
    """The connection ended before the answer came."""


class Client:
    """One connection; `listener` is called with the name and the first argument of each event."""

    def __init__(self, session: aiohttp.ClientSession, url: str, listener: Listener) -> None:
        self._session = session
        self._url = url
        self._listener = listener
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._asked = 0
        self._closing = False
        self._reading: asyncio.Task[None] | None = None
        self.lost = asyncio.Event()

    async def connect(self, token: str, session_id: str) -> "Client":
        """Sign in; returns itself once the service has said yes.

        Raises:
            ConnectionRefusedError: it says no, or does not speak Socket.IO.
        """
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                self._socket = await self._session.ws_connect(self._url + _PATH, max_msg_size=0)
                await self._sign_in({"token": token, "session_id": session_id})
        except (aiohttp.ClientError, OSError, TimeoutError) as problem:
            raise ConnectionRefusedError(
                f"The real-time service at {self._url} does not let a client in "
                f"({type(problem).__name__}): is it running?"
            ) from problem
        self._reading = asyncio.create_task(self._read())
        return self

    async def call(self, event: str, *arguments: Any) -> Any:
        """Send an event and wait for its acknowledgement.

        Raises:
            ConnectionLostError: whether it was taken is not known.
        """
        self._asked += 1
        asked, answer = self._asked, asyncio.get_running_loop().create_future()
        self._answers[asked] = answer
        try:
            if self.lost.is_set():
                raise ConnectionLostError("The connection is gone.")
            packet = orjson.dumps([event, *arguments]).decode()
            await self._socket.send_str(f"{_EVENT}{asked}{packet}")
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await answer
        except (aiohttp.ClientError, OSError, TimeoutError) as problem:
            # Known here before the reader hears of it: who asks again must not get this one.
            self.lost.set()
            raise ConnectionLostError("No acknowledgement came.") from problem
        finally:
            self._answers.pop(asked, None)

    async def close(self) -> None:
        """Say goodbye."""
        self._closing = True
        if self._reading is None:
            return
        with contextlib.suppress(aiohttp.ClientError, OSError):  # it may be gone already
            if not self._socket.closed:
                await self._socket.send_str(_CLOSED)
        await self._socket.close()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _sign_in(self, auth: dict[str, str]) -> None:
        try:
            await self._expect(_OPEN)
            await self._socket.send_str(_CONNECTED + orjson.dumps(auth).decode())
            await self._expect(_CONNECTED)
        except BaseException:
            await self._socket.close()
            raise

    async def _expect(self, kind: str) -> None:
        message = await self._socket.receive()
        text = message.data if message.type is aiohttp.WSMsgType.TEXT else ""
        if text.startswith(_REFUSED):
            refused = orjson.loads(text[2:])
            raise ConnectionRefusedError(
                f"The real-time service refuses a client: {refused.get('message')}"
            )
        if not text.startswith(kind):
            raise ConnectionRefusedError(f"{self._url} does not speak Socket.IO.")

    async def _read(self) -> None:
        try:
            async for message in self._socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    await self._take(message.data)
        except (aiohttp.ClientError, OSError):
            pass
        finally:
            if not self._closing:
                self.lost.set()
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(ConnectionLostError("The connection is gone."))

    async def _take(self, packet: str) -> None:
        if packet.startswith(_EVENT):
            name, *arguments = orjson.loads(packet[packet.index("[") :])
            self._listener(name, arguments[0] if arguments else None)
        elif packet == _PING:
            await self._socket.send_str(_PONG)
        elif packet.startswith(_ACKNOWLEDGED):
            opening = packet.index("[")
            answer = self._answers.get(int(packet[2:opening]))
            if answer is not None and not answer.done():
                answer.set_result((orjson.loads(packet[opening:]) or [None])[0])
        elif packet.startswith(_CLOSED) or packet == "1":
            await self._socket.close()
