"""Ignored items sink: more with each impression, less with each day, never without bound."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from seda.recommender.arrays import sparse_rows, values_at
from seda.recommender.candidates import CandidatePool
from seda.recommender.fatigue import Fatigue, fatigue_discount, ignored_impressions

POOL = CandidatePool(np.array([0, 3, 5]), np.array([0, 1, 2, 0, 2], np.int32), np.ones(5, np.uint8))
FATIGUE = Fatigue(strength=1.0, half_life_days=7.0, prior=3.0)


def discount(counts, ages, touched=None):
    shown = sp.csr_matrix(np.array([[counts, 0, 0], [0, 0, 1]], np.float32))
    stored = np.array([ages] * (counts > 0) + [0.0], np.float32)
    ignored = ignored_impressions(shown, stored, touched, fatigue=FATIGUE)
    weights = values_at(sparse_rows(ignored), POOL.indptr, POOL.items)
    return fatigue_discount(weights, fatigue=FATIGUE)


def test_the_discount_by_hand():
    assert discount(3, 0.0).tolist() == pytest.approx([-0.5, 0, 0, 0, -0.25])
    assert discount(6, 7.0)[0] == pytest.approx(-0.5)


@given(st.integers(0, 100), st.integers(0, 100), st.floats(0, 400), st.floats(0, 400))
def test_more_impressions_sink_and_time_heals(fewer, more, sooner, later):
    fewer, more = sorted((fewer, more))
    sooner, later = sorted((sooner, later))
    assert -1.0 < discount(more, sooner)[0] <= discount(fewer, sooner)[0] <= 0
    assert discount(more, sooner)[0] <= discount(more, later)[0] + 1e-7


def test_what_was_touched_was_not_ignored():
    touched = sp.csr_matrix(np.array([[1, 0, 0], [0, 0, 0]], np.float32))
    assert discount(50, 0.0, touched)[0] == 0


def test_ages_must_belong_to_impressions():
    with pytest.raises(ValueError, match="as many ages"):
        ignored_impressions(
            sp.csr_matrix(np.ones((1, 2))), np.zeros(1, np.float32), None, fatigue=FATIGUE
        )
