"""What a canary's figures come to: each verdict, and what rolls back."""

import numpy as np
import pytest

from benchmarks.gates import World, caught, false_rollbacks
from seda.experiments.gates import QUALITY, ArmFigures, Gate, Judgement, Verdict, judge
from seda.experiments.operations import Operations, Requests
from seda.experiments.sequential import RatioSums

HEALTHY = Operations(
    Requests(5000, 0.080, 0.0), Requests(50_000, 0.075, 0.0002),
    notifications=900, notification_p99=0.2,
)  # fmt: skip
SHARE = 0.1


def figures(
    people: int = 1000, shown: int = 20, ctr: float = 0.1, listened: float = 0.75,
    skipped: float = 0.08, dismissed: float = 0.02,
) -> ArmFigures:  # fmt: skip
    """Everybody behaves alike, but for rounding."""
    impressions = np.full(people, shown)
    opened = _spread(impressions, ctr)
    pairs = {
        "ctr": (opened, impressions), "listen_30s": (_spread(opened, listened), opened),
        "skips": (_spread(opened, skipped), opened),
        "dismissals": (_spread(impressions, dismissed), impressions),
    }  # fmt: skip
    sums = {name: RatioSums.of(y, x) for name, (y, x) in pairs.items()}
    return ArmFigures(people, people * shown, sums)


def _spread(of: np.ndarray, share: float) -> np.ndarray:
    return np.diff(np.floor(np.cumsum(of) * share + 1e-9), prepend=0)


CONTROL = figures(people=9000)


def judged(canary: ArmFigures, *, control: ArmFigures = CONTROL, leaks: int = 0,
           operations: Operations = HEALTHY) -> Judgement:  # fmt: skip
    return judge(control, canary, share=SHARE, leaks=leaks, operations=operations)


def gate(judgement: Judgement, name: str) -> Gate:
    return next(each for each in judgement.gates if each.name == name)


def test_a_canary_that_is_as_good_passes_when_there_are_data_enough() -> None:
    found = judged(figures(people=20_000), control=figures(people=180_000))
    assert {each.name: each.verdict for each in found.gates} == dict.fromkeys(
        [each.name for each in found.gates], Verdict.PASS
    )
    assert (found.verdict, found.rollback, found.exit_code) == (Verdict.PASS, None, 0)


def test_with_five_thousand_impressions_it_may_be_looked_at_and_does_not_pass() -> None:
    few = judged(figures(people=240), control=figures(people=2160))
    assert "4,800 of at least 5,000" in gate(few, "ctr").reason
    assert (gate(few, "ctr").verdict, few.exit_code) == (Verdict.NOT_ENOUGH, 2)
    some = judged(figures(people=260), control=figures(people=2340))
    assert gate(some, "ctr").verdict is Verdict.NOT_ENOUGH
    assert 0.9 < gate(some, "ctr").power < 1  # of a fall of 30 %, which it then had not
    assert 0.1 < gate(some, "ctr").detectable < 0.3
    assert some.rollback is None


def test_a_fall_for_sure_and_past_the_limit_rolls_back_and_says_why() -> None:
    found = judged(figures(ctr=0.07))
    assert found.verdict is Verdict.FAIL
    assert found.exit_code == 1
    assert found.rollback.startswith("ctr: worse for sure, and by more than 10%")
    assert gate(found, "ctr").difference == pytest.approx(-0.3, abs=0.01)
    assert gate(found, "ctr").high < 0


def test_past_the_limit_though_not_for_sure_is_a_warning_and_a_small_fall_is_none() -> None:
    warned = judged(figures(people=300, ctr=0.0895), control=figures(people=2700))
    assert (gate(warned, "ctr").verdict, warned.rollback) == (Verdict.WARN, None)
    # For sure worse, though by less than the limit.
    small = judged(figures(people=50_000, ctr=0.095), control=figures(people=450_000))
    assert gate(small, "ctr").high < 0
    assert (gate(small, "ctr").verdict, small.rollback) == (Verdict.PASS, None)


@pytest.mark.parametrize(
    ("worse", "name"),
    [
        ({"listened": 0.62}, "listen_30s"),
        ({"skipped": 0.25, "listened": 0.74}, "skips"),
        ({"dismissed": 0.04}, "dismissals"),
    ],
)
def test_each_figure_of_quality_has_its_own_gate(worse, name: str) -> None:
    found = judged(figures(**worse))
    assert gate(found, name).verdict is Verdict.FAIL
    assert name in found.rollback
    assert "ctr" not in found.rollback
    better = {"listened": 0.9, "skipped": 0.01, "dismissed": 0.001, "ctr": 0.15}
    assert judged(figures(people=1000, **better)).rollback is None


