"""Forms batches of what arrives: full ones at once, the rest when the window closes (EMB-2)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

T = TypeVar("T")


async def in_batches(
    arriving: AsyncIterator[Sequence[T]], *, size: int, window_seconds: float
) -> AsyncIterator[list[T]]:
    """Lists of 1 to `size` items in the order of arrival; what arrives together is a sequence.

    A batch goes out when it is full, when `window_seconds` have passed since its first item, or
    when nothing more comes.
    """
    clock = asyncio.get_running_loop().time
    waiting: list[T] = []
    closes_at = 0.0
    upcoming = asyncio.ensure_future(_next(arriving))
    try:
        while True:
            await asyncio.wait([upcoming], timeout=closes_at - clock() if waiting else None)
            if not upcoming.done():
                yield waiting
                waiting = []
                continue
            arrived = upcoming.result()
            if arrived is None:
                break
            upcoming = asyncio.ensure_future(_next(arriving))
            if not waiting:
                closes_at = clock() + window_seconds
            waiting += arrived
            full = len(waiting) - len(waiting) % size
            for start in range(0, full, size):
                yield waiting[start : start + size]
            if full:
                waiting = waiting[full:]
                closes_at = clock() + window_seconds
        if waiting:
            yield waiting
    finally:
        upcoming.cancel()


async def at_once(items: Sequence[T]) -> AsyncIterator[Sequence[T]]:
    """What is all there already, as something that arrives."""
    yield items


async def _next(arriving: AsyncIterator[Sequence[T]]) -> Sequence[T] | None:
    return await anext(arriving, None)
