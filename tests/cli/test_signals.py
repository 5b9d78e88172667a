"""One request to stop is enough; what must not be cut in half is finished first."""

import os
import signal

import pytest

from seda.cli.signals import StopRequested, held_signals, ignore_further_signals, stop_signals


def ask(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopping_signal_is_an_exception(number: int) -> None:
    before = signal.getsignal(number)

    with pytest.raises(StopRequested), stop_signals():
        ask(number)

    assert signal.getsignal(number) is before


def test_the_same_signal_again_does_not_disturb_the_cleaning_up() -> None:
    cleaned = []

    def work() -> None:
        with stop_signals():
            try:
                ask()
            finally:
                ask()  # as `make` does, which passes on what the whole group got already
                cleaned.append(True)

    with pytest.raises(StopRequested):
        work()

    assert cleaned


def test_whoever_is_stopping_is_not_asked_again() -> None:
    with stop_signals():
        ignore_further_signals()
        ask()


def test_a_held_signal_waits_for_the_end_of_the_block() -> None:
    done = []

    def work() -> None:
        with stop_signals(), held_signals():
            ask()
            done.append(True)

    with pytest.raises(StopRequested):
        work()

    assert done


def test_a_failure_under_a_held_signal_is_the_request_to_stop() -> None:
    def work() -> None:
        with stop_signals(), held_signals():
            ask()
            raise OSError("the same Ctrl-C ended my child")

    with pytest.raises(StopRequested):
        work()


def test_what_nohup_switched_off_stays_off() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals():
            ask(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
