"""Answers that come late, or only by half."""

import asyncio
from collections.abc import Mapping

from starlette.types import Receive, Send


async def hangs_up_within(seconds: float, receive: Receive) -> bool:
    """Wait; True as soon as the caller has gone."""
    if not seconds:
        return False
    try:
        async with asyncio.timeout(seconds):
            return (await receive())["type"] == "http.disconnect"
    except TimeoutError:
        return False


async def send_half(status: int, headers: Mapping[str, str], body: bytes, send: Send) -> None:
    """Promise the whole body, send half of it and return: the server then drops the connection."""
    headers = {**headers, "content-length": str(len(body))}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    half = body[: len(body) // 2]
    await send({"type": "http.response.body", "body": half, "more_body": True})
