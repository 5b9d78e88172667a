"""Sequential tests: intervals and evidence that hold however often one looks.

Figures are ratios of sums over people (clicks per impression), and people are the units: what one
person does twice is no independent evidence. Everything works on arrays, element by element, so a
simulation of thousands of experiments is the code that judges one.

- Confidence sequences: the asymptotic, normal-mixture boundary of Waudby-Smith, Arbour, Sinha,
  Kennedy & Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences" (Annals
  of Statistics 2024, arXiv:2103.06476), in the information of the estimate; its variance by the
  delta method (Deng, Knoblich & Lu, "Applying the delta method in metric analytics", KDD 2018).
- Relative differences: Fieller's interval with that boundary's multiplier.
- Sample ratio: the sequential multinomial test of Lindon & Malek, "Anytime-valid inference for
  multinomial count data" (NeurIPS 2022), with two arms.
"""

from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import betaln, ndtr

Doubles: TypeAlias = npt.NDArray[np.float64]
ALPHA = 0.05
"""Probability that an interval ever misses the truth, over all looks together."""
_POWER_Z = 0.8416
"""Quantile of the normal distribution at 80 %."""


@dataclass(frozen=True, eq=False)
class RatioSums:
    """Sums over one arm's people of a numerator y and a denominator x; arrays of one shape."""

    people: Doubles
    y: Doubles
    x: Doubles
    yy: Doubles
    xy: Doubles
    xx: Doubles

    @classmethod
    def of(cls, y: npt.ArrayLike, x: npt.ArrayLike) -> "RatioSums":
        """Of two arrays `(..., people)`."""
        y, x = np.asarray(y, np.float64), np.asarray(x, np.float64)
        people = np.full(y.shape[:-1], float(y.shape[-1]))
        return cls(people, y.sum(-1), x.sum(-1), (y * y).sum(-1), (x * y).sum(-1), (x * x).sum(-1))

    @property
    def ratio(self) -> Doubles:
        """y per x; NaN where there is no x."""
        return np.divide(self.y, self.x, out=np.full(np.shape(self.x), np.nan), where=self.x > 0)

    @property
    def variance(self) -> Doubles:
        """Of `ratio`, people being independent; infinite where there is no x.

        Never less than that of as many independent trials, which also speaks where nobody or
        everybody did it.
        """
        ratio, some = np.nan_to_num(self.ratio), self.x > 0
        residuals = self.yy - 2 * ratio * self.xy + ratio**2 * self.xx
        clustered = residuals * self.people / np.maximum(self.people - 1, 1)
        smoothed = np.clip((self.y + 0.5) / (self.x + 1), 0, 1)
        trials = smoothed * (1 - smoothed) * self.x
        return np.divide(
            np.maximum(clustered, trials), self.x**2, out=np.full(np.shape(self.x), np.inf),
            where=some,
        )  # fmt: skip

    def __getitem__(self, place: Any) -> "RatioSums":
        return RatioSums(*(getattr(self, field.name)[place] for field in fields(self)))


@dataclass(frozen=True, eq=False)
class Interval:
    """An estimate, its standard error and its always-valid 95 % interval."""

    estimate: Doubles
    low: Doubles
    high: Doubles
    error: Doubles
    multiplier: Doubles
    """By how many standard errors the interval reaches; 1.96 would be that of a single look."""

    def negated(self) -> "Interval":
        """Of the opposite difference: for figures of which less is better."""
        return Interval(-self.estimate, -self.high, -self.low, self.error, self.multiplier)


def multiplier(error: npt.ArrayLike, scale: npt.ArrayLike, alpha: float = ALPHA) -> Doubles:
    """How many standard errors a confidence sequence reaches.

    `scale` is the size of differences for which it is made (the mixture's standard deviation, in
    the unit of `error`): valid for any, and shortest while the error is about a third of it.
    """
    information = np.square(np.asarray(scale, np.float64) / np.maximum(error, 1e-300))
    information = np.maximum(information, 1e-12)
    return np.asarray(np.sqrt((1 + 1 / information) * np.log((1 + information) / alpha**2)))


def level(sums: RatioSums, scale: float) -> Interval:
    """One arm's ratio."""
    error = np.sqrt(sums.variance)
    return _around(sums.ratio, error, multiplier(error, scale))


def difference(control: RatioSums, canary: RatioSums, scale: float) -> Interval:
    """The canary's ratio less the control's, in their unit."""
    error = np.sqrt(control.variance + canary.variance)
    return _around(canary.ratio - control.ratio, error, multiplier(error, scale))


def relative_difference(control: RatioSums, canary: RatioSums, scale: float) -> Interval:
    """The canary's ratio by the control's, less one; `scale` is relative too.

    It lies below zero exactly when that of `difference` does. Where the control's ratio itself
    cannot be told from zero nothing is known: the interval is infinite.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        base, other = control.ratio, canary.ratio
        error = np.sqrt(control.variance + canary.variance) / base
        reach = multiplier(error, scale)
        a = base**2 - reach**2 * control.variance
        b = base * other
        c = other**2 - reach**2 * canary.variance
        root = np.sqrt(np.maximum(b**2 - a * c, 0))
        known = a > 0
        low = np.where(known, np.maximum((b - root) / a, 0) - 1, -np.inf)
        high = np.where(known, (b + root) / a - 1, np.inf)
        return Interval(other / base - 1, low, high, error, reach)


def past_limit(interval: Interval, limit: float) -> npt.NDArray[np.bool_]:
    """Whether a figure of which more is better fell for sure, and by more than the limit: the
    interval lies below zero and the estimate is past the limit."""
    return np.asarray((interval.high < 0) & (interval.estimate < -limit))


def within_limit(interval: Interval, limit: float) -> npt.NDArray[np.bool_]:
    """Whether it did for sure not fall by more than the limit."""
    return np.asarray(interval.low > -limit)


def power(interval: Interval, limit: float, drop: float) -> Doubles:
    """Probability that a true fall of `drop` would be `past_limit` with as many data as these."""
    with np.errstate(divide="ignore", invalid="ignore"):
        needed = np.maximum(interval.multiplier * interval.error, limit)
        return np.asarray(ndtr((drop - needed) / interval.error))


def detectable(interval: Interval, limit: float) -> Doubles:
    """The true fall that would be `past_limit` with 80 % power with as many data as these."""
    needed = np.maximum(interval.multiplier * interval.error, limit)
    return np.asarray(needed + _POWER_Z * interval.error)


def mismatch(canary: npt.ArrayLike, control: npt.ArrayLike, share: float) -> Doubles:
    """Always-valid p of the hypothesis that people were assigned in the ratio `share`.

    The inverse Bayes factor against a Beta prior around the share that weighs as much as a
    hundred people.
    """
    x, rest = np.asarray(canary, np.float64), np.asarray(control, np.float64)
    a, b = 100 * share, 100 * (1 - share)
    evidence = betaln(a + x, b + rest) - betaln(a, b) - x * np.log(share) - rest * np.log1p(-share)
    return np.asarray(np.exp(-np.maximum(evidence, 0)))


def _around(estimate: Doubles, error: Doubles, reach: Doubles) -> Interval:
    half = reach * error
    return Interval(estimate, estimate - half, estimate + half, error, reach)
