"""uvicorn's HTTP connection, with bounds on a request's head and problem details for what is not
HTTP at all.

Bodies, addresses and single headers are bounded in `serving.bounds`, where an app can answer.
"""

from asyncio import TimerHandle, Transport
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.problems import MEDIA_TYPE, ProblemError

HEAD_SECONDS = 10.0
LARGEST_HEAD_BYTES = 64 * 1024


class BoundedHttp(HttpToolsProtocol):
    """Refuses a head that is longer than `LARGEST_HEAD_BYTES` or takes longer than `HEAD_SECONDS`.

    Without it, a client that sends one byte a minute keeps a connection for ever.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._in_head = True
        self._head_bytes = 0
        self._arriving = 0
        self._too_slow: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._too_slow = self.loop.call_later(HEAD_SECONDS, self._head_too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._arriving = len(data)
        self._head_bytes += self._arriving
        super().data_received(data)
        if not self._in_head:
            self._disarm()
        elif self._head_bytes > LARGEST_HEAD_BYTES:
            self._refuse(431, "head_too_large", "The request's head is too large.")
        elif self._too_slow is None and self._head_bytes and not self.transport.is_closing():
            self._too_slow = self.loop.call_later(HEAD_SECONDS, self._head_too_slow)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = self._arriving

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "malformed_request", "This is not a valid HTTP request.")

    def _head_too_slow(self) -> None:
        self._too_slow = None
        self._refuse(408, "head_too_slow", "The request's head did not arrive in time.")

    def _disarm(self) -> None:
        if self._too_slow is not None:
            self._too_slow.cancel()
            self._too_slow = None

    def _refuse(self, status: int, code: str, sentence: str) -> None:
        self._disarm()
        if self.transport.is_closing():
            return
        body = orjson.dumps(ProblemError(status, code, sentence).document())
        head = f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\nconnection: close"
        self.transport.write(b"%b%b\r\n\r\n%b" % (STATUS_LINE[status], head.encode(), body))
        self.transport.close()
