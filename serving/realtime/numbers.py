"""What the real-time service counts of itself, for `/metrics`: numbers only, nobody's rows."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

# The target (200 ms), the window (250 ms) and the SLO (500 ms) are edges of buckets.
LAG_BUCKETS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 1.0, 2.5, 10.0)
TICK_BUCKETS: Final = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)


class Numbers:
    """The numbers of one process."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.connections = Gauge(
            "seda_realtime_connections", "Clients that are connected.", registry=registry
        )
        self.queue_depth = Gauge(
            "seda_realtime_queue_depth",
            "What waits: intents for their commit, viewers for their message, toasts for a look.",
            ("queue",), registry=registry,
        )  # fmt: skip
        self.heard = Counter(
            "seda_realtime_presence_changes", "Presence changes that were announced.",
            registry=registry,
        )  # fmt: skip
        self.lag = Histogram(
            "seda_realtime_event_lag_seconds",
            "From the oldest event of a presence message to its emission.",
            buckets=LAG_BUCKETS, registry=registry,
        )  # fmt: skip
        self.tick = Histogram(
            "seda_realtime_tick_seconds", "What a tick of the fan-out took.",
            buckets=TICK_BUCKETS, registry=registry,
        )  # fmt: skip
        self.changes = Counter(
            "seda_realtime_changes_told", "Changes that presence messages told of.",
            registry=registry,
        )  # fmt: skip
        self.shed = Counter(
            "seda_realtime_shed", "Presence messages without faces: the fan-out was behind.",
            registry=registry,
        )  # fmt: skip
        self.feeds = Counter(
            "seda_realtime_feed_updates", "Feeds that clients were told of.", registry=registry
        )
        self.toasts = Counter(
            "seda_realtime_toasts", "Toasts by what became of them.", ("outcome",),
            registry=registry,
        )  # fmt: skip
        self.intents = Counter(
            "seda_realtime_intents", "Intents by how they were acknowledged.", ("outcome",),
            registry=registry,
        )  # fmt: skip

    def exposition(self) -> bytes:
        """The numbers in Prometheus' text format."""
        return generate_latest(self.registry)
