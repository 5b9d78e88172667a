"""Turns Ctrl-C, SIGTERM and a closed terminal into one exception.

What must not be cut in half (starting a server, say) holds the signals; once things are being
stopped, more signals change nothing.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ECHO_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1
# Loaded here: between fork and exec nothing may be imported.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class StopRequested(KeyboardInterrupt):
    """Somebody asked this process to stop."""


class _Requests:
    """What has been asked of this process so far; signal handlers belong to the whole process."""

    def __init__(self) -> None:
        self.listeners = 0
        self.holds = 0
        self.waiting = False
        self.stopping = False
        self.raised_at = -_ECHO_SECONDS

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        # `make` passes on a SIGTERM that the whole process group got already: the second one must
        # not interrupt what the first one made us clean up.
        echo = time.monotonic() - self.raised_at < _ECHO_SECONDS
        if self.stopping or echo:
            return
        if self.holds:
            self.waiting = True
            return
        self.stop()

    def stop(self) -> None:
        self.waiting = False
        self.raised_at = time.monotonic()
        raise StopRequested


_requests = _Requests()


@contextmanager
def stop_signals() -> Iterator[None]:
    """Within, a stopping signal raises `StopRequested` in the main thread.

    A SIGHUP that `nohup` switched off stays off. Blocks may be nested; the outermost one counts.
    """
    before = {}
    if _requests.listeners == 0:
        _requests.stopping, _requests.raised_at = False, -_ECHO_SECONDS
        for number in _STOPPING:
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            before[number] = signal.signal(number, _requests.on_signal)
    _requests.listeners += 1
    try:
        yield
    finally:
        _requests.listeners -= 1
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def held_signals() -> Iterator[None]:
    """Within, a stopping signal waits; `StopRequested` is raised after the block.

    Also where the block failed: what it had started may have got the same Ctrl-C.
    """
    _requests.holds += 1
    try:
        yield
    finally:
        _requests.holds -= 1
        if _requests.waiting and not _requests.holds and not _requests.stopping:
            _requests.stop()


def ignore_further_signals() -> None:
    """From now on this process is stopping, and need not be asked again."""
    _requests.stopping = True


def die_with_parent() -> None:
    """Ask Linux to send this process SIGTERM when its parent dies, be it by SIGKILL."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


def follow_make() -> None:
    """On Linux, stop when the `make` that started this process is killed."""
    try:
        with open(f"/proc/{os.getppid()}/comm") as file:
            parent = file.read().strip()
    except OSError:
        return
    if parent in ("make", "gmake"):
        die_with_parent()
