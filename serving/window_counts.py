"""Counts of requests per window in this process's memory, as a storage of the `limits` library.

The library's own storage in memory looks at every key after every hit: 25,000 people would cost
each request milliseconds. This one forgets ended windows when it has doubled.
"""

import time

from limits.aio.storage import Storage

_FEWEST_BEFORE_SWEEP = 4096


class WindowCounts(Storage):
    """Fixed windows, each from its first hit; O(1) per hit, amortised."""

    STORAGE_SCHEME = None

    def __init__(self) -> None:
        super().__init__()
        self._windows: dict[str, tuple[int, float]] = {}
        self._sweep_at = _FEWEST_BEFORE_SWEEP

    @property
    def base_exceptions(self) -> type[Exception]:
        return OSError

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        now = time.time()
        count, ends_at = self._windows.get(key, (0, 0.0))
        if ends_at <= now:
            count, ends_at = 0, now + expiry
            if len(self._windows) >= self._sweep_at:
                self._sweep(now)
        self._windows[key] = (count + amount, ends_at)
        return count + amount

    async def get(self, key: str) -> int:
        count, ends_at = self._windows.get(key, (0, 0.0))
        return count if ends_at > time.time() else 0

    async def get_expiry(self, key: str) -> float:
        return self._windows.get(key, (0, time.time()))[1]

    async def check(self) -> bool:
        return True

    async def reset(self) -> int:
        found = len(self._windows)
        self._windows.clear()
        return found

    async def clear(self, key: str) -> None:
        self._windows.pop(key, None)

    def _sweep(self, now: float) -> None:
        self._windows = {key: window for key, window in self._windows.items() if window[1] > now}
        self._sweep_at = max(_FEWEST_BEFORE_SWEEP, 2 * len(self._windows))
