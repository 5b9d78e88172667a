"""Learning from impressions: time splits it, places do not teach, unlikely draws count for more."""

import numpy as np
import pytest

from seda.recommender.feedback import (
    MOST_WEIGHT,
    LoggedImpressions,
    gains_of_logged,
    logged_rows,
    older_and_newer,
)
from seda.recommender.learned import (
    DESIGN,
    FEEDBACK,
    LAMBDARANK,
    LearningPlan,
    best_kind,
    learn,
)
from seda.recommender.learning import TreeConfig, fit_trees, together
from seda.recommender.ranking import INPUTS, LinearWeights, raw_scores
from tests.recommender.model_battery import scenes
from tests.recommender.test_learning import rows_of

PLACES = 10
MEDOIDS = INPUTS.index("medoids")


def logged_world(seed: int, requests: int = 1500, people: int = 150) -> LoggedImpressions:
    """People answer what the medoids' signal says, if they look; the order shown was of no use."""
    random = np.random.default_rng(seed)
    inputs = random.standard_normal((requests * PLACES, len(INPUTS))).astype(np.float32)
    inputs[:, INPUTS.index("ignored_impressions")] = 0
    positions = np.tile(np.arange(1, PLACES + 1), requests)
    looked = random.random(positions.size) < 1 / positions
    liked = random.random(positions.size) < 1 / (1 + np.exp(2 - 2 * inputs[:, MEDOIDS]))
    owners = np.repeat(random.integers(0, people, requests), PLACES)
    return LoggedImpressions(
        inputs=inputs,
        answered=looked & liked,
        positions=positions,
        propensities=np.ones(positions.size),
        days=np.repeat(np.sort(random.random(requests) * 30), PLACES),
        requests=np.repeat(random.permutation(requests), PLACES),
        people=owners,
    )


def test_the_newest_requests_are_apart_and_no_request_is_torn():
    logged = logged_world(1)
    older, newer = older_and_newer(logged)
    assert older.days.max() < newer.days.min()
    assert not set(older.requests) & set(newer.requests)
    assert newer.requests.size / logged.requests.size == pytest.approx(0.2, abs=0.01)
    nothing = logged.chosen(np.zeros(logged.days.size, bool))
    assert older_and_newer(nothing)[1].days.size == 0
    assert logged_rows(nothing).sizes.size == 0
    assert gains_of_logged(np.zeros(0), nothing).size == 0


def test_only_requests_that_prefer_something_teach():
    logged = logged_world(2, requests=3)
    answered = np.zeros(30, bool)
    answered[[3, *range(10, 20)]] = True
    rows = logged_rows(LoggedImpressions(**(vars(logged) | {"answered": answered})))
    assert rows.sizes.tolist() == [PLACES]
    assert rows.held.tolist() == [1]
    np.testing.assert_array_equal(rows.inputs, logged.inputs[:10])


def test_an_unlikely_draw_counts_for_more_but_not_without_bound():
    logged = logged_world(3, requests=1)
    answered, propensities = np.zeros(10, bool), np.ones(10)
    answered[0], propensities[:3] = True, [0.5, 0.25, 1e-6]
    rows = logged_rows(
        LoggedImpressions(**(vars(logged) | {"answered": answered, "propensities": propensities}))
    )
    assert rows.weights.tolist() == [2, 4, MOST_WEIGHT, *[1] * 7]


def test_the_best_order_gains_one_and_the_place_shown_is_divided_out():
    logged = logged_world(4)
    ideal = gains_of_logged(logged.answered.astype(float), logged)
    assert ideal.max() <= 1 + 1e-12
    # The first places were answered more only because they were looked at more.
    as_shown = gains_of_logged(-logged.positions.astype(float), logged).mean()
    by_taste = gains_of_logged(logged.inputs[:, MEDOIDS].astype(float), logged).mean()
    assert by_taste > as_shown


def test_trees_learn_from_feedback_what_the_interactions_do_not_say():
    rows, logged, test = rows_of(1, people=300), logged_world(5, 3000), logged_world(6)
    config = TreeConfig(rows_per_leaf=40, trees=40)
    before = fit_trees(rows, config=config, seed=1)
    after = fit_trees(together([rows, logged_rows(logged)]), config=config, seed=1)
    gains = [gains_of_logged(raw_scores(each, test.inputs), test) for each in (before, after)]
    assert gains[1].mean() > gains[0].mean() + 0.05


def test_what_learned_from_feedback_takes_over_only_when_feedback_says_so():
    random = np.random.default_rng(0)
    base = random.random(300)
    better = {LAMBDARANK: base, DESIGN: base, FEEDBACK: base + random.normal(0.05, 0.1, 300)}
    same = better | {FEEDBACK: base + random.normal(0, 0.1, 300)}
    inner = [{DESIGN: base, LAMBDARANK: base + 0.1}]
    assert best_kind(inner, seed=1, judged_live=[better]) == FEEDBACK
    assert best_kind(inner, seed=1, judged_live=[same]) == LAMBDARANK
    assert best_kind(inner, seed=1) == LAMBDARANK


def test_a_region_with_enough_answers_learns_from_them():
    plan = LearningPlan(
        trials=0, folds=2, fewest_hits=50, fewest_answers=50, trees=TreeConfig(rows_per_leaf=20)
    )
    learned = learn(scenes(), plan=plan, seed=1, logged=logged_world(7))
    assert set(learned.judged_live) == {"linear", "tuned", LAMBDARANK, FEEDBACK}
    assert learned.ranker(FEEDBACK, LinearWeights()) is learned.feedback
    few = learn(scenes(), plan=plan, seed=1, logged=logged_world(7, requests=5))
    assert few.feedback is None
    assert few.ranker(FEEDBACK, LinearWeights()) is few.trees