def test_more_dismissals_are_a_positive_difference() -> None:
    row = gate(judged(figures(dismissed=0.04)), "dismissals")
    assert row.difference == pytest.approx(0.02, abs=0.002)
    assert 0 < row.low < row.difference < row.high


def test_a_floor_rolls_back_only_where_the_control_is_above_it() -> None:
    both = judged(figures(ctr=0.01, people=9000), control=figures(ctr=0.01, people=81_000))
    assert gate(both, "ctr_floor").verdict is Verdict.FAIL
    assert both.verdict is Verdict.FAIL
    assert both.rollback is None
    alone = judged(figures(ctr=0.01), control=figures(ctr=0.1, people=9000))
    assert "ctr_floor" in alone.rollback


def test_arms_of_the_wrong_size_measure_nothing() -> None:
    found = judged(figures(people=600))
    assert gate(found, "sample_ratio").verdict is Verdict.FAIL
    assert found.rollback.startswith("sample_ratio: 600 of 9,600 people, 10.0% assigned")


def test_a_list_that_nobody_may_have_rolls_back_whatever_the_data() -> None:
    found = judged(figures(people=10), leaks=3, operations=Operations())
    assert found.rollback.startswith("privacy: 3 lists")
    assert found.exit_code == 1


@pytest.mark.parametrize(
    ("operations", "name", "verdict"),
    [
        (Operations(), "api_p95", Verdict.NOT_KNOWN),
        (Operations(Requests(50, p95=0.9)), "api_p95", Verdict.NOT_ENOUGH),
        (Operations(Requests(500, p95=0.249)), "api_p95", Verdict.PASS),
        (Operations(Requests(500, p95=0.3)), "api_p95", Verdict.WARN),
        (Operations(Requests(500, p95=0.351)), "api_p95", Verdict.FAIL),
        (Operations(control=Requests(500, p95=9.0)), "api_p95", Verdict.NOT_KNOWN),
        (Operations(Requests(500, p95=0.1), Requests(500, 9.0, 0.5)), "api_p95", Verdict.PASS),
        (Operations(Requests(500, error_share=0.4)), "errors_5xx", Verdict.NOT_ENOUGH),
        (Operations(Requests(1000, error_share=0.0)), "errors_5xx", Verdict.PASS),
        (Operations(Requests(1000, error_share=0.003)), "errors_5xx", Verdict.WARN),
        (Operations(Requests(1000, error_share=0.006)), "errors_5xx", Verdict.FAIL),
        (Operations(notifications=300, notification_p99=0.4), "notification_p99", Verdict.PASS),
        (Operations(notifications=300, notification_p99=1.2), "notification_p99", Verdict.FAIL),
    ],
)
def test_operational_gates(operations: Operations, name: str, verdict: Verdict) -> None:
    found = judged(figures(people=20_000), control=figures(people=180_000), operations=operations)
    assert gate(found, name).verdict is verdict
    assert (found.rollback is not None) == (verdict is Verdict.FAIL)
    if verdict is not Verdict.FAIL:
        assert found.exit_code == 2  # the other services did not answer


def test_the_controls_latency_and_errors_stand_beside_the_canarys() -> None:
    found = judged(figures(people=10))
    assert (gate(found, "api_p95").control, gate(found, "api_p95").canary) == (0.075, 0.080)
    assert (gate(found, "errors_5xx").control, gate(found, "errors_5xx").canary) == (0.0002, 0.0)
    assert "0.08s of 5,000" in gate(found, "api_p95").reason
    assert gate(found, "notification_p99").control is None  # nobody's arm: everybody's


def test_looking_fifty_times_rolls_back_few_good_canaries_and_most_bad_ones() -> None:
    """The small profile of `python -m benchmarks.gates`."""
    shares = false_rollbacks(World("new people"), runs=100, looks=50, seed=7)
    assert shares["all gates"] <= 0.05
    assert shares["fixed p < 0.05, looked at as often"] > 0.15
    returning = false_rollbacks(World("the same", returning=True), runs=100, looks=50, seed=7)
    assert returning["all gates"] <= 0.05
    assert caught(World(""), drop=0.3, runs=200, seed=7) >= 0.85
    assert caught(World(""), drop=0.0, runs=200, seed=7) <= 0.01
    assert len(QUALITY) == 4
