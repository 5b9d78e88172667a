"""Runs an ASGI app under uvicorn: one way for the API and the real-time service.

The socket is bound first, so that a busy port is one sentence and no traceback. There is no access
log: paths and cursors belong to people.
"""

import argparse
import errno
import gc
import select
import signal
import socket
import sys
import time
from asyncio import sleep
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from seda.errors import SedaError
from seda.observability.error_reports import configure_error_reports
from seda.observability.logs import configure_logs
from seda.settings import load_settings
from serving.connections import BoundedHttp
from serving.draining import Draining

GRACE_SECONDS = 10
KEEP_ALIVE_SECONDS = 75
"""Longer than load balancers and proxies keep a connection (60 s): who of the two closes it first
decides whether a request can meet a closed door."""
LAST_REQUESTS_SECONDS = 1.0
"""How long who was accepted last has to send a request."""


class BusyPortError(SedaError):
    """The port that the service should listen on cannot be had."""


def bind(host: str, port: int, setting: str) -> socket.socket:
    """A bound TCP socket.

    Raises:
        BusyPortError: another process has the port, or this one may not use it.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as problem:
        listener.close()
        why = "is already in use" if problem.errno == errno.EADDRINUSE else f"fails ({problem})"
        raise BusyPortError(
            f"Port {port} on {host} {why}: stop what holds it, or set {setting} to another port."
        ) from problem
    return listener


class _Server(uvicorn.Server):
    """Stops in order: not ready, no new connections, the requests that were taken, the app."""

    def __init__(self, config: uvicorn.Config, draining: Draining) -> None:
        super().__init__(config)
        self._draining = draining
        self._stops_at = float("inf")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGTERM and not self._draining.begun:
            self._draining.begin()
            self._stops_at = time.monotonic() + self._draining.seconds
        else:
            self._draining.begin()
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        self.should_exit = self.should_exit or time.monotonic() >= self._stops_at
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._let_in(sockets or [])
        for listener in (*self.servers, *(sockets or ())):
            listener.close()
        await self._last_requests()
        await super().shutdown(sockets)

    async def _let_in(self, listeners: list[socket.socket]) -> None:
        """Accept who is waiting already: closing the door would reset them.

        The loop accepts one connection per turn.
        """
        ends_at = time.monotonic() + LAST_REQUESTS_SECONDS
        while time.monotonic() < ends_at and select.select(listeners, [], [], 0)[0]:
            await sleep(0)

    async def _last_requests(self) -> None:
        """Wait for connections on which nothing was asked yet: the server would hang up on them."""
        ends_at = time.monotonic() + LAST_REQUESTS_SECONDS
        await sleep(0)
        while time.monotonic() < ends_at and any(
            getattr(each, "cycle", self) is None for each in self.server_state.connections
        ):
            await sleep(0.01)


def serve(
    name: str,
    port: int,
    setting: str,
    build: Callable[[], Any],
    *,
    draining: Draining | None = None,
    trusted_proxies: str | None = None,
) -> None:
    """Parse `--host`, bind, build the app and run it until SIGINT or SIGTERM.

    SIGTERM begins the draining, where there is one; SIGINT, or a second SIGTERM, stops at once.
    Exits with 1 and one sentence on stderr where the app cannot be built or bound.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {name}")
    parser.add_argument("--host", default="127.0.0.1", help="Address to listen on.")
    host = parser.parse_args().host
    # Until the server runs, a SIGTERM unwinds, so that a starting embedded database is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        listener = bind(host, port, setting)
        app = build()
    except SedaError as problem:
        sys.exit(str(problem))  # to stderr, with status 1
    configure_logs()
    settings = load_settings()
    if settings.sentry_dsn is not None:
        configure_error_reports(settings.sentry_dsn.get_secret_value(), settings.env)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=BoundedHttp,
        log_config=None,
        access_log=False,
        # Without a list, uvicorn believes whoever connects from this machine.
        proxy_headers=trusted_proxies is not None,
        forwarded_allow_ips=trusted_proxies,
        server_header=False,
        # Presence messages are small: to deflate one costs more than all the rest of it. Engine.IO
        # has pings of its own.
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    # What is loaded by now stays: the collector need not walk it again and again under load.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    server = _Server(config, draining or Draining(0))
    # After its graceful stop the server raises the signal once more, which would kill the process
    # before the caller can let go of the databases.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: None)
    server.run(sockets=[listener])
    if not server.started:
        sys.exit(1)
