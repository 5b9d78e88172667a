"""Clients in a process of their own: they connect, write down what they hear, and hand it over."""

import asyncio
import contextlib
import resource
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.connection import Connection
from typing import Any, Final

import aiohttp
import numpy as np

from seda.errors import SedaError
from seda.sandbox.replay.figures import Heard, Messages, Toasts, Told
from seda.sandbox.replay.wire import Client

AT_ONCE: Final = 32
"""Connections that are being opened at a time: more make nobody faster, and time out."""
_TICK_SECONDS: Final = 0.05
_TOLD_EVERY: Final = 10


@dataclass(frozen=True)
class Seat:
    """Who a client is: its place among all clients, its token and its session."""

    viewer: int
    token: str
    session_id: str


class Notes:
    """What the clients of one process heard, in columns."""

    def __init__(self, rooms: dict[str, int]) -> None:
        self._rooms = rooms
        self._messages = array("i"), array("d"), array("d")
        self._told = array("i"), array("i"), array("q")
        self._toasts = array("i"), array("d"), array("d")
        self.elsewhere = 0
        self.changes = 0
        self.connected = 0
        self.late = array("d")

    def hear(self, viewer: int, event: str, message: Any) -> None:
        """An event that came now."""
        if event == "presence":
            self._presence(viewer, message, time.time())
        elif event == "toast":
            row = viewer, _moment(message["at"]), time.time()
            _append(self._toasts, row)

    def _presence(self, viewer: int, message: Any, arrived: float) -> None:
        ours = False
        for room in message["rooms"]:
            place = self._rooms.get(room["room_id"])
            if place is None:
                self.elsewhere += room["changes"]
                continue
            ours = True
            self.changes += room["changes"]
            _append(self._told, (viewer, place, room["changes"]))
        if ours:
            _append(self._messages, (viewer, _moment(message["since"]), arrived))

    def heard(self, lost_connections: int) -> Heard:
        """All of it, as arrays."""
        return Heard(
            Messages(*_arrays(self._messages)),
            Told(*_arrays(self._told)),
            Toasts(*_arrays(self._toasts)),
            self.elsewhere,
            self.connected,
            lost_connections,
            np.frombuffer(self.late, np.float64).copy(),
        )


def _append(columns: tuple[array, ...], row: tuple[float, ...]) -> None:
    for column, value in zip(columns, row, strict=True):
        column.append(value)


def _arrays(columns: tuple[array, ...]) -> Iterator[Any]:
    for column in columns:
        yield np.frombuffer(column, np.dtype(column.typecode)).copy()


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def run_listeners(url: str, seats: list[Seat], rooms: list[str], pipe: Connection) -> None:
    """A process: connects, says so, tells how much it heard, and answers `stop` with a `Heard`.

    It sends `("connected", n)`, `("ready", n)`, `("changes", n)`, `("heard", Heard)`, or
    `("failed", sentence)` in place of the rest.
    """
    import uvloop

    _allow_files(len(seats) + 256)
    try:
        uvloop.run(_listen(url, seats, {room: place for place, room in enumerate(rooms)}, pipe))
    except SedaError as problem:
        pipe.send(("failed", str(problem)))
    except (KeyboardInterrupt, BrokenPipeError, EOFError):
        pass


async def _listen(url: str, seats: list[Seat], rooms: dict[str, int], pipe: Connection) -> None:
    notes = Notes(rooms)
    unlimited = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=unlimited, trust_env=False) as session:
        clients = await _connect(session, url, seats, notes, pipe)
        pipe.send(("ready", notes.connected))
        await _until_stopped(notes, pipe)
        lost = sum(client.lost.is_set() for client in clients)
        pipe.send(("heard", notes.heard(lost)))
        await asyncio.gather(*(client.close() for client in clients), return_exceptions=True)


async def _connect(
    session: aiohttp.ClientSession, url: str, seats: list[Seat], notes: Notes, pipe: Connection
) -> list[Client]:
    places = asyncio.Semaphore(AT_ONCE)

    async def connect(seat: Seat) -> Client:
        async with places:
            client = Client(session, url, lambda *heard: notes.hear(seat.viewer, *heard))
            await client.connect(seat.token, seat.session_id)
            notes.connected += 1
            if notes.connected % 50 == 0:
                pipe.send(("connected", 50))
            return client

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(connect(seat)) for seat in seats]
    except BaseExceptionGroup as problems:
        raise problems.exceptions[0] from None
    return [task.result() for task in tasks]


async def _until_stopped(notes: Notes, pipe: Connection) -> None:
    loop, told, ticks = asyncio.get_running_loop(), -1, 0
    while not pipe.poll():
        asked = loop.time()
        await asyncio.sleep(_TICK_SECONDS)
        notes.late.append(max(0.0, loop.time() - asked - _TICK_SECONDS))
        ticks += 1
        if ticks % _TOLD_EVERY == 0 and notes.changes != told:
            told = notes.changes
            pipe.send(("changes", told))
    pipe.recv()


def _allow_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
