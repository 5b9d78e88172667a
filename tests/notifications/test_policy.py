"""A push goes out for a reason, never in quiet hours, and never twice in a rolling day."""

import os
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seda.notifications.policy import (
    ROLLING_DAY,
    Occasion,
    PushPreferences,
    PushReason,
    QuietHours,
    decide_push,
    quiet_reason,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NIGHT = QuietHours(time(22), time(8))
CROWD = Occasion(0.85, (0.1, 0.1))
IN = PushPreferences(opted_in=True)
ALL_ZONES = sorted(available_timezones())
# Half hours, quarter hours, both hemispheres, a skipped day, dates of change at midnight.
SOME_ZONES = [
    "Africa/Casablanca", "America/Havana", "America/Nuuk", "America/St_Johns",
    "Antarctica/Troll", "Asia/Kathmandu", "Asia/Tehran", "Australia/Lord_Howe", "Europe/Berlin",
    "Pacific/Apia", "Pacific/Chatham", "Pacific/Kiritimati",
]  # fmt: skip
# The full profile takes every zone and every change of a century; the suite a few.
FULL = os.environ.get("SEDA_TEST_PROFILE") == "full"
ZONES = ALL_ZONES if FULL else SOME_ZONES


def decided(occasion=CROWD, preferences=IN, last=None, now=NOW, threshold=0.8) -> PushReason:
    return decide_push(occasion, preferences, last, now, threshold)


@pytest.mark.parametrize(
    ("reason", "occasion", "preferences", "last"),
    [
        (PushReason.FRIENDS_PRESENT, Occasion(0.8, (0.0, 0.0)), IN, None),
        (PushReason.FRIENDS_PRESENT, CROWD, IN, NOW - ROLLING_DAY),
        (PushReason.CLOSE_FRIEND, Occasion(0.8, (0.7,)), IN, None),
        (PushReason.NOVELTY, Occasion(0.9, (0.69,), is_new=True), IN, None),
        (PushReason.NOT_OPTED_IN, CROWD, PushPreferences(), None),
        (PushReason.NO_DEVICE, CROWD, PushPreferences(True, has_device=False), None),
        (PushReason.ROOM_SUPPRESSED, Occasion(1, (1, 1), suppressed=True), IN, None),
        (PushReason.LOW_SCORE, Occasion(0.79, (1, 1), is_new=True), IN, None),
        (PushReason.LOW_SCORE, Occasion(float("nan"), (1, 1)), IN, None),
        (PushReason.NO_OCCASION, Occasion(0.89, (0.69,), is_new=True), IN, None),
        (PushReason.NO_OCCASION, Occasion(1.0), IN, None),
        (PushReason.UNKNOWN_TIME_ZONE, CROWD, PushPreferences(True, NIGHT, "Mars/Olympus"), None),
        (PushReason.QUIET_HOURS, CROWD, PushPreferences(True, NIGHT, "Asia/Vladivostok"), None),
        (PushReason.SENT_RECENTLY, CROWD, IN, NOW - ROLLING_DAY + timedelta(seconds=1)),
    ],
)
def test_each_outcome_has_its_reason(reason, occasion, preferences, last) -> None:
    assert decided(occasion, preferences, last) is reason


@pytest.mark.parametrize("name", ["", "America", "../etc/passwd", "nö", "x" * 300, "A\0B"])
def test_a_zone_that_is_none_keeps_a_person_with_quiet_hours_quiet(name) -> None:
    assert decided(preferences=PushPreferences(True, NIGHT, name)) is PushReason.UNKNOWN_TIME_ZONE
    assert decided(preferences=PushPreferences(True, None, name)) is PushReason.FRIENDS_PRESENT


@pytest.mark.parametrize(
    ("hours", "quiet", "loud"),
    [
        (NIGHT, ["22:00", "23:59", "00:00", "07:59"], ["08:00", "12:00", "21:59"]),
        (QuietHours(time(13), time(14)), ["13:00", "13:59"], ["12:59", "14:00", "00:00"]),
        (QuietHours(time(8), time(8)), ["08:00", "00:00", "07:59"], []),
    ],
)
def test_quiet_hours_hold_from_their_start_until_before_their_end(hours, quiet, loud) -> None:
    assert all(hours.hold(time.fromisoformat(wall)) for wall in quiet)
    assert not any(hours.hold(time.fromisoformat(wall)) for wall in loud)


def test_a_repeated_hour_is_quiet_twice_and_a_skipped_one_never_comes() -> None:
    berlin = PushPreferences(True, QuietHours(time(2), time(3)), "Europe/Berlin")
    autumn = datetime(2026, 10, 25, tzinfo=UTC)  # 02:00 … 03:00 twice, from 00:00 UTC
    quiet = [quiet_reason(berlin, autumn + timedelta(minutes=each)) for each in range(-1, 121)]
    assert quiet == [None, *[PushReason.QUIET_HOURS] * 120, None]
    spring = datetime(2027, 3, 28, 1, tzinfo=UTC)  # 02:00 … 03:00 is skipped
    assert not any(
        quiet_reason(berlin, spring + timedelta(minutes=each)) for each in range(-59, 120)
    )


def test_who_travels_takes_their_quiet_hours_along() -> None:
    evening = datetime(2026, 11, 24, 21, 30, tzinfo=UTC)
    assert quiet_reason(PushPreferences(True, NIGHT, "Europe/Berlin"), evening)
    assert not quiet_reason(PushPreferences(True, NIGHT, "America/New_York"), evening)


walls = st.times().map(lambda each: each.replace(tzinfo=None))
moments = st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))


