"""What a canary must pass, and what rolls it back: pure, from figures of its arms and services.

Operational gates ask whether the services keep their promises, quality gates whether people like
the canary's lists less than the control's. Every verdict comes with what it was made of, and with
the power that the data have: "not enough data" is a verdict.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import SupportsFloat

from seda.experiments.operations import Operations
from seda.experiments.sequential import (
    Interval,
    RatioSums,
    detectable,
    difference,
    level,
    mismatch,
    past_limit,
    power,
    relative_difference,
    within_limit,
)

FEWEST_IMPRESSIONS = 5000
"""Of each arm before anything is judged: the least to look, not the least to pass."""
SRM_ALPHA = 0.01
"""Probability that arms of the right sizes are ever found to be of the wrong ones."""
PLANNED_DROP = 0.3
"""True relative fall whose chance to be caught stands beside the verdicts."""
FEWEST_REQUESTS, FEWEST_FOR_ERRORS, FEWEST_NOTIFICATIONS = 200, 1000, 200
"""Below which latencies, shares of errors and delays say nothing."""


class Verdict(StrEnum):
    """What a gate says; `NOT_KNOWN` is a service that did not answer."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    NOT_ENOUGH = "not enough data"
    NOT_KNOWN = "not known"


@dataclass(frozen=True)
class Quality:
    """One figure of quality: which difference is judged, and how far it may go."""

    name: str
    limit: float
    """How much worse the canary may be: a share of the control's, or points (0.05 is five)."""
    scale: float
    """See `sequential.multiplier`: about three standard errors at 5,000 impressions per arm."""
    relative: bool
    more_is_better: bool = True
    bound: float | None = None
    """The least (or most) that the canary's own figure may be, whatever the control's is."""

    def interval(self, control: RatioSums, canary: RatioSums) -> Interval:
        """The canary's difference, so turned that less than zero is worse."""
        of = relative_difference if self.relative else difference
        found = of(control, canary, self.scale)
        return found if self.more_is_better else found.negated()


QUALITY = (
    Quality("ctr", limit=0.10, scale=0.18, relative=True, bound=0.02),
    Quality("listen_30s", limit=0.05, scale=0.085, relative=False, bound=0.60),
    Quality("skips", limit=0.05, scale=0.085, relative=False, more_is_better=False, bound=0.15),
    Quality("dismissals", limit=0.005, scale=0.008, relative=False, more_is_better=False),
)


@dataclass(frozen=True, eq=False)
class ArmFigures:
    """What one arm's people were shown and made of it; `sums` by the names of `QUALITY`.

    `people` came to the arm at all, `impressions` are what they were shown.
    """

    people: int
    impressions: int
    sums: dict[str, RatioSums]


@dataclass(frozen=True)
class Gate:
    """One row of the table. Differences are of the canary to the control, as they are (more
    dismissals are a positive difference); None where there is no such figure."""

    name: str
    verdict: Verdict
    reason: str
    control: float | None = None
    canary: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    power: float | None = None
    detectable: float | None = None
    rolls_back: bool = False


