"""Are ports free, and does a service answer yet?"""

import errno
import http.client
import socket
from collections.abc import Callable
from pathlib import Path

from seda.errors import SedaError

HOST = "127.0.0.1"
_ANSWER_SECONDS = 2.0

Probe = Callable[[], bool]
"""Says whether a service is ready; never raises."""


class PortUnavailableError(SedaError):
    """A port that a service needs cannot be had."""


def claim_ports(wanted: dict[str, int]) -> dict[str, int]:
    """The ports by setting, free ones in place of 0.

    Raises:
        PortUnavailableError: one is in use, not allowed, out of range, or wanted twice.
    """
    holders = []
    claimed: dict[str, int] = {}
    try:
        for setting, port in wanted.items():
            if port and port in claimed.values():
                raise PortUnavailableError(
                    f"Port {port} is wanted twice: give {setting} a port of its own."
                )
            holder = _bind(port, setting)
            holders.append(holder)
            claimed[setting] = holder.getsockname()[1]
    finally:
        for holder in holders:
            holder.close()
    return claimed


def _bind(port: int, setting: str) -> socket.socket:
    holder = socket.socket()
    # What a service that just ended leaves behind does not count; a listener does.
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        holder.bind((HOST, port))
    except (OSError, OverflowError) as problem:
        holder.close()
        if isinstance(problem, OverflowError):
            sentence = f"{setting}={port} is not a port: set it to a number from 1 to 65535."
        elif problem.errno == errno.EADDRINUSE:
            sentence = f"Port {port} is in use: stop what listens there or set {setting}."
        else:
            sentence = f"Port {port} cannot be used ({problem.strerror}): set {setting} to another."
        raise PortUnavailableError(sentence) from problem
    return holder


def answers_http(port: int, path: str) -> Probe:
    """Ready when `GET path` is 200; proxies of the environment do not apply."""

    def probe() -> bool:
        connection = http.client.HTTPConnection(HOST, port, timeout=_ANSWER_SECONDS)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return probe


def accepts_tcp(port: int) -> Probe:
    """Ready when the port accepts a connection."""

    def probe() -> bool:
        try:
            socket.create_connection((HOST, port), timeout=_ANSWER_SECONDS).close()
        except OSError:
            return False
        return True

    return probe


def accepts_socket(path: Path) -> Probe:
    """Ready when the Unix socket accepts a connection."""

    def probe() -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_ANSWER_SECONDS)
            try:
                connection.connect(str(path))
            except OSError:
                return False
        return True

    return probe
