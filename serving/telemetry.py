"""What every request cost and how it ended: a histogram, a counter and one line of log.

Told by the route's template and the region, never by path, query, person or address. Reads of
personal lists are also counted by the person's arm, so that a canary is judged by its own requests.
"""

import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seda.observability.logs import tell
from serving.draining import Draining

# The SLOs (120 ms, 250 ms), the alert (400 ms) and the gate (350 ms) are edges of buckets.
BUCKETS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.08, 0.12, 0.18, 0.25, 0.35, 0.4, 0.6, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
UNKNOWN: Final = "unknown"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

# Of the requests that read nobody's lists; `region` has a value where `arm` has: the others need
# not be multiplied by it.
NO_ARM: Final = ("", "")


@dataclass(slots=True)
class _Noted:
    """What a request has found out about itself."""

    region: str | None = None
    arm: str | None = None


_noted: ContextVar[_Noted] = ContextVar("noted")


def note_region(region: str) -> None:
    """Let the request's line say whose database answered."""
    noted = _noted.get(None)
    if noted is not None:
        noted.region = region


def note_arm(arm: str) -> None:
    """Count the request for this arm of the region's experiment, `control` where there is none."""
    noted = _noted.get(None)
    if noted is not None:
        noted.arm = arm


class Telemetry:
    """The numbers of one process; each app has its own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "seda_http_request_seconds",
            "Time from a request's head to the end of its response.",
            ("method", "route", "arm", "region"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._ended = Counter(
            "seda_http_requests",
            "Requests by route and class of status.",
            ("method", "route", "status", "arm", "region"),
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "seda_http_requests_in_flight", "Requests without a whole response yet.",
            registry=self.registry,
        )  # fmt: skip
        self._limited = Counter(
            "seda_rate_limited_requests", "Requests refused with 429, by which limit.",
            ("by",), registry=self.registry,
        )  # fmt: skip
        self._unchecked = Counter(
            "seda_rate_limiter_failures",
            "Checks that let a request pass because the limiter's store did not answer.",
            registry=self.registry,
        )
        self._histograms: dict[tuple[str, str, tuple[str, str]], Histogram] = {}
        self._counters: dict[tuple[str, str, tuple[str, str], int], Counter] = {}
        for by in ("person", "address"):
            self._limited.labels(by)

    def limited(self, by: str) -> None:
        """A request was refused by the limit per person or per address."""
        self._limited.labels(by).inc()

    def unchecked(self) -> None:
        """A request passed without being counted."""
        self._unchecked.inc()

    def ended(
        self, method: str, route: str, status: int, seconds: float,
        arm: tuple[str, str] = NO_ARM,
    ) -> None:  # fmt: skip
        """Count a request; `arm` is the arm of the person's lists and their region, once known."""
        # Children are kept: to look one up by its labels costs more than to count.
        key = (method, route, arm)
        histogram = self._histograms.get(key)
        if histogram is None:
            histogram = self._histograms[key] = self._seconds.labels(method, route, *arm)
        histogram.observe(seconds)
        counter = self._counters.get((*key, status // 100))
        if counter is None:
            counter = self._ended.labels(method, route, f"{status // 100}xx", *arm)
            self._counters[(*key, status // 100)] = counter
        counter.inc()

    def exposition(self) -> bytes:
        """The numbers in Prometheus' text format."""
        return generate_latest(self.registry)


class Observed:
    """ASGI middleware that measures, counts and logs; while draining it parts with clients."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry, draining: Draining) -> None:
        self.app = app
        self._telemetry = telemetry
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 500

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._draining.begun:
                    message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        noted = _Noted()
        token = _noted.set(noted)
        self._telemetry.in_flight.inc()
        began = time.perf_counter()
        try:
            await self.app(scope, receive, send_observed)
        finally:
            seconds = time.perf_counter() - began
            self._telemetry.in_flight.dec()
            _noted.reset(token)
            self._tell(scope, status, seconds, noted)

    def _tell(self, scope: Scope, status: int, seconds: float, noted: _Noted) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        route = _template(scope)
        arm = (noted.arm, noted.region) if noted.arm and noted.region else NO_ARM
        self._telemetry.ended(method, route, status, seconds, arm)
        tell(
            "serving.requests",
            "request",
            {
                "method": method,
                "route": route,
                "status": status,
                "ms": round(seconds * 1000, 2),
                "request_id": scope.get("state", {}).get("request_id"),
                "region": noted.region,
            },
        )


def _template(scope: Scope) -> str:
    route = scope.get("route")
    if route is not None:
        return str(route.path)
    # The pages of the documentation have an endpoint, no route object, and no parameters.
    return str(scope["path"]) if "endpoint" in scope else UNKNOWN
