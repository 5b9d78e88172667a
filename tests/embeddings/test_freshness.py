"""Unchanged text is embedded again every 30 to 60 days, a like share every day."""

import numpy as np
import pytest

from seda.embeddings.freshness import ages, are_due

IDS = np.random.default_rng(3).integers(0, 256, (20_000, 16), dtype=np.uint8)
# As uuid4 makes them: version and variant bits are constant.
IDS[:, 6] = IDS[:, 6] & 0x0F | 0x40
IDS[:, 8] = IDS[:, 8] & 0x3F | 0x80
DAY_ZERO = np.zeros(len(IDS), np.int64)


@pytest.mark.parametrize(
    ("period", "youngest", "oldest"), [(45, 30, 60), (30, 30, 40), (60, 40, 60)]
)
def test_every_entity_has_an_age_within_the_bounds(period, youngest, oldest) -> None:
    assert (ages(IDS, DAY_ZERO, period).min(), ages(IDS, DAY_ZERO, period).max()) == (
        youngest,
        oldest,
    )


def test_the_mean_age_is_the_period_and_no_day_has_more_than_its_share() -> None:
    assert abs(ages(IDS, DAY_ZERO).mean() - 45) < 0.5
    per_day = np.bincount(ages(IDS, DAY_ZERO))[30:]
    assert per_day.max() < 1.25 * per_day.mean()


def test_over_a_year_everything_is_embedded_in_time_and_no_night_does_all() -> None:
    computed = DAY_ZERO.copy()
    done = []
    for day in range(1, 366):
        due = are_due(IDS, computed, day)
        assert (day - computed[due] <= 60).all()
        assert (day - computed[~due] < 60).all()
        computed[due] = day
        done.append(due.sum())
    assert max(done) < len(IDS) / 10
    assert sum(done) == pytest.approx(len(IDS) * 365 / 45, rel=0.12)


def test_missed_nights_are_caught_up() -> None:
    assert not are_due(IDS, DAY_ZERO, 29).any()
    assert are_due(IDS, DAY_ZERO, 75).all()
