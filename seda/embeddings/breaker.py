"""The circuit breaker of one provider, as a pure state machine over the clock it is given.

Where its state is kept and shared is `breaker_rows`'s matter; what a call's outcome was, the
service's. The limits are SPEC EMB-3's.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum


class Phase(StrEnum):
    """Whether calls go through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Pass(StrEnum):
    """The breaker's answer to a caller."""

    GRANTED = "granted"
    PROBE = "probe"
    """Go, and you are the one whose outcome is watched."""
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens and closes."""

    max_error_rate: float = 0.02
    max_p95: timedelta = timedelta(seconds=1)
    sustained: timedelta = timedelta(seconds=60)
    """How long every look at the window must have been over a limit."""
    window: timedelta = timedelta(seconds=30)
    """What one look covers; shorter than `sustained`, so that a burst that is over is forgotten."""
    minimum_calls: int = 10
    """A window with fewer calls says nothing, and counts as healthy."""
    open_for: timedelta = timedelta(seconds=60)
    probe_timeout: timedelta = timedelta(seconds=10)
    """Half-open, one call at a time; one that was not heard of for so long is given up."""
    probes_to_close: int = 3


@dataclass(frozen=True, slots=True)
class Breaker:
    """One provider's state; `since` is when its phase began."""

    phase: Phase
    since: datetime
    unhealthy_since: datetime | None = None
    probe_at: datetime | None = None
    probes: int = 0

    @classmethod
    def fresh(cls, now: datetime) -> "Breaker":
        """A closed breaker that knows nothing yet."""
        return cls(Phase.CLOSED, now)


@dataclass(frozen=True, slots=True)
class CallWindow:
    """The calls that ended within the policy's window and in the present phase."""

    calls: int
    errors: int
    p95_seconds: float

    def verdict(self, policy: BreakerPolicy) -> str | None:
        """Which limit is passed, in words; None where none is, or there is too little to say."""
        if self.calls < policy.minimum_calls:
            return None
        rate = self.errors / self.calls
        if rate > policy.max_error_rate:
            return f"{rate:.1%} of {self.calls} calls failed (limit {policy.max_error_rate:.0%})"
        if self.p95_seconds > policy.max_p95.total_seconds():
            return (
                f"P95 {self.p95_seconds:.2f} s over {self.calls} calls "
                f"(limit {policy.max_p95.total_seconds():g} s)"
            )
        return None


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of phase, for the log."""

    before: Phase
    after: Phase
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one call ended."""

    ok: bool
    seconds: float
    was_probe: bool = False


def ask(breaker: Breaker, now: datetime, policy: BreakerPolicy) -> tuple[Breaker, Pass]:
    """Whether a call may be made now, and the breaker after having answered."""
    if breaker.phase is Phase.CLOSED:
        return breaker, Pass.GRANTED
    if breaker.phase is Phase.OPEN:
        if now < breaker.since + policy.open_for:
            return breaker, Pass.DENIED
        return Breaker(Phase.HALF_OPEN, now, probe_at=now), Pass.PROBE
    if breaker.probe_at is not None and now < breaker.probe_at + policy.probe_timeout:
        return breaker, Pass.DENIED
    return replace(breaker, probe_at=now), Pass.PROBE


def hear(
    breaker: Breaker, outcome: Outcome, window: CallWindow, now: datetime, policy: BreakerPolicy
) -> tuple[Breaker, str]:
    """The breaker after a call ended, and why it is so. `window` includes this call."""
    if breaker.phase is Phase.CLOSED:
        return _watch(breaker, window, now, policy)
    if breaker.phase is Phase.HALF_OPEN and outcome.was_probe:
        return _after_probe(breaker, outcome, now, policy)
    return breaker, "a call from before"


def retry_at(breaker: Breaker, now: datetime, policy: BreakerPolicy) -> datetime:
    """When it makes sense to ask again."""
    if breaker.phase is Phase.OPEN:
        return max(now, breaker.since + policy.open_for)
    if breaker.phase is Phase.HALF_OPEN and breaker.probe_at is not None:
        return max(now, breaker.probe_at + policy.probe_timeout)
    return now


def transition(before: Breaker, after: Breaker, reason: str) -> Transition | None:
    """What to log, if the phase changed."""
    if before.phase is after.phase:
        return None
    return Transition(before.phase, after.phase, reason)


def _watch(
    breaker: Breaker, window: CallWindow, now: datetime, policy: BreakerPolicy
) -> tuple[Breaker, str]:
    verdict = window.verdict(policy)
    if verdict is None:
        return replace(breaker, unhealthy_since=None), "healthy"
    since = breaker.unhealthy_since or now
    if now - since >= policy.sustained:
        return Breaker(Phase.OPEN, now), verdict
    return replace(breaker, unhealthy_since=since), verdict


def _after_probe(
    breaker: Breaker, outcome: Outcome, now: datetime, policy: BreakerPolicy
) -> tuple[Breaker, str]:
    if not outcome.ok:
        return Breaker(Phase.OPEN, now), "a probe failed"
    if outcome.seconds > policy.max_p95.total_seconds():
        return Breaker(Phase.OPEN, now), f"a probe took {outcome.seconds:.2f} s"
    if breaker.probes + 1 >= policy.probes_to_close:
        return Breaker.fresh(now), f"{policy.probes_to_close} probes in a row were answered"
    return replace(breaker, probes=breaker.probes + 1, probe_at=None), "a probe was answered"
