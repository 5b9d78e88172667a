"""The breaker opens when a limit was passed for a minute, and closes when probes are answered."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seda.embeddings.breaker import (
    Breaker,
    BreakerPolicy,
    CallWindow,
    Outcome,
    Pass,
    Phase,
    ask,
    hear,
    retry_at,
    transition,
)

START = datetime(2026, 11, 1, tzinfo=UTC)
POLICY = BreakerPolicy()
FINE = CallWindow(1000, 20, 0.99)  # exactly 2 % is not more than 2 %
FAILING = CallWindow(1000, 21, 0.1)
SLOW = CallWindow(1000, 0, 1.01)
OK, BAD = Outcome(True, 0.1), Outcome(False, 0.1)


def _at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def _heard(breaker: Breaker, seconds: float, window: CallWindow) -> Breaker:
    return hear(breaker, OK, window, _at(seconds), POLICY)[0]


@pytest.mark.parametrize("window", [FAILING, SLOW])
def test_it_opens_after_a_limit_was_passed_for_a_minute_and_not_before(window) -> None:
    breaker = Breaker.fresh(START)
    for seconds in range(5, 65, 5):
        breaker = _heard(breaker, seconds, window)
        assert breaker.phase is Phase.CLOSED
    assert _heard(breaker, 65, window).phase is Phase.OPEN


def test_one_healthy_look_starts_the_minute_anew() -> None:
    breaker = Breaker.fresh(START)
    for seconds in (1, 30, 59):
        breaker = _heard(breaker, seconds, FAILING)
    breaker = _heard(breaker, 60, FINE)
    assert _heard(breaker, 62, FAILING).phase is Phase.CLOSED


def test_few_calls_say_nothing() -> None:
    breaker = Breaker.fresh(START)
    for seconds in range(0, 600, 10):
        breaker = _heard(breaker, seconds, CallWindow(POLICY.minimum_calls - 1, 9, 5.0))
    assert breaker.phase is Phase.CLOSED


def test_open_for_a_minute_then_one_probe_at_a_time() -> None:
    breaker = Breaker(Phase.OPEN, START)
    assert ask(breaker, _at(59.9), POLICY) == (breaker, Pass.DENIED)
    assert retry_at(breaker, _at(10), POLICY) == _at(60)
    breaker, answer = ask(breaker, _at(60), POLICY)
    assert (breaker.phase, answer) == (Phase.HALF_OPEN, Pass.PROBE)
    assert ask(breaker, _at(61), POLICY)[1] is Pass.DENIED
    assert retry_at(breaker, _at(61), POLICY) == _at(70)


def test_a_probe_that_is_never_heard_of_is_given_up() -> None:
    breaker, _ = ask(Breaker(Phase.OPEN, START), _at(60), POLICY)
    breaker, answer = ask(breaker, _at(70), POLICY)
    assert answer is Pass.PROBE
    assert ask(breaker, _at(71), POLICY)[1] is Pass.DENIED


def test_three_answered_probes_close_it_with_a_clean_record() -> None:
    breaker, now = Breaker(Phase.OPEN, START, unhealthy_since=START), 60.0
    for expected in (Phase.HALF_OPEN, Phase.HALF_OPEN, Phase.CLOSED):
        breaker, answer = ask(breaker, _at(now), POLICY)
        assert answer is Pass.PROBE
        breaker, _ = hear(breaker, Outcome(True, 0.5, True), FAILING, _at(now + 1), POLICY)
        assert breaker.phase is expected
        now += 1
    assert breaker == Breaker.fresh(_at(now))


@pytest.mark.parametrize("outcome", [Outcome(False, 0.1, True), Outcome(True, 1.1, True)])
def test_a_failed_or_slow_probe_opens_it_for_another_minute(outcome) -> None:
    breaker, _ = ask(Breaker(Phase.OPEN, START), _at(60), POLICY)
    breaker, _ = hear(breaker, outcome, FINE, _at(62), POLICY)
    assert (breaker.phase, breaker.since) == (Phase.OPEN, _at(62))


def test_calls_from_before_do_not_count_as_probes() -> None:
    breaker, _ = ask(Breaker(Phase.OPEN, START), _at(60), POLICY)
    assert hear(breaker, BAD, FAILING, _at(61), POLICY)[0] == breaker
    opened = Breaker(Phase.OPEN, START)
    assert hear(opened, OK, FINE, _at(5), POLICY)[0] == opened


def test_a_transition_is_logged_when_the_phase_changed() -> None:
    before, after = Breaker.fresh(START), Breaker(Phase.OPEN, START)
    assert transition(before, before, "x") is None
    changed = transition(before, after, "2.1% failed")
    assert changed is not None
    assert (changed.before, changed.after, changed.reason) == ("closed", "open", "2.1% failed")


_STEPS = st.lists(
    st.tuples(st.floats(0, 40), st.booleans(), st.floats(0, 3), st.integers(0, 50)), max_size=80
)


@given(_STEPS)
def test_whatever_happens_it_lets_a_call_through_again(steps) -> None:
    """No sequence of outcomes and waits ends in a breaker that never asks for a probe again."""
    breaker, now, probing = Breaker.fresh(START), START, False
    for wait, ok, seconds, errors in steps:
        now += timedelta(seconds=wait)
        breaker, answer = ask(breaker, now, POLICY)
        probing = answer is Pass.PROBE
        if answer is not Pass.DENIED:
            window = CallWindow(50, errors, seconds)
            breaker, _ = hear(breaker, Outcome(ok, seconds, probing), window, now, POLICY)
    later = retry_at(breaker, now, POLICY)
    assert later - now <= max(POLICY.open_for, POLICY.probe_timeout)
    assert ask(breaker, later, POLICY)[1] is not Pass.DENIED