@dataclass(frozen=True)
class Judgement:
    """All gates, what they come to, and why the canary is to be rolled back (None: it is not)."""

    gates: tuple[Gate, ...]
    verdict: Verdict
    rollback: str | None

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 2 neither (not enough data, not known, a warning)."""
        return {Verdict.PASS: 0, Verdict.FAIL: 1}.get(self.verdict, 2)


def judge(
    control: ArmFigures, canary: ArmFigures, *, share: float, leaks: int, operations: Operations,
    qualities: Sequence[Quality] = QUALITY,
) -> Judgement:  # fmt: skip
    """Every gate, and what follows.

    `leaks` counts the canary's lists that nobody may have. One gate that fails fails the canary;
    it passes when all pass.
    """
    fewest = min(control.impressions, canary.impressions)
    gates = [*_operational(operations), _privacy(leaks), _sample_ratio(control, canary, share)]
    for quality in qualities:
        gates.extend(_quality(quality, control, canary, fewest))
    found = {gate.verdict for gate in gates}
    order = (Verdict.FAIL, Verdict.NOT_ENOUGH, Verdict.NOT_KNOWN, Verdict.WARN, Verdict.PASS)
    verdict = next(each for each in order if each in found)
    if verdict is Verdict.NOT_KNOWN:
        verdict = Verdict.NOT_ENOUGH
    failed = [f"{gate.name}: {gate.reason}" for gate in gates if gate.rolls_back]
    return Judgement(tuple(gates), verdict, "; ".join(failed) or None)


def _operational(operations: Operations) -> list[Gate]:
    """The API's of the canary's own requests; whom a notification is for has no arm."""
    ours, theirs = operations.canary, operations.control
    gates = []
    for name, count, fewest, control, canary, good, bad, unit in (
        ("api_p95", ours.count, FEWEST_REQUESTS, theirs.p95, ours.p95, 0.250, 0.350, "s"),
        ("notification_p99", operations.notifications, FEWEST_NOTIFICATIONS, None,
         operations.notification_p99, 0.500, 1.0, "s"),
        ("errors_5xx", ours.count, FEWEST_FOR_ERRORS, theirs.error_share, ours.error_share,
         0.001, 0.005, ""),
    ):  # fmt: skip
        if count is None:
            gates.append(Gate(name, Verdict.NOT_KNOWN, "the service did not answer"))
        elif count < fewest or canary is None:
            reason = f"{count:,} of at least {fewest:,}"
            gates.append(Gate(name, Verdict.NOT_ENOUGH, reason, control=control, canary=canary))
        else:
            verdict = Verdict.PASS if canary < good else Verdict.WARN
            if canary > bad:
                verdict = Verdict.FAIL
            reason = f"{canary:.4g}{unit} of {count:,}: below {good:g}{unit} is good, "
            reason += f"above {bad:g}{unit} fails"
            gates.append(Gate(name, verdict, reason, control=control, canary=canary,
                              rolls_back=canary > bad))  # fmt: skip
    return gates


def _privacy(leaks: int) -> Gate:
    if leaks:
        reason = f"{leaks:,} lists of people who may have none, or not this one"
        return Gate("privacy", Verdict.FAIL, reason, canary=float(leaks), rolls_back=True)
    return Gate("privacy", Verdict.PASS, "every list of the canary is one that it may have",
                canary=0.0)  # fmt: skip


def _sample_ratio(control: ArmFigures, canary: ArmFigures, share: float) -> Gate:
    people = control.people + canary.people
    if not people:
        return Gate("sample_ratio", Verdict.NOT_ENOUGH, "nobody was shown anything yet")
    p = float(mismatch(canary.people, control.people, share))
    seen = canary.people / people
    reason = f"{canary.people:,} of {people:,} people, {share:.1%} assigned: p {p:.3g}"
    wrong = p < SRM_ALPHA
    verdict = Verdict.FAIL if wrong else Verdict.PASS
    return Gate("sample_ratio", verdict, reason, control=1 - seen, canary=seen, rolls_back=wrong)


def _quality(quality: Quality, control: ArmFigures, canary: ArmFigures, fewest: int) -> list[Gate]:
    ours, theirs = canary.sums[quality.name], control.sums[quality.name]
    before, now = _known(theirs.ratio), _known(ours.ratio)
    if fewest < FEWEST_IMPRESSIONS or before is None or now is None:
        reason = f"{fewest:,} of at least {FEWEST_IMPRESSIONS:,} impressions in each arm"
        if fewest >= FEWEST_IMPRESSIONS:
            reason = "nothing to count in one of the arms"
        return [Gate(quality.name, Verdict.NOT_ENOUGH, reason, control=before, canary=now)]
    interval = quality.interval(theirs, ours)
    verdict, reason = _verdict(quality, interval)
    told = interval if quality.more_is_better else interval.negated()
    planned = PLANNED_DROP * (1 if quality.relative else float(theirs.ratio))
    gates = [
        Gate(
            quality.name, verdict, reason, control=before, canary=now,
            difference=_known(told.estimate), low=_known(told.low), high=_known(told.high),
            power=_known(power(interval, quality.limit, planned)),
            detectable=_known(detectable(interval, quality.limit)),
            rolls_back=verdict is Verdict.FAIL,
        )
    ]  # fmt: skip
    if quality.bound is not None:
        gates.append(_bounded(quality, quality.bound, theirs, ours))
    return gates


def _verdict(quality: Quality, interval: Interval) -> tuple[Verdict, str]:
    limit = f"{quality.limit:.0%}" if quality.relative else f"{quality.limit * 100:g} points"
    if past_limit(interval, quality.limit):
        return Verdict.FAIL, f"worse for sure, and by more than {limit}"
    if within_limit(interval, quality.limit):
        return Verdict.PASS, f"for sure not worse by more than {limit}"
    if interval.estimate < -quality.limit:
        return Verdict.WARN, f"worse by more than {limit}, though not for sure"
    return Verdict.NOT_ENOUGH, f"cannot be told from worse by {limit} yet"


def _bounded(quality: Quality, bound: float, control: RatioSums, canary: RatioSums) -> Gate:
    """The canary's own figure; where the control's is past the bound too the canary is not at
    fault, and is not rolled back for it."""
    sign = 1 if quality.more_is_better else -1
    interval = level(canary, quality.scale if not quality.relative else quality.scale * bound)
    turned = interval if sign > 0 else interval.negated()
    kind = "at least" if sign > 0 else "at most"
    name = f"{quality.name}_{'floor' if sign > 0 else 'ceiling'}"
    at_fault = bool(sign * control.ratio >= sign * bound)
    if turned.high < sign * bound:
        verdict, reason = Verdict.FAIL, f"{kind} {bound:.0%} is asked"
        reason += "" if at_fault else ", which the control does not reach either"
    elif turned.low >= sign * bound:
        verdict, reason = Verdict.PASS, f"{kind} {bound:.0%}, for sure"
    elif turned.estimate < sign * bound:
        verdict, reason = Verdict.WARN, f"{kind} {bound:.0%} is asked, though it may be"
    else:
        verdict, reason = Verdict.NOT_ENOUGH, f"{kind} {bound:.0%}, though not for sure"
    return Gate(
        name, verdict, reason, control=float(control.ratio), canary=float(canary.ratio),
        low=_known(interval.low), high=_known(interval.high),
        rolls_back=verdict is Verdict.FAIL and at_fault,
    )  # fmt: skip


def _known(amount: SupportsFloat) -> float | None:
    """None for what is no number."""
    number = float(amount)
    return number if abs(number) < float("inf") else None
