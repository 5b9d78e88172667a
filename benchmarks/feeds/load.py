"""HTTP load from one process over keep-alive connections, with as little work as possible.

Closed loop: each connection asks again when it was answered. Open loop: requests start at their
own times whatever is still under way, and latency counts from that time, so a stall is not hidden.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Measured:
    """Latencies in ms of the answers with status 200, the number of others, seconds, body bytes,
    and whatever processor time (µs per request) the caller measured."""

    milliseconds: np.ndarray
    failed: int
    seconds: float
    size: int
    processor: Sequence[float] = ()

    @property
    def rate(self) -> float:
        return len(self.milliseconds) / self.seconds

    def percentiles(self) -> str:
        p50, p95, p99 = np.percentile(self.milliseconds, [50, 95, 99])
        return f"p50 {p50:.1f}, p95 {p95:.1f}, p99 {p99:.1f} ms"


class _Connection(asyncio.Protocol):
    """One request at a time; `answered` is called with the status and the body's length."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._left = -1
        self._size = 0

    def connection_made(self, transport) -> None:
        self.transport = transport

    def ask(self, request: bytes, answered) -> None:
        self._answered = answered
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._left >= 0:
            self._left -= len(data)
        else:
            self._buffer += data
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            at = self._buffer.index(b"content-length: ") + 16
            self._size = int(self._buffer[at : self._buffer.index(b"\r", at)])
            self._status = int(self._buffer[9:12])
            self._left = self._size - (len(self._buffer) - end - 4)
        if self._left == 0:
            self._left = -1
            self._buffer.clear()
            self._answered(self._status, self._size)


@dataclass
class _Run:
    latencies: list[float] = field(default_factory=list)
    failed: int = 0
    size: int = 0

    def note(self, started: float, status: int, size: int) -> None:
        if status == 200:
            self.latencies.append((time.perf_counter() - started) * 1e3)
            self.size += size
        else:
            self.failed += 1

    def measured(self, seconds: float) -> Measured:
        count = max(1, len(self.latencies))
        return Measured(np.array(self.latencies or [0.0]), self.failed, seconds, self.size // count)


async def closed_loop(
    port: int, requests: Sequence[bytes], *, connections: int, seconds: float
) -> Measured:
    """As many requests as the server takes with this many connections."""
    run, loop = _Run(), asyncio.get_running_loop()
    started = time.perf_counter()
    done = loop.create_future()
    running = connections
    number = 0

    def ask(connection: _Connection) -> None:
        nonlocal number, running
        now = time.perf_counter()
        if now - started >= seconds:
            running -= 1
            if not running:
                done.set_result(None)
            return
        request, number = requests[number % len(requests)], number + 1

        def answered(status: int, size: int) -> None:
            run.note(now, status, size)
            ask(connection)

        connection.ask(request, answered)

    opened = [await _open(port) for _ in range(connections)]
    started = time.perf_counter()
    for each in opened:
        ask(each)
    await done
    measured = run.measured(time.perf_counter() - started)
    for each in opened:
        each.transport.close()
    return measured


async def open_loop(
    port: int, requests: Sequence[bytes], *, rate: float, seconds: float, seed: int = 0
) -> Measured:
    """Requests at random times (Poisson) of a fixed mean rate."""
    run, loop = _Run(), asyncio.get_running_loop()
    gaps = np.random.default_rng(seed).exponential(1 / rate, int(rate * seconds))
    times = np.cumsum(gaps)
    idle = [await _open(port) for _ in range(64)]
    every = list(idle)
    left = len(times)
    done = loop.create_future()
    started = time.perf_counter() + 0.05

    def send(connection: _Connection, number: int, due: float) -> None:
        def answered(status: int, size: int) -> None:
            nonlocal left
            run.note(due, status, size)
            idle.append(connection)
            left -= 1
            if not left:
                done.set_result(None)

        connection.ask(requests[number % len(requests)], answered)

    for number, at in enumerate(times.tolist()):
        due = started + at
        while (wait := due - time.perf_counter()) > 0:
            # Waiting busily would be punctual to the last millisecond, on the server's processor.
            await asyncio.sleep(wait)
        while idle and idle[-1].transport.is_closing():
            idle.pop()  # not asked for longer than the server keeps it
        if not idle:
            more = await _open(port)
            every.append(more)
            idle.append(more)
        send(idle.pop(), number, due)
    await done
    measured = run.measured(time.perf_counter() - started)
    for each in every:
        each.transport.close()
    return measured


async def _open(port: int) -> _Connection:
    _, protocol = await asyncio.get_running_loop().create_connection(_Connection, "127.0.0.1", port)
    return protocol
