"""Intervals and evidence that hold however often one looks."""

import numpy as np
import pytest

from seda.experiments.sequential import (
    RatioSums,
    detectable,
    difference,
    level,
    mismatch,
    multiplier,
    past_limit,
    power,
    relative_difference,
    within_limit,
)


def arm(ctr: float, people: int = 250, shown: int = 20) -> RatioSums:
    """Everybody was shown as much; clicks are spread as evenly as they can be."""
    clicks = np.diff(np.floor(np.arange(people + 1) * ctr * shown))
    return RatioSums.of(clicks, np.full(people, shown))


def test_the_ratio_is_of_sums_and_its_variance_is_of_people() -> None:
    clicks, shown = np.array([0, 8, 0, 2]), np.array([10, 20, 5, 25])
    sums = RatioSums.of(clicks, shown)
    assert sums.ratio == pytest.approx(1 / 6)
    residuals = clicks - shown / 6
    assert sums.variance == pytest.approx((residuals**2).sum() * 4 / 3 / 60**2)
    # What one person does twenty times is not twenty times evidence.
    together = RatioSums.of([20, 0, 0, 0, 20, 0, 0, 0, 0, 0], np.full(10, 20))
    apart = RatioSums.of(np.tile([1, 0, 0, 0, 0], 40), np.ones(200))
    assert together.ratio == apart.ratio
    assert together.variance > 10 * apart.variance


def test_an_interval_for_any_number_of_looks_is_wider_than_for_one() -> None:
    assert 2.7 < multiplier(0.06, 0.18) < 3.2
    assert multiplier(0.06, 0.18) < min(multiplier(0.06, 0.01), multiplier(0.06, 10.0))
    assert multiplier(0.06, 0.18, alpha=0.01) > multiplier(0.06, 0.18)


def test_the_relative_interval_lies_below_zero_exactly_when_that_of_the_difference_does() -> None:
    base = arm(0.1)
    found = set()
    for ctr in np.linspace(0.06, 0.12, 25):
        relative = relative_difference(base, arm(ctr), 0.18)
        absolute = difference(base, arm(ctr), 0.18 * float(base.ratio))
        assert bool(relative.high < 0) == bool(absolute.high < 0)
        assert relative.low <= relative.estimate <= relative.high
        found.add(bool(relative.high < 0))
    assert found == {True, False}


def test_nobody_who_clicks_at_all_is_seen_at_once() -> None:
    interval = relative_difference(arm(0.1), arm(0.0), 0.18)
    assert interval.estimate == -1
    assert past_limit(interval, 0.1)
    assert interval.high < -0.9


def test_without_clicks_in_the_control_nothing_is_known() -> None:
    interval = relative_difference(arm(0.0), arm(0.1), 0.18)
    assert (interval.low, interval.high) == (-np.inf, np.inf)
    assert not past_limit(interval, 0.1)
    assert not within_limit(interval, 0.1)


def test_an_empty_arm_is_no_evidence() -> None:
    empty = RatioSums.of(np.zeros(0), np.zeros(0))
    assert np.isnan(empty.ratio)
    assert not past_limit(difference(arm(0.1), empty, 0.1), 0.0)
    assert not within_limit(level(empty, 0.1), 1.0)


def test_power_grows_with_data_and_with_the_fall() -> None:
    few, many = (relative_difference(arm(0.1, n), arm(0.1, n), 0.18) for n in (250, 2500))
    assert power(few, 0.1, 0.1) < power(few, 0.1, 0.3) < power(many, 0.1, 0.3)
    assert detectable(few, 0.1) > detectable(many, 0.1) > 0.1
    assert power(few, 0.1, float(detectable(few, 0.1))) == pytest.approx(0.8, abs=1e-3)


def test_arms_of_the_wrong_size_are_found_and_those_of_the_right_one_are_not() -> None:
    assert mismatch(0, 0, 0.1) == 1
    assert mismatch(100, 900, 0.1) == 1
    assert mismatch(60, 900, 0.1) < 0.01
    assert mismatch(160, 900, 0.1) < 0.01
    # However often it is looked at: Ville's inequality.
    drawn = np.random.default_rng(3).random((400, 2000)) < 0.1
    canary = np.cumsum(drawn, axis=1)
    p = mismatch(canary, np.arange(1, 2001) - canary, 0.1)
    assert (p < 0.05).any(axis=1).mean() < 0.05
