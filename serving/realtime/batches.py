"""What many connections ask for at once, done together: one statement, one commit for all.

The next batch is whatever came in while the one before was being committed: nobody waits for a
timer, and a storm of requests makes larger batches, not more of them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

import asyncpg

from serving.problems import DatabaseUnavailableError

K = TypeVar("K", bound=Hashable)
Item = TypeVar("Item")
Result = TypeVar("Result")

MOST = 500
"""Items in one batch."""

# What passes when it is tried again, unlike an item that the database refuses.
PASSING = (
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InsufficientResourcesError,
)


class Batches(Generic[K, Item, Result]):
    """`write(key, items)` gives a result, or an exception, for each item, in their order."""

    def __init__(
        self,
        write: Callable[[K, Sequence[Item]], Awaitable[Sequence[Result | Exception]]],
        most: int = MOST,
    ) -> None:
        self._write = write
        self._most = most
        self._waiting: dict[K, list[tuple[Item, asyncio.Future[Result]]]] = {}
        self._writers: dict[K, asyncio.Task[None]] = {}

    @property
    def depth(self) -> int:
        """Items that wait."""
        return sum(len(waiting) for waiting in self._waiting.values())

    async def submit(self, key: K, item: Item) -> Result:
        """Returns when the item's batch is committed.

        Raises:
            ProblemError: what `write` gave for the item, or 503.
        """
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append((item, done))
        if key not in self._writers:
            self._writers[key] = asyncio.create_task(self._write_all(key))
        return await done

    async def _write_all(self, key: K) -> None:
        try:
            while waiting := self._waiting.pop(key, None):
                for start in range(0, len(waiting), self._most):
                    await self._write_batch(key, waiting[start : start + self._most])
        finally:
            del self._writers[key]

    async def _write_batch(
        self, key: K, batch: Sequence[tuple[Item, asyncio.Future[Result]]]
    ) -> None:
        results: Sequence[Any]
        try:
            results = await self._write(key, [item for item, _ in batch])
        except asyncpg.PostgresError as problem:
            if len(batch) > 1 and not isinstance(problem, PASSING):
                for each in batch:  # one item must not cost the others theirs
                    await self._write_batch(key, [each])
                return
            passing = isinstance(problem, PASSING)
            results = [DatabaseUnavailableError(str(key)) if passing else problem] * len(batch)
        except Exception as problem:
            results = [problem] * len(batch)
        for (_, done), result in zip(batch, results, strict=True):
            if done.done():  # whoever asked is gone
                continue
            if isinstance(result, Exception):
                done.set_exception(result)
            else:
                done.set_result(result)
