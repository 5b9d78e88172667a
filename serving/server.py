"""Runs an ASGI app under uvicorn: one way for the API and the real-time service.

The socket is bound first, so that a busy port is one sentence and no traceback. There is no access
log: paths and cursors belong to people.
"""

import argparse
import errno
import gc
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

import uvicorn

from seda.errors import SedaError

GRACE_SECONDS = 10


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


def serve(name: str, port: int, setting: str, build: Callable[[], Any]) -> None:
    """Parse `--host`, bind, build the app and run it until SIGINT or SIGTERM.

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
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    # What is loaded by now stays: the collector need not walk it again and again under load.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    server = uvicorn.Server(config)
    # After its graceful stop the server raises the signal once more, which would kill the process
    # before the caller can let go of the databases.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: None)
    server.run(sockets=[listener])
    if not server.started:
        sys.exit(1)