@given(st.sampled_from(ALL_ZONES), walls, walls, moments)
@example("Australia/Lord_Howe", time(1, 30), time(2), datetime(2027, 4, 3, 15, 10, tzinfo=UTC))
def test_no_push_leaves_in_quiet_hours_whatever_the_zone(zone, start, end, now) -> None:
    preferences = PushPreferences(True, QuietHours(start, end), zone)
    wall = now.astimezone(ZoneInfo(zone)).time()
    # Counted on the dial: how far past the start, against how long the span is.
    past, span = (_on_dial(start, each) for each in (wall, end))
    inside = past < span or start == end
    reason = decided(preferences=preferences, now=now)
    assert reason is (PushReason.QUIET_HOURS if inside else PushReason.FRIENDS_PRESENT)


def _on_dial(start: time, wall: time) -> timedelta:
    day = datetime(2000, 1, 1)
    return (datetime.combine(day, wall) - datetime.combine(day, start)) % timedelta(days=1)


@pytest.mark.parametrize("zone", ZONES)
def test_a_simulated_day_sends_once_a_day_and_never_in_quiet_hours(zone) -> None:
    """Occasions every twenty minutes, over days in which clocks change somewhere."""
    preferences = PushPreferences(True, QuietHours(time(23, 15), time(7, 45)), zone)
    years = range(1990, 2037) if FULL else (2026,)
    for year in years:
        for month, day in ((3, 27), (10, 24), (12, 29)):
            now, last, sent = datetime(year, month, day, tzinfo=UTC), None, []
            for _ in range(4 * 72):
                if decided(preferences=preferences, last=last, now=now).sends:
                    last = now
                    sent.append(now)
                now += timedelta(minutes=20)
            assert len(sent) >= 3
            assert all(b - a >= ROLLING_DAY for a, b in pairwise(sent))
            for each in sent:
                wall = each.astimezone(ZoneInfo(zone)).time()
                assert time(7, 45) <= wall < time(23, 15)


@given(
    st.lists(st.floats(0, 1), max_size=4),
    st.floats(0, 1),
    st.booleans(),
    st.integers(0, 200_000),
)
def test_a_push_has_every_condition_of_the_rule(affinities, score, is_new, seconds) -> None:
    occasion = Occasion(score, tuple(affinities), is_new)
    reason = decided(occasion, last=NOW - timedelta(seconds=seconds))
    cause = (
        len(affinities) >= 2
        or (len(affinities) == 1 and affinities[0] >= 0.7)
        or (is_new and score >= 0.9)
    )
    assert reason.sends == (score >= 0.8 and cause and seconds >= 24 * 3600)
