"""Calibration and ranking: units of a raw signal must not matter, and missing is neutral."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from seda.recommender.candidates import CandidatePool
from seda.recommender.features import FEATURES, FeatureTable, column
from seda.recommender.ranking import (
    CONTRIBUTIONS,
    LinearWeights,
    contributions_of,
    effective_shares,
    linear_weights,
    rank,
    score_of,
)
from seda.recommender.signals.calibration import LIMIT, calibrate

INDPTR = np.array([0, 4, 4, 9])


def table(values):
    pool = CandidatePool(
        INDPTR, np.array([0, 1, 2, 3, 0, 1, 2, 3, 4], np.int32), np.ones(9, np.uint8)
    )
    return FeatureTable(pool, values.astype(np.float32))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(-50, 50), min_size=9, max_size=9),
    st.integers(-8, 8),
    st.integers(-100, 100),
    st.sets(st.integers(0, 8)),
)
def test_a_positive_factor_and_a_shift_change_nothing(values, exponent, shift, missing):
    raw = np.array(values, np.float32)
    raw[list(missing)] = np.nan
    # Powers of two and integers keep float32 exact, so equality is of the rule, not of rounding.
    scaled = raw * np.float32(2.0**exponent) + np.float32(shift)
    np.testing.assert_allclose(calibrate(scaled, INDPTR), calibrate(raw, INDPTR), atol=1e-4)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.sampled_from([0.001, 0.5, 3.0, 1000.0]))
def test_rescaling_a_raw_signal_changes_no_ranking(seed, factor):
    random = np.random.default_rng(seed)
    values = random.standard_normal((9, len(FEATURES)))
    rescaled = values.copy()
    rescaled[:, column("collaborative_score")] *= factor
    before = rank(table(values), LinearWeights()).score
    after = rank(table(rescaled), LinearWeights()).score
    for start, stop in ((0, 4), (4, 9)):
        np.testing.assert_array_equal(
            np.argsort(-before[start:stop]), np.argsort(-after[start:stop])
        )


def test_standard_scores_by_hand():
    calibrated = calibrate(np.array([1, 3, 1, 3, 5, 5, 5, 5, np.nan], np.float32), INDPTR)
    assert calibrated.tolist() == [-1, 1, -1, 1, 0, 0, 0, 0, 0]


def test_missing_infinite_and_constant_are_neutral_and_outliers_are_bounded():
    raw = np.array([np.nan, np.inf, -np.inf, 2.0] + [np.nan] * 5, np.float32)
    assert (calibrate(raw, INDPTR) == 0).all()
    lonely = np.zeros(500, np.float32)
    lonely[7] = 1
    assert calibrate(lonely, np.array([0, 500]))[7] == LIMIT
    assert calibrate(np.empty(0, np.float32), np.array([0])).size == 0


def test_all_signals_missing_gives_the_neutral_score():
    ranked = rank(table(np.full((9, len(FEATURES)), np.nan)), LinearWeights())
    assert (ranked.score == 0.5).all()
    assert (contributions_of(LinearWeights(), ranked.inputs) == 0).all()


@given(st.integers(0, 2**31))
@settings(deadline=None, max_examples=30)
def test_scores_are_in_the_unit_interval_and_recomputable(seed):
    random = np.random.default_rng(seed)
    values = random.standard_normal((9, len(FEATURES))) * 10.0 ** random.integers(-6, 7)
    values[random.random(values.shape) < 0.3] = np.nan
    ranked = rank(table(values), LinearWeights())
    assert ((ranked.score >= 0) & (ranked.score <= 1)).all()
    contributions = contributions_of(LinearWeights(), ranked.inputs)
    np.testing.assert_allclose(ranked.score, score_of(contributions), atol=1e-12)
    sums = contributions.sum(axis=1)
    np.testing.assert_array_equal(np.argsort(sums), np.argsort(ranked.score))


def test_contributions_are_weight_times_calibrated_signal():
    values = np.full((9, len(FEATURES)), np.nan)
    values[:4, column("embedding_similarity")] = [1, 3, 1, 3]
    values[:4, column("popularity")] = [3, 1, 3, 1]
    weights = LinearWeights(content=0.5, popularity=0.1)
    contributions = contributions_of(weights, rank(table(values), weights).inputs)
    places = [CONTRIBUTIONS.index(name) for name in ("content", "popularity")]
    np.testing.assert_allclose(contributions[:2, places], [[-0.5, 0.1], [0.5, -0.1]])
    assert not np.delete(contributions[:2], places, axis=1).any()


def test_friends_weigh_more_for_newcomers():
    values = np.full((9, len(FEATURES)), np.nan)
    values[:4, column("social_score")] = [1, 3, 1, 3]
    values[:4, column("profile_size")] = np.log1p([0, 0, 10, 10])
    weights = LinearWeights(social=0.1, newcomers=0.4)
    social = contributions_of(weights, rank(table(values), weights).inputs)[
        :4, CONTRIBUTIONS.index("social")
    ]
    np.testing.assert_allclose(social, [-0.5, 0.5, -0.3, 0.3], rtol=1e-6)


def test_the_effective_share_is_that_of_the_mean_absolute_contribution():
    contributions = np.zeros((2, len(CONTRIBUTIONS)))
    contributions[:, 0], contributions[:, 1], contributions[:, -1] = [3, -3], [1, 1], 100
    shares = effective_shares(contributions)
    assert (shares["content"], shares["collaborative"]) == (0.75, 0.25)
    assert "base" not in shares


def test_the_design_row_of_the_registry_gives_presence_the_social_weight():
    weights = linear_weights(
        "linear", {"content": 0.5, "collaborative": 0.25, "social": 0.15, "popularity": 0.1}
    )
    assert weights == LinearWeights()
