"""What a replay measured, as figures: percentiles, losses, caps, and how busy the replayer was."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from seda.sandbox.replay.schedule import Plan
from seda.social.toasts import APART, TOASTS_PER_SESSION

SATURATED: Final = 0.85
"""From this share of a core on, a client process is slow itself."""
# Two toasts of one transaction's clock and of ours may be a little nearer than they were decided.
_TOLERANCE: Final = timedelta(seconds=1)


@dataclass(frozen=True)
class Difference:
    """Moves that viewers should have heard of, did, did not, and heard of too often."""

    expected: int
    delivered: int
    lost: int
    duplicated: int


@dataclass(frozen=True, eq=False)
class Messages:
    """One entry per `presence` message: `viewers` int32 positions among the clients; `since` and
    `arrived` float64, seconds since the epoch.
    """

    viewers: NDArray[np.int32]
    since: NDArray[np.float64]
    arrived: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Told:
    """One entry per room of a message: `viewers`, `rooms` int32 positions, `changes` int64."""

    viewers: NDArray[np.int32]
    rooms: NDArray[np.int32]
    changes: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Toasts:
    """One entry per toast, as `Messages`; `at` is the server's moment."""

    viewers: NDArray[np.int32]
    at: NDArray[np.float64]
    arrived: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Heard:
    """Everything that the clients heard; `elsewhere` counts changes of rooms that are not ours.

    `late` float64: by how many seconds the clients' event loop was late, sampled.
    """

    messages: Messages
    told: Told
    toasts: Toasts
    elsewhere: int = 0
    connected: int = 0
    lost_connections: int = 0
    late: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True, eq=False)
class Sent:
    """What went in, one entry per batch: `due` and `done` float64 seconds since the epoch."""

    moves: int
    repeats: int
    refused: int
    started: float
    due: NDArray[np.float64]
    done: NDArray[np.float64]

    def rate(self) -> float:
        """Moves a second, from the first to the last."""
        took = float(self.done.max()) - self.started if len(self.done) else 0.0
        return self.moves / took if took > 0 else 0.0


@dataclass(frozen=True)
class Latencies:
    """Milliseconds."""

    count: int
    p50: float
    p95: float
    p99: float
    most: float


@dataclass(frozen=True)
class Load:
    """A process and the share of a core that it used during the moves."""

    name: str
    cores: float


@dataclass(frozen=True, eq=False)
class Report:
    """One replay."""

    plan: Plan
    clients: int
    people: int
    sent: Sent
    heard: Heard
    difference: Difference
    delivery: Latencies
    toast_latency: Latencies
    most_toasts: int
    caps_violated: int
    loads: tuple[Load, ...]

    @property
    def faithful(self) -> bool:
        """Every viewer heard of every move exactly once, no cap was broken, everybody stayed."""
        difference, heard = self.difference, self.heard
        wrong = difference.lost + difference.duplicated + self.caps_violated + self.sent.refused
        return not wrong and heard.connected == self.clients and not heard.lost_connections

    @property
    def saturated(self) -> bool:
        """The replayer itself was too busy for its latencies to be the service's."""
        return any(load.cores >= SATURATED for load in self.loads if load.name in OWN)


CLIENTS: Final = "clients"
INTAKE: Final = "injection"
OWN: Final = frozenset({CLIENTS, INTAKE})


def latencies(seconds: NDArray[np.float64]) -> Latencies:
    """Percentiles of durations in seconds; NaN where there are none."""
    if not len(seconds):
        return Latencies(0, np.nan, np.nan, np.nan, np.nan)
    p50, p95, p99, most = np.percentile(seconds * 1e3, [50, 95, 99, 100]).tolist()
    return Latencies(len(seconds), p50, p95, p99, most)


def delivery(heard: Heard, closing_at: float) -> Latencies:
    """From the oldest move that a message coalesces, for messages whose moves came before then."""
    messages = heard.messages
    measured = messages.since < closing_at
    return latencies((messages.arrived - messages.since)[measured])


def violations(toasts: Toasts) -> int:
    """Toasts beyond three a session, or nearer than ten minutes to the person's last (SOC-3).

    Every client is one session of one person.
    """
    wrong = 0
    order = np.lexsort((toasts.at, toasts.viewers))
    viewers, at = toasts.viewers[order], toasts.at[order]
    same = viewers[1:] == viewers[:-1]
    near = np.diff(at) < (APART - _TOLERANCE).total_seconds()
    wrong += int((same & near).sum())
    counts = np.bincount(viewers) if len(viewers) else np.zeros(1, np.int64)
    return wrong + int(np.maximum(counts - TOASTS_PER_SESSION, 0).sum())
