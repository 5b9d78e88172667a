"""Batches go out full, or when their window closes; nothing is lost or reordered."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seda.embeddings.batching import at_once, in_batches


async def _collected(arriving: AsyncIterator, size: int, window: float = 60.0) -> list[list]:
    return [batch async for batch in in_batches(arriving, size=size, window_seconds=window)]


async def test_full_batches_go_at_once_and_the_rest_at_the_end() -> None:
    assert await _collected(at_once(range(5)), 2) == [[0, 1], [2, 3], [4]]
    assert await _collected(at_once([]), 2) == []


async def test_a_window_that_closes_sends_what_is_there() -> None:
    gate = asyncio.Event()

    async def arriving() -> AsyncIterator[list[int]]:
        yield [1]
        yield [2]
        await gate.wait()
        yield [3]

    batches = in_batches(arriving(), size=10, window_seconds=0.02)
    assert await anext(batches) == [1, 2]
    gate.set()
    assert [batch async for batch in batches] == [[3]]


async def test_what_arrives_within_the_window_shares_a_batch() -> None:
    async def arriving() -> AsyncIterator[list[int]]:
        for number in range(6):
            yield [number]
            await asyncio.sleep(0)

    assert await _collected(arriving(), 4) == [[0, 1, 2, 3], [4, 5]]


async def test_a_failing_source_fails_the_batches() -> None:
    async def arriving() -> AsyncIterator[list[int]]:
        yield [1]
        raise OSError("the cursor broke")

    with pytest.raises(OSError, match="cursor"):
        await _collected(arriving(), 4)


@given(st.lists(st.lists(st.integers(), max_size=7), max_size=12), st.integers(1, 5))
def test_every_item_comes_once_in_order_and_no_batch_is_too_large(chunks, size) -> None:
    async def arriving() -> AsyncIterator[list[int]]:
        for chunk in chunks:
            yield chunk

    batches = asyncio.run(_collected(arriving(), size))
    assert [item for batch in batches for item in batch] == [i for c in chunks for i in c]
    assert all(0 < len(batch) <= size for batch in batches)
    assert all(len(batch) == size for batch in batches[:-1])
