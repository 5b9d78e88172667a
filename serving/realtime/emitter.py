"""Sends a message to one person's connections, encoded once.

`AsyncServer.emit` makes a task for each connection and encodes with the standard library; a fan-out
of thousands of messages a second cannot pay for either. The packets are the same.
"""

import asyncio
import logging

import orjson
import socketio
from engineio.exceptions import SocketIsClosedError
from engineio.packet import MESSAGE, Packet

_logger = logging.getLogger("serving")
_EVENT = "2"  # Socket.IO's packet type, of the namespace "/"


def encoded(event: str, document: object) -> Packet:
    """An Engine.IO packet with a Socket.IO event of one argument."""
    return Packet(MESSAGE, _EVENT + orjson.dumps([event, document]).decode())


class Emitter:
    """Which connections are whose."""

    def __init__(self, server: socketio.AsyncServer) -> None:
        self._server = server
        self._sids: dict[object, set[str]] = {}
        self._soon: set[asyncio.Task[None]] = set()

    def add(self, person: object, eio_sid: str) -> None:
        """A connection of the person's, by its Engine.IO id."""
        self._sids.setdefault(person, set()).add(eio_sid)

    def remove(self, person: object, eio_sid: str) -> bool:
        """The connection is gone; True where it was the person's last one."""
        sids = self._sids.get(person, set())
        sids.discard(eio_sid)
        if sids:
            return False
        self._sids.pop(person, None)
        return True

    def connected(self, person: object) -> bool:
        """Whether the person has a connection here."""
        return person in self._sids

    async def emit(self, person: object, packet: Packet) -> None:
        """Put the packet into the queues of the person's connections."""
        for sid in tuple(self._sids.get(person, ())):
            await self.send(sid, packet)

    async def send(self, eio_sid: str, packet: Packet) -> None:
        """Put the packet into one connection's queue."""
        try:
            await self._server.eio.send_packet(eio_sid, packet)
        except SocketIsClosedError:  # a moment ago: its disconnection is on its way
            return
        except Exception:  # one connection's trouble must not cost the others their message
            _logger.exception("a message was not sent")

    def emit_soon(self, person: object, packet: Packet) -> None:
        """`emit`, for those who cannot wait for it."""
        task = asyncio.create_task(self.emit(person, packet))
        self._soon.add(task)
        task.add_done_callback(self._soon.discard)
