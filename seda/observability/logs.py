"""Logs as JSON, one object a line, without personal data, and never in the way of a request.

An exception is told by its types, its SQLSTATE and where it happened; never by its message, which
may quote a person's value (Postgres names the row that a constraint refused).
"""

import logging
import os
import sys
import threading
import traceback
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO

import orjson

from seda.observability.scrubbing import scrub

FLUSH_SECONDS = 0.2
LARGEST_BACKLOG = 20_000
_DEEPEST_FRAMES = 12
_LONGEST_CHAIN = 5
_REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


_handlers: list["BackgroundHandler"] = []  # this process's, once it is configured


class JsonFormatter(logging.Formatter):
    """A record as one JSON object; `extra={"fields": {…}}` adds members, which are not scrubbed."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.name == "asyncio":
            message = message.partition("\n")[0]  # what follows is the repr of an exception
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": scrub(message),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["exceptions"] = [_told(each) for each in _chain(record.exc_info[1])]
        return orjson.dumps(line, default=lambda _: "?").decode("utf-8", "replace")


class BackgroundHandler(logging.Handler):
    """Writes lines from a thread of its own: a full pipe or a slow disk holds no request up.

    Where more than `LARGEST_BACKLOG` lines wait, further ones are dropped and counted in the log.
    """

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: deque[bytes] = deque()
        self._dropped = 0
        self._wake = threading.Event()
        self._writing = threading.Lock()
        threading.Thread(target=self._run, name="log writer", daemon=True).start()

    def take(self, line: bytes) -> None:
        """Write the line, which ends with a newline, soon."""
        if len(self._lines) >= LARGEST_BACKLOG:
            self._dropped += 1
        else:
            self._lines.append(line)

    def emit(self, record: logging.LogRecord) -> None:
        self.take(self.format(record).encode() + b"\n")
        if record.levelno >= logging.ERROR:
            self._wake.set()

    def flush(self) -> None:
        with self._writing:
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            if self._dropped:
                lost, self._dropped = self._dropped, 0
                lines.append(orjson.dumps({"event": "lines were dropped", "count": lost}) + b"\n")
            if lines:
                self._stream.write(b"".join(lines))
                self._stream.flush()

    def _run(self) -> None:
        while True:
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            try:
                self.flush()
            except (OSError, ValueError):
                return  # nobody reads any more


def tell(logger: str, event: str, fields: dict[str, Any]) -> None:
    """One line at INFO, without the cost of a record: for what every request says.

    Nothing happens where `configure_logs` was not called. Fields are not scrubbed.
    """
    if _handlers:
        now = datetime.now(UTC)
        head = {"time": now, "level": "info", "logger": logger, "event": event}
        _handlers[-1].take(orjson.dumps(head | fields, option=orjson.OPT_APPEND_NEWLINE))


def configure_logs(stream: BinaryIO | None = None) -> None:
    """Send every log of this process to the stream (stderr by default) as JSON, from INFO on."""
    handler = BackgroundHandler(stream or sys.stderr.buffer)
    handler.setFormatter(JsonFormatter())
    _handlers[:] = [handler]
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    # Nobody reads a record's source line, thread or process: do not look them up for each request.
    logging._srcfile = None
    for looked_up in ("logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"):
        setattr(logging, looked_up, False)


def _chain(problem: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = problem
    for _ in range(_LONGEST_CHAIN):
        if found is None:
            return
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def _told(problem: BaseException) -> dict[str, Any]:
    kind = type(problem)
    told: dict[str, Any] = {"type": f"{kind.__module__}.{kind.__qualname__}"}
    for name in ("sqlstate", "constraint_name", "errno"):
        value = getattr(problem, name, None)
        if isinstance(value, str | int):
            told[name] = value
    frames = traceback.extract_tb(problem.__traceback__)[-_DEEPEST_FRAMES:]
    told["frames"] = [f"{_short(each.filename)}:{each.lineno} {each.name}" for each in frames]
    return told


def _short(path: str) -> str:
    for marker in ("site-packages/", _REPOSITORY + "/"):
        _, found, rest = path.partition(marker)
        if found:
            return rest
    return path
