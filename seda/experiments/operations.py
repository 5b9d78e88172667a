"""What the services say of themselves at `/metrics`: latencies, errors, delays of notifications.

Counters only grow while a process lives, so what happened since an earlier look is a difference.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

from seda.settings import Settings

_TIMEOUT = httpx.Timeout(3.0, connect=1.0)
_ROUTES: Final = ("/feed", "/recommendations")
"""Of the API, those that serve recommendations."""
_LATENCY, _REQUESTS = "seda_http_request_seconds_bucket", "seda_http_requests_total"
_DELAY = "seda_realtime_event_lag_seconds_bucket"

Buckets = Mapping[str, float]
"""Upper edge in seconds, as Prometheus writes it → events up to it."""


@dataclass(frozen=True)
class Counters:
    """What services have counted; None where a service did not answer."""

    latencies: Buckets | None = None
    requests: float | None = None
    errors: float | None = None
    delays: Buckets | None = None

    def since(self, earlier: "Counters | None") -> "Counters":
        """What was counted after `earlier`; all of it where a process began anew meanwhile."""
        if earlier is None:
            return self
        whole = _shrank(self.requests, earlier.requests) or _shrank(self.errors, earlier.errors)
        return Counters(
            self.latencies if whole else _less(self.latencies, earlier.latencies),
            self.requests if whole else _minus(self.requests, earlier.requests),
            self.errors if whole else _minus(self.errors, earlier.errors),
            _less(self.delays, earlier.delays),
        )


@dataclass(frozen=True)
class Operations:
    """The figures of the operational gates: seconds, and the share of requests that ended in 5xx;
    None where it is not known."""

    requests: int | None = None
    api_p95: float | None = None
    error_share: float | None = None
    notifications: int | None = None
    notification_p99: float | None = None


@dataclass(frozen=True)
class MetricsSources:
    """Addresses of `/metrics`: of every process of the API and of the real-time service."""

    api: Sequence[str] = field(default=())
    realtime: Sequence[str] = field(default=())

    @classmethod
    def of(cls, settings: Settings) -> "MetricsSources":
        """As configured; else the ports of this machine."""
        api = settings.api_metrics_urls or f"http://127.0.0.1:{settings.api_port}/metrics"
        realtime = settings.realtime_metrics_urls
        realtime = realtime or f"http://127.0.0.1:{settings.realtime_port}/metrics"
        return cls(_addresses(api), _addresses(realtime))


def scrape(sources: MetricsSources) -> Counters:
    """Ask every process; what one of a service's processes does not say, its service does not."""
    api, realtime = _texts(sources.api), _texts(sources.realtime)
    latencies, requests, errors = _of_api(api) if api is not None else (None, None, None)
    delays = None if realtime is None else _buckets(realtime, _DELAY, {})
    return Counters(latencies, requests, errors, delays)


def operations_of(counters: Counters) -> Operations:
    """Quantiles and shares; a quantile is as exact as the buckets are fine."""
    return Operations(
        requests=None if counters.requests is None else round(counters.requests),
        api_p95=_quantile(counters.latencies, 0.95),
        error_share=(counters.errors or 0) / counters.requests if counters.requests else None,
        notifications=None if counters.delays is None else round(_total(counters.delays)),
        notification_p99=_quantile(counters.delays, 0.99),
    )


def _texts(addresses: Sequence[str]) -> list[str] | None:
    texts = []
    with httpx.Client(timeout=_TIMEOUT, trust_env=False) as client:
        for address in addresses:
            try:
                answer = client.get(address)
            except httpx.HTTPError:
                return None  # "not known" is what the gate then says
            if answer.status_code != 200:
                return None
            texts.append(answer.text)
    return texts or None


def _of_api(texts: Iterable[str]) -> tuple[Buckets, float, float]:
    texts = list(texts)
    requests = errors = 0.0
    for labels, amount in _samples(texts, _REQUESTS):
        if labels["route"].startswith(_ROUTES):
            requests += amount
            errors += amount if labels["status"] == "5xx" else 0.0
    return _buckets(texts, _LATENCY, {"route": _ROUTES}), requests, errors


def _buckets(
    texts: Iterable[str], name: str, wanted: Mapping[str, tuple[str, ...]]
) -> dict[str, float]:
    found: dict[str, float] = {}
    for labels, amount in _samples(texts, name):
        if all(labels[label].startswith(starts) for label, starts in wanted.items()):
            found[labels["le"]] = found.get(labels["le"], 0.0) + amount
    return found


def _samples(texts: Iterable[str], name: str) -> Iterable[tuple[Mapping[str, str], float]]:
    for text in texts:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name:
                    yield sample.labels, sample.value


def _quantile(buckets: Buckets | None, share: float) -> float | None:
    """Linear within its bucket, as Prometheus does it; the last edge for what is beyond it."""
    if not buckets or not _total(buckets):
        return None
    wanted, low, below = share * _total(buckets), 0.0, 0.0
    for edge, count in sorted((float(edge), count) for edge, count in buckets.items()):
        if count >= wanted:
            if edge == float("inf"):
                return low
            return low + (edge - low) * (wanted - below) / (count - below or 1.0)
        low, below = edge, count
    return low


def _total(buckets: Buckets) -> float:
    return max(buckets.values(), default=0.0)


def _less(now: Buckets | None, earlier: Buckets | None) -> Buckets | None:
    if now is None or earlier is None or any(now.get(k, 0) < v for k, v in earlier.items()):
        return now
    return {edge: count - earlier.get(edge, 0.0) for edge, count in now.items()}


def _minus(now: float | None, earlier: float | None) -> float | None:
    return now if now is None or earlier is None else now - earlier


def _shrank(now: float | None, earlier: float | None) -> bool:
    return now is not None and earlier is not None and now < earlier


def _addresses(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())
