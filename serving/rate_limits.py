"""How often a person and an address may ask (API-6): fixed windows of a minute, by `limits`.

Counted in Redis where one is configured, so that all processes count together, else in this
process. A limiter that cannot count lets everybody pass, and says so in a metric.
"""

import asyncio
import ipaddress
import logging
import math
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import RedisStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter
from starlette.types import ASGIApp, Receive, Scope, Send

from seda.settings import Settings
from serving.problems import ProblemError, respond
from serving.window_counts import WindowCounts

STORE_SECONDS = 0.1
RETRY_STORE_AFTER_SECONDS = 1.0
EXEMPT: Final = frozenset({"/healthz", "/readyz", "/metrics"})

_logger = logging.getLogger("serving")


class RateLimits:
    """The two limits over one store; `failed()` and `refused(by)` are told of what happens.

    A key is a keyed hash: nobody's subject or address is kept, not even for a minute.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        failed: Callable[[], None],
        refused: Callable[[str], None],
    ) -> None:
        self._secret = settings.cursor_secret().encode()[:64]
        self._limiter = FixedWindowRateLimiter(_store(settings))
        self._in_process = settings.redis_url is None
        self._person = _per_minute(settings.rate_limit_person)
        self._address = _per_minute(settings.rate_limit_address)
        self._failed = failed
        self._refused = refused
        self._store_down_until = -math.inf

    async def check_person(self, subject: str) -> None:
        """Count a request of a verified person.

        Raises:
            ProblemError: 429, with the seconds until the next one is taken.
        """
        if self._person is not None:
            await self._check(self._person, "person", subject)

    async def check_address(self, address: str) -> None:
        """Count a request from an address; IPv6 counts by the network of a household.

        Raises:
            ProblemError: 429, with the seconds until the next one is taken.
        """
        if self._address is not None:
            await self._check(self._address, "address", _household(address))

    async def _check(self, limit: RateLimitItem, by: str, whom: str) -> None:
        key = f"{by}/{blake2b(whom.encode(), key=self._secret, digest_size=16).hexdigest()}"
        if self._in_process:
            if await self._limiter.hit(limit, key):
                return
            resets_at: float | None = (await self._limiter.get_window_stats(limit, key)).reset_time
        else:
            resets_at = await self._ask_store(limit, key)
        if resets_at is None:
            return
        self._refused(by)
        raise _too_many(limit, by, resets_at)

    async def _ask_store(self, limit: RateLimitItem, key: str) -> float | None:
        """When the exhausted window ends; None for a request that may pass."""
        if time.monotonic() >= self._store_down_until:
            try:
                async with asyncio.timeout(STORE_SECONDS):
                    if await self._limiter.hit(limit, key):
                        return None
                    return (await self._limiter.get_window_stats(limit, key)).reset_time
            except Exception as problem:
                # Whatever it was, it is no reason to turn somebody away.
                self._store_down_until = time.monotonic() + RETRY_STORE_AFTER_SECONDS
                _logger.warning("the rate limiter's store fails: %s", type(problem).__name__)
        self._failed()
        return None


class AddressLimit:
    """ASGI middleware: 429 for an address that asks too often, before anything is verified."""

    def __init__(self, app: ASGIApp, limits: RateLimits) -> None:
        self.app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if scope["type"] == "http" and client and scope["path"] not in EXEMPT:
            try:
                await self._limits.check_address(client[0])
            except ProblemError as problem:
                request_id = scope.get("state", {}).get("request_id")
                await respond(problem, request_id)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _store(settings: Settings) -> Storage:
    if settings.redis_url is None:
        return WindowCounts()
    url = settings.redis_url.get_secret_value()
    url = f"redis+{url}" if url.startswith("unix:") else url
    return RedisStorage(
        f"async+{url}",
        key_prefix="seda:rate",
        connect_timeout=STORE_SECONDS,
        stream_timeout=STORE_SECONDS,
    )


def _per_minute(requests: int) -> RateLimitItem | None:
    return RateLimitItemPerMinute(requests) if requests else None


def _household(address: str) -> str:
    if ":" not in address:
        return address
    try:
        return str(ipaddress.IPv6Network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address


def _too_many(limit: RateLimitItem, by: str, resets_at: float) -> ProblemError:
    seconds = max(1, math.ceil(resets_at - time.time()))
    return ProblemError(
        429,
        "too_many_requests",
        f"More than {limit.amount} requests a minute: try again in {seconds} s.",
        headers={
            "Retry-After": str(seconds),
            "RateLimit-Policy": f'"{by}";q={limit.amount};w={limit.get_expiry()}',
            "RateLimit": f'"{by}";r=0;t={seconds}',
        },
    )
