"""Money: what pauses at 80 %, what stops at 100 %, and what a month will cost."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seda.embeddings.budget import (
    Budget,
    Job,
    SpendVerdict,
    cost_usd,
    month_bounds,
    most_tokens,
    projected_usd,
)

BUDGET = Budget(Decimal(1500))
CENT = Decimal("0.01")


@pytest.mark.parametrize(
    ("committed", "job", "verdict"),
    [
        (Decimal("1199.99"), Job.RE_EMBED, SpendVerdict.ALLOWED),
        (Decimal("1200.00"), Job.RE_EMBED, SpendVerdict.PAUSED),
        (Decimal("1200.00"), Job.SHADOW, SpendVerdict.PAUSED),
        (Decimal("1200.00"), Job.FILL, SpendVerdict.PAUSED),
        (Decimal("1200.00"), Job.NEW_TEXT, SpendVerdict.ALLOWED),
        (Decimal("1499.99"), Job.CHANGED_TEXT, SpendVerdict.ALLOWED),
        (Decimal("1500.00"), Job.NEW_TEXT, SpendVerdict.STOPPED),
        (Decimal("1500.00"), Job.FAILOVER, SpendVerdict.STOPPED),
        (Decimal("1500.00"), Job.SHADOW, SpendVerdict.STOPPED),
    ],
)
def test_eighty_percent_pauses_what_can_wait_and_the_cap_stops_all(committed, job, verdict) -> None:
    assert BUDGET.verdict(job, committed, CENT) is verdict


def test_what_costs_nothing_is_never_stopped() -> None:
    assert BUDGET.verdict(Job.SHADOW, Decimal(9999), Decimal(0)) is SpendVerdict.ALLOWED


def test_the_cost_is_rounded_up_never_down() -> None:
    assert cost_usd(1_000_000, Decimal("0.02")) == Decimal("0.02")
    assert cost_usd(1, Decimal("0.0000001")) == Decimal("0.00000001")
    assert cost_usd(0, Decimal("0.12")) == 0


@given(st.lists(st.text(), max_size=5))
def test_the_most_tokens_are_no_fewer_than_the_bytes(texts) -> None:
    assert most_tokens(texts) >= sum(len(t.encode("utf-8", "surrogatepass")) for t in texts)


def test_a_month_is_a_calendar_month_in_utc() -> None:
    first, following = month_bounds(datetime.fromisoformat("2026-12-01T00:30+02:00"))
    assert first == datetime(2026, 11, 1, tzinfo=UTC)
    assert following == datetime(2026, 12, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "projected"),
    [
        (datetime(2026, 11, 1, 6, tzinfo=UTC), Decimal(3000)),
        (datetime(2026, 11, 11, tzinfo=UTC), Decimal(300)),
        (datetime(2026, 2, 15, tzinfo=UTC), Decimal(200)),
    ],
)
def test_the_projection_is_the_run_rate_and_a_first_day_counts_whole(now, projected) -> None:
    assert projected_usd(Decimal(100), now) == projected
