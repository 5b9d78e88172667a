"""Percentiles, caps, and when a replay counts as faithful."""

import math
from dataclasses import replace

import numpy as np
import pytest

from seda.sandbox.replay.client_processes import merge
from seda.sandbox.replay.drawing import draw
from seda.sandbox.replay.figures import (
    CLIENTS,
    Difference,
    Heard,
    Load,
    Messages,
    Report,
    Sent,
    Toasts,
    Told,
    delivery,
    latencies,
    violations,
)
from seda.sandbox.replay.report import html_page, rows, verdict
from seda.sandbox.replay.schedule import Plan, Scenario


def toasts(*told: tuple[int, float]) -> Toasts:
    viewers, at = zip(*told, strict=True) if told else ((), ())
    moments = np.array(at, np.float64) * 60
    return Toasts(np.array(viewers, np.int32), moments, moments + 0.1)


def heard(told: Toasts | None = None) -> Heard:
    since = np.array([100.0, 101.0, 110.0])
    return Heard(
        Messages(np.array([0, 1, 1], np.int32), since, since + np.array([0.01, 0.03, 9])),
        Told(np.array([0, 1, 1], np.int32), np.zeros(3, np.int32), np.array([2, 1, 1])),
        told or toasts(),
        connected=2,
    )


def report(**changes) -> Report:
    told = heard(toasts((0, 0.0), (1, 0.0)))
    whole = Report(
        plan=Plan(Scenario.STEADY, 10, 5, 100, 7),
        clients=2,
        people=20,
        sent=Sent(50, 1, 0, 100.0, np.array([100.0, 104.0]), np.array([100.01, 105.0])),
        heard=told,
        difference=Difference(4, 4, 0, 0),
        delivery=delivery(told, closing_at=105.0),
        toast_latency=latencies(np.array([0.1, 0.1])),
        most_toasts=1,
        caps_violated=0,
        loads=(Load(CLIENTS, 0.2), Load("real-time service", 0.99)),
    )
    return replace(whole, **changes)


def test_percentiles_are_in_milliseconds() -> None:
    found = latencies(np.arange(101) / 1000)
    assert (found.count, found.p50, found.p95, found.p99, found.most) == (101, 50, 95, 99, 100)
    assert math.isnan(latencies(np.zeros(0)).p50)


def test_messages_about_closing_moves_are_not_measured() -> None:
    found = delivery(heard(), closing_at=105.0)
    assert found.count == 2
    assert found.most == pytest.approx(30)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ((), 0),
        (((0, 0), (0, 10), (0, 20), (1, 3)), 0),
        (((0, 0), (0, 9)), 1),
        (((0, 9), (0, 0)), 1),
        (((0, 0), (0, 10), (0, 20), (0, 30), (0, 31)), 3),
    ],
)
def test_caps_are_three_a_session_and_ten_minutes_apart(told, expected: int) -> None:
    assert violations(toasts(*told)) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"difference": Difference(4, 3, 1, 0)},
        {"difference": Difference(4, 5, 0, 1)},
        {"caps_violated": 1},
        {"clients": 3},
        {"sent": replace(report().sent, refused=1)},
        {"heard": replace(heard(), lost_connections=1)},
    ],
)
def test_whatever_went_wrong_is_not_faithful(changes) -> None:
    assert report().faithful
    wrong = report(**changes)
    assert not wrong.faithful
    assert "exactly once" not in verdict(wrong)


def test_a_busy_replayer_says_so_and_a_busy_service_is_the_services_matter() -> None:
    assert "its own" not in verdict(report())
    assert "its own" in verdict(report(loads=(Load(CLIENTS, 0.9),)))


def test_the_page_holds_every_row_and_a_picture() -> None:
    whole = report()
    page = html_page(whole, "Made today.")
    assert all(value in page.replace("&#x27;", "'") for _, value in rows(whole))
    assert "data:image/png;base64," in page
    assert draw(whole).startswith(b"\x89PNG")


def test_a_replay_in_which_nothing_was_heard_has_a_page_too() -> None:
    nothing = Heard(
        Messages(*(np.zeros(0),) * 3), Told(*(np.zeros(0),) * 3), Toasts(*(np.zeros(0),) * 3)
    )
    silent = report(heard=nothing, delivery=latencies(np.zeros(0)))
    assert "none" in html_page(silent, "")
    assert draw(silent).startswith(b"\x89PNG")


def test_what_several_processes_heard_is_put_together() -> None:
    both = merge([heard(), heard(toasts((0, 1.0)))])
    assert len(both.messages.since) == 6
    assert both.told.changes.sum() == 8
    assert (both.connected, len(both.toasts.at)) == (4, 1)
