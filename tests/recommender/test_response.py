"""Rates of answers: few impressions prove little, and low places are looked at less."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seda.recommender.signals.response import examination, smoothed_rates


def rates(rows, count=4):
    items, positions, shown, answered = np.array(rows, np.float64).T
    return smoothed_rates(
        items.astype(np.int32), positions.astype(np.int64), shown, answered, count=count
    )


def test_one_lucky_impression_moves_an_item_little_and_many_move_it_all_the_way():
    found = rates([(0, 1, 1000, 100), (1, 1, 1, 1), (2, 1, 10_000, 5000)])
    general = found[3]
    assert found[1] - general < 0.05
    assert found[0] == pytest.approx(0.1, abs=0.01)
    assert found[2] == pytest.approx(0.5, abs=0.01)


def test_an_answer_at_a_low_place_counts_for_more_than_one_at_the_top():
    found = rates([(0, 1, 5000, 500), (1, 10, 5000, 100), (2, 10, 5000, 500), (3, 1, 5000, 100)])
    assert found[2] > found[0] > found[1] > found[3]


def test_places_are_examined_less_and_less():
    looks = examination(
        np.arange(1, 6), np.full(5, 10_000.0), np.array([1000.0, 500, 600, 100, 0]), most=5
    )
    assert looks[0] == 1
    assert (np.diff(looks) <= 0).all()
    assert looks[1] == pytest.approx(0.5, abs=0.01)
    assert (looks > 0).all()


def test_nothing_shown_is_not_known():
    nothing = np.zeros(0)
    found = smoothed_rates(
        nothing.astype(np.int32), nothing.astype(np.int64), nothing, nothing, count=3
    )
    assert np.isnan(found).all()


rows = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 90), st.integers(1, 50)).flatmap(
        lambda row: st.tuples(*map(st.just, row), st.integers(0, row[2]))
    ),
    min_size=1,
)


@given(rows)
def test_a_rate_is_always_a_share(some):
    found = rates(some)
    assert ((found >= 0) & (found <= 1)).all()
