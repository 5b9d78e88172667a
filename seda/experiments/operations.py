"""What the services say of themselves at `/metrics`: latencies, errors, delays of notifications.

Counters only grow while a process lives, so what happened since an earlier look is a difference.
The API counts reads of lists by the arm of the person whose they are, in each region by itself.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

from seda.experiments.assignment import CANARY, CONTROL
from seda.settings import Settings

_TIMEOUT = httpx.Timeout(3.0, connect=1.0)
_ROUTES: Final = ("/feed", "/recommendations")
"""Of the API, those that serve recommendations."""
_LATENCY, _REQUESTS = "seda_http_request_seconds_bucket", "seda_http_requests_total"
_DELAY = "seda_realtime_event_lag_seconds_bucket"

Buckets = Mapping[str, float]
"""Upper edge in seconds, as Prometheus writes it → events up to it."""
NO_ARM: Final = "none"
"""What is counted for nobody's arm: requests that ended before the person's arm was known."""


@dataclass(frozen=True)
class Counters:
    """What services have counted; None where a service did not answer.

    Of the API by arm: `global/canary`, `global/control`, `eu/canary` … and `none`.
    """

    latencies: Mapping[str, Buckets] | None = None
    requests: Mapping[str, float] | None = None
    errors: Mapping[str, float] | None = None
    delays: Buckets | None = None

    @classmethod
    def stored(cls, known: Mapping[str, Any]) -> "Counters":
        """As they were noted with a look; what an older version noted of the API had no arms, and
        the processes that counted it are gone."""
        if isinstance(known.get("requests"), Mapping):
            return cls(**known)
        return cls(delays=known.get("delays"))

    def since(self, earlier: "Counters | None") -> "Counters":
        """What was counted after `earlier`; all of it where a process began anew meanwhile."""
        if earlier is None:
            return self
        delays = _less(self.delays, earlier.delays)
        if self._began_anew(earlier):
            return Counters(self.latencies, self.requests, self.errors, delays)
        before = earlier.latencies or {}
        latencies = self.latencies and {
            arm: _less(buckets, before.get(arm)) or {} for arm, buckets in self.latencies.items()
        }
        return Counters(
            latencies, _less(self.requests, earlier.requests or {}),
            _less(self.errors, earlier.errors or {}), delays,
        )  # fmt: skip

    def _began_anew(self, earlier: "Counters") -> bool:
        """Whether the API counts less of anything than it did."""
        return any(
            (now or {}).get(arm, 0.0) < count
            for now, then in ((self.requests, earlier.requests), (self.errors, earlier.errors))
            for arm, count in (then or {}).items()
        )


@dataclass(frozen=True)
class Requests:
    """What an arm's people asked of the API: how often, the P95 in seconds, and the share that
    ended in 5xx; None where it is not known."""

    count: int | None = None
    p95: float | None = None
    error_share: float | None = None


@dataclass(frozen=True)
class Operations:
    """The figures of the operational gates; delays of notifications are everybody's, in seconds,
    and None where they are not known."""

    canary: Requests = field(default_factory=Requests)
    control: Requests = field(default_factory=Requests)
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
    delays = None if realtime is None else _buckets(_samples(realtime, _DELAY))
    return Counters(latencies, requests, errors, delays)


def operations_of(counters: Counters, region: str, share: float) -> Operations:
    """Quantiles and shares of a region's arms; a quantile is as exact as the buckets are fine.

    `share` of the people are in the canary. Requests that failed before anybody knew whose they
    were, such as without a database, count for each arm in the proportion of its people.
    """
    return Operations(
        canary=_requests(counters, f"{region}/{CANARY}", share),
        control=_requests(counters, f"{region}/{CONTROL}", 1 - share),
        notifications=None if counters.delays is None else round(_total(counters.delays)),
        notification_p99=_quantile(counters.delays, 0.99),
    )


def _requests(counters: Counters, arm: str, share: float) -> Requests:
    if counters.requests is None or counters.errors is None:
        return Requests()
    unknown = share * counters.errors.get(NO_ARM, 0.0)
    count = counters.requests.get(arm, 0.0) + unknown
    errors = counters.errors.get(arm, 0.0) + unknown
    return Requests(
        round(count),
        _quantile((counters.latencies or {}).get(arm), 0.95),
        errors / count if count else None,
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


def _of_api(
    texts: Sequence[str],
) -> tuple[dict[str, Buckets], dict[str, float], dict[str, float]]:
    requests: dict[str, float] = defaultdict(float)
    errors: dict[str, float] = defaultdict(float)
    for labels, amount in _samples(texts, _REQUESTS):
        if labels["route"].startswith(_ROUTES):
            requests[_arm(labels)] += amount
            errors[_arm(labels)] += amount if labels["status"] == "5xx" else 0.0
    observed = defaultdict(list)
    for labels, amount in _samples(texts, _LATENCY):
        if labels["route"].startswith(_ROUTES):
            observed[_arm(labels)].append((labels, amount))
    return {arm: _buckets(each) for arm, each in observed.items()}, dict(requests), dict(errors)


def _arm(labels: Mapping[str, str]) -> str:
    # A process of an older version, while a new one is rolled out, knows no arms.
    return f"{labels['region']}/{labels['arm']}" if labels.get("arm") else NO_ARM


def _buckets(samples: Iterable[tuple[Mapping[str, str], float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for labels, amount in samples:
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


def _less(
    now: Mapping[str, float] | None, earlier: Mapping[str, float] | None
) -> Mapping[str, float] | None:
    if now is None or earlier is None or any(now.get(k, 0) < v for k, v in earlier.items()):
        return now
    return {key: count - earlier.get(key, 0.0) for key, count in now.items()}


def _addresses(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())
