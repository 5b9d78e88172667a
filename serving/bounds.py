"""How large a request may be, and how long its body may take: 413, 414, 431 and 408."""

import asyncio
import time

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.problems import ProblemError, respond

LARGEST_TARGET_BYTES = 8 * 1024
LARGEST_HEADERS_BYTES = 32 * 1024
BODY_SECONDS = 10.0

_CLOSE = {"Connection": "close"}  # what is left of the request is not read


class Bounds:
    """ASGI middleware: refuses what is too large before anything reads it.

    A body's declared length is believed when it is too large, and counted when it is not, so one
    without a length is bounded too.
    """

    def __init__(self, app: ASGIApp, largest_body: int) -> None:
        self.app = app
        self._largest_body = largest_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        problem, has_body = self._examine(scope)
        if problem is not None:
            request_id = scope.get("state", {}).get("request_id")
            await respond(problem, request_id)(scope, receive, send)
            return
        await self.app(scope, self._counted(receive) if has_body else receive, send)

    def _examine(self, scope: Scope) -> tuple[ProblemError | None, bool]:
        has_body = False
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > LARGEST_TARGET_BYTES:
            return _refusal(414, "address_too_long", "The request's address is too long."), False
        total = 0
        for name, value in scope["headers"]:
            total += len(name) + len(value)
            if name == b"content-length":
                has_body = True
                # llhttp has refused what is no number.
                if len(value) > 18 or (value.isdigit() and int(value) > self._largest_body):
                    return self._too_large(), False
            elif name == b"transfer-encoding":
                has_body = True
        if total > LARGEST_HEADERS_BYTES:
            return _refusal(431, "head_too_large", "The request's headers are too large."), False
        return None, has_body

    def _counted(self, receive: Receive) -> Receive:
        received = 0
        ends_at: float | None = time.monotonic() + BODY_SECONDS

        async def counted() -> Message:
            nonlocal received, ends_at
            if ends_at is None:
                return await receive()  # waits for the client to leave
            try:
                message = await asyncio.wait_for(receive(), ends_at - time.monotonic())
            except TimeoutError:
                raise HTTPException(408, headers=_CLOSE) from None
            received += len(message.get("body", b""))
            if received > self._largest_body:
                raise HTTPException(413, headers=_CLOSE)
            if not message.get("more_body", False):
                ends_at = None
            return message

        return counted

    def _too_large(self) -> ProblemError:
        return _refusal(413, "body_too_large", "The body is too large: send less at a time.")


def _refusal(status: int, code: str, detail: str) -> ProblemError:
    return ProblemError(status, code, detail, headers=_CLOSE)
