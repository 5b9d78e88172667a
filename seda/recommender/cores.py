"""How the room uses the processor: its own threads over users, one BLAS thread in each of them.

Kernels release the interpreter lock, so plain threads scale; BLAS threads inside them would only
compete (ALS runs twice as fast with one).
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

Work = TypeVar("Work")
Result = TypeVar("Result")


def available_cores() -> int:
    """Cores this process may use (its affinity, where the system tells)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Limits BLAS to one thread, process-wide, while the block runs."""
    with _controller().limit(limits=1, user_api="blas"):
        yield


def map_over_threads(
    function: Callable[[Work], Result], work: Iterable[Work], threads: int | None
) -> list[Result]:
    """`function` of each piece of work, in order, on `threads` threads (None: all cores)."""
    pieces = list(work)
    workers = min(threads or available_cores(), len(pieces))
    with single_threaded_blas():
        if workers <= 1:
            return [function(piece) for piece in pieces]
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(function, pieces))


def one_ahead(function: Callable[[Work], Result], work: Iterable[Work]) -> Iterator[Result]:
    """`function` of each piece of work, in order; while one is used, the next is made."""
    with ThreadPoolExecutor(1) as ahead:
        pending: Future[Result] | None = None
        for piece in work:
            following = ahead.submit(function, piece)
            if pending is not None:
                yield pending.result()
            pending = following
        if pending is not None:
            yield pending.result()
