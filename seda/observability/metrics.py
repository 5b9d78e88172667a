"""Rows of numbers, as the databases keep them, in Prometheus' text format.

State that several workers share (breakers, ledger, queue) is not counted in any process: it is read
from the database when it is asked for, so every scrape sees the same whoever answers.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Sample:
    """One number: which metric, with which labels."""

    metric: str
    labels: Mapping[str, str]
    amount: float


@dataclass(frozen=True, slots=True)
class Description:
    """What a metric is called outside, what it says, and its labels."""

    name: str
    text: str
    labels: tuple[str, ...]
    is_counter: bool = False


EMBEDDINGS: Final[Mapping[str, Description]] = {
    "breaker_phase": Description(
        "seda_embedding_breaker_phase",
        "Circuit breaker of a provider: 0 closed, 1 half open, 2 open.",
        ("region", "provider"),
    ),
    "month_usd": Description(
        "seda_embedding_month_usd",
        "Dollars spent or reserved in this calendar month (UTC).",
        ("region", "provider", "job"),
    ),
    "cap_usd": Description(
        "seda_embedding_cap_usd", "Dollars that the month may cost.", ("region",)
    ),
    "override_cap_usd": Description(
        "seda_embedding_override_cap_usd", "The cap of an override that is in force.", ("region",)
    ),
    "requests": Description(
        "seda_embedding_requests",
        "Requests to a provider by how they ended.",
        ("region", "provider", "outcome"),
        is_counter=True,
    ),
    "p95_latency_seconds": Description(
        "seda_embedding_p95_latency_seconds",
        "P95 of a provider's answers over the last five minutes.",
        ("region", "provider"),
    ),
    "waiting_texts": Description(
        "seda_embedding_waiting_texts",
        "Texts that wait for a vector, by why.",
        ("region", "space", "reason"),
    ),
    "oldest_waiting_seconds": Description(
        "seda_embedding_oldest_waiting_seconds",
        "How long the oldest text has waited.",
        ("region", "space"),
    ),
    "vector_search_seconds": Description(
        "seda_vector_search_seconds",
        "Unfiltered searches through a vector index when they were last measured.",
        ("region", "entity_type", "quantile"),
    ),
    "database_connections": Description(
        "seda_database_connections",
        "Connections of this process to the region's database.",
        ("region", "state"),
    ),
    "database_connections_limit": Description(
        "seda_database_connections_limit", "The most of them that may be open.", ("region",)
    ),
    "database_up": Description(
        "seda_database_up", "Whether the region's database answered this scrape.", ("region",)
    ),
}


def exposition(samples: Iterable[Sample]) -> bytes:
    """The samples in Prometheus' text format; a metric that is not described is refused.

    Raises:
        KeyError: nobody described the metric.
    """
    registry = CollectorRegistry()
    registry.register(_Samples(list(samples)))
    return generate_latest(registry)


class _Samples(Collector):
    """Answers one scrape."""

    def __init__(self, samples: list[Sample]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        for sample in self._samples:
            description = EMBEDDINGS[sample.metric]
            if sample.metric not in families:
                kind = CounterMetricFamily if description.is_counter else GaugeMetricFamily
                families[sample.metric] = kind(
                    description.name, description.text, labels=description.labels
                )
            labels = [sample.labels[label] for label in description.labels]
            families[sample.metric].add_metric(labels, sample.amount)
        yield from families.values()
