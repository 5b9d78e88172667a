"""Learning to rank: no row is judged by what its signals saw, no verdict by what was learned."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from seda.recommender.diversity import Cap, project
from seda.recommender.fitting import SignalConfig, fitted_lists, train_signals
from seda.recommender.learned import (
    DESIGN,
    LAMBDARANK,
    TUNED,
    LearnedRankers,
    LearningPlan,
    best_kind,
    learn,
    sampled,
)
from seda.recommender.learning import (
    TrainingRows,
    TreeConfig,
    fit_linear,
    fit_trees,
    held_out_folds,
    ndcg_of_rows,
    pairs_without,
    thinned,
)
from seda.recommender.models.als import AlsConfig
from seda.recommender.models.ease import EaseConfig
from seda.recommender.ranking import INPUTS, LinearWeights, contributions_of, raw_scores
from seda.recommender.rules import ListRules
from seda.recommender.signals.content import TagSpaceConfig
from seda.recommender.trees import TreeRanker, tree_contributions, tree_scores
from seda.recommender.tuning import DataSize, Trial, search
from tests.recommender.model_battery import ITEMS, USERS, scenes

CONFIG = SignalConfig(
    als=AlsConfig(factors=6, iterations=4, fits=1),
    ease=EaseConfig(regularization=20, weights_per_item=60),
    tags=TagSpaceConfig(dimensions=2),
)


def rows_of(seed: int, people: int = 200, width: int = 30) -> TrainingRows:
    """Relevance follows the collaborative signal, and beyond 1 the tags'."""
    random = np.random.default_rng(seed)
    inputs = random.standard_normal((people * width, len(INPUTS))).astype(np.float32)
    inputs[:, INPUTS.index("ignored_impressions")] = 0
    ease, tags = INPUTS.index("ease"), INPUTS.index("tags")
    wish = 2 * inputs[:, ease] + np.maximum(inputs[:, tags], 0) ** 2
    relevant = wish + random.gumbel(size=wish.size) > 4
    relevant[::width] = True
    sizes = np.full(people, width)
    held = np.add.reduceat(relevant.astype(np.int64), np.arange(0, wish.size, width))
    shown = {"positions": np.zeros(wish.size, np.int64), "weights": np.ones(wish.size)}
    return TrainingRows(inputs, relevant, sizes, held, **shown)


def test_each_pair_is_held_out_once_and_no_item_vanishes():
    plays = scenes().plays
    folds = list(held_out_folds(plays, 4, seed=3))
    together = sum(fold.astype(bool).astype(int) for fold in folds)
    assert together.max() == 1
    assert (together > plays.astype(bool).astype(int)).nnz == 0
    for fold in folds:
        rest = pairs_without(plays, fold)
        assert rest.nnz + fold.nnz == plays.nnz
        assert (np.asarray((rest > 0).sum(axis=0)) > 0).all()
    again = list(held_out_folds(plays, 4, seed=3))
    assert all((one != other).nnz == 0 for one, other in zip(folds, again, strict=True))


def test_the_blend_finds_the_signals_that_matter_and_no_weight_is_negative():
    weights = fit_linear(rows_of(1))
    assert weights.ease > 0.5 > 10 * weights.walks
    assert min(vars(weights).values()) >= 0
    silent = rows_of(1)
    silent.inputs[:, INPUTS.index("presence")] = 0
    silent.inputs[:, INPUTS.index("recency")] = 0
    weights = fit_linear(silent)
    assert (weights.presence, weights.recency) == (LinearWeights().presence, 0)


def test_thinning_keeps_all_that_is_relevant_and_every_group():
    rows = rows_of(3)
    some = thinned(rows, 3000, seed=1)
    assert thinned(rows, 10**9, seed=1) is rows
    assert some.relevant.size == pytest.approx(3000, rel=0.05)
    assert some.relevant.sum() == rows.relevant.sum()
    assert some.sizes.sum() == some.relevant.size == len(some.inputs)
    np.testing.assert_array_equal(some.held, rows.held)
    hits = [np.add.reduceat(each.relevant.astype(int), np.r_[0, np.cumsum(each.sizes)[:-1]])
            for each in (rows, some)]  # fmt: skip
    np.testing.assert_array_equal(*hits)


def test_two_trees_by_hand():
    trees = TreeRanker(
        feature=np.array([0, -1, 1, -1, -1, -1], np.int32),
        threshold=np.array([0.5, 0, 2, 0, 0, 0]),
        left=np.array([1, -1, 3, -1, -1, -1], np.int32),
        right=np.array([2, -1, 4, -1, -1, -1], np.int32),
        value=np.array([1.0, -1, 3, 2, 5, 0.25]),
        roots=np.array([0, 5], np.int32),
    )
    inputs = np.array([[0, 0], [1, 2], [1, 3]], np.float32)
    np.testing.assert_allclose(tree_scores(trees, inputs), [-0.75, 2.25, 5.25])
    np.testing.assert_allclose(
        tree_contributions(trees, inputs), [[-2, 0, 1.25], [2, -1, 1.25], [2, 2, 1.25]]
    )


def test_trees_are_those_of_the_library_and_beat_the_blend_where_it_bends():
    lightgbm = pytest.importorskip("lightgbm")
    assert lightgbm.__version__
    train, test = rows_of(1, people=600), rows_of(2)
    config = TreeConfig(rows_per_leaf=40)
    trees = fit_trees(train, config=config, seed=1)
    again = fit_trees(train, config=config, seed=1)
    np.testing.assert_array_equal(trees.threshold, again.threshold)
    scores = tree_scores(trees, test.inputs)
    parts = contributions_of(trees, test.inputs)
    np.testing.assert_allclose(parts.sum(axis=1), scores, atol=1e-9)
    linear = raw_scores(fit_linear(train), test.inputs)
    assert ndcg_of_rows(scores, test).mean() > ndcg_of_rows(linear, test).mean()


def test_the_gain_of_rows_counts_what_never_became_a_candidate():
    rows = TrainingRows(
        np.zeros((3, len(INPUTS)), np.float32), np.array([False, True, True]),
        np.array([2, 1]), np.array([1, 2]), np.zeros(3, np.int64), np.ones(3),
    )  # fmt: skip
    gains = ndcg_of_rows(np.array([1.0, 0.5, 9]), rows)
    np.testing.assert_allclose(gains, [1 / np.log2(3), 1 / (1 + 1 / np.log2(3))])


def test_a_kind_is_best_only_when_its_interval_excludes_zero():
    random = np.random.default_rng(0)
    design = random.random(400)
    noise = design + random.normal(0, 0.1, 400)
    better = design + 0.05
    assert best_kind([{DESIGN: design, TUNED: noise - 0.02, LAMBDARANK: design}], seed=1) == DESIGN
    assert best_kind([{DESIGN: design, TUNED: better, LAMBDARANK: noise}], seed=1) == TUNED
    assert best_kind([{DESIGN: design, TUNED: noise, LAMBDARANK: better}], seed=1) == LAMBDARANK
    assert best_kind([{}], seed=1) == DESIGN


def test_too_little_data_teach_nothing():
    learned = learn(scenes(), size=DataSize(1, 1, 1), plan=LearningPlan(fewest_hits=10**6), seed=1)
    assert learned.tuned is None
    assert learned.ranker(LAMBDARANK, LinearWeights()) == LinearWeights()


def test_the_whole_of_learning_on_a_small_world():
    pytest.importorskip("lightgbm")
    plan = LearningPlan(trials=1, folds=2, fewest_hits=50, trees=TreeConfig(trees=5))
    learned = learn(scenes(), size=DataSize(USERS, ITEMS, 1), plan=plan, seed=1)
    assert set(learned.judged) == {DESIGN, TUNED, LAMBDARANK}
    assert isinstance(learned.ranker(LAMBDARANK, LinearWeights()), TreeRanker)
    assert learned.ranker(TUNED, LinearWeights()) is learned.tuned


def test_lists_of_the_fits_hold_nothing_known_and_both_rankings_are_given():
    listening = scenes()
    models = train_signals(listening, config=CONFIG, seed=1)
    weights = LinearWeights(content=0, ease=1)
    clusters = (np.arange(ITEMS) % 5).astype(np.int32)
    rules = ListRules(likeness=project(models.tags.items), caps=(Cap(clusters, 3),))
    for how in ({"clusters": clusters, "rules": rules}, {"clusters": clusters}, {}):
        lists = fitted_lists(
            models, listening, weights, everyone=listening.plays, k=10, seed=1, **how
        )
        known = listening.plays.toarray()[np.arange(USERS)[:, None], np.maximum(lists.items, 0)]
        assert not known[lists.items >= 0].any()
        assert (lists.items >= 0).all()
        assert how or lists.is_new.all()
        most = max(np.bincount(clusters[row[row >= 0]]).max() for row in lists.items)
        assert most <= 3 or "rules" not in how


def test_a_larger_catalogue_is_learned_from_fewer_people():
    plan = LearningPlan(people=3000, pairs=100_000_000)
    assert [plan.people_for(items) for items in (0, 10_000, 100_000, 10**9)] == [
        3000, 3000, 1000, 500,
    ]  # fmt: skip
    assert LearnedRankers.nothing().size.drifted(DataSize(1, 1, 1), 0.1)


def test_a_sample_keeps_the_friendships_inside_it():
    listening = scenes()
    some = sampled(listening, 30, seed=2)
    assert some.plays.shape == (30, ITEMS)
    assert some.friends.shape == (30, 30)
    assert (some.friends != some.friends.T).nnz == 0
    assert sampled(listening, USERS, seed=2) is listening
    picked = sampled(replace(listening, picks=sp.csr_matrix((USERS, 2))), 30, seed=2)
    assert picked.picks.shape == (30, 2)


def test_the_search_is_seeded_starts_at_the_default_and_keeps_the_best():
    space = {"a": (1, 2, 3), "b": (1, 2, 3)}

    def score(values):
        return -abs(values["a"] - 3) - abs(values["b"] - 2)

    found = search(space, score, trials=9, seed=4, start={"a": 1, "b": 1})
    assert found[0] == Trial({"a": 3, "b": 2}, 0)
    assert len({tuple(sorted(trial.values.items())) for trial in found}) == len(found) == 9
    assert found == search(space, score, trials=9, seed=4, start={"a": 1, "b": 1})
    assert len(search(space, score, trials=1, seed=4, start={"a": 1, "b": 1})) == 1
    assert np.isnan(search(space, score, trials=0, seed=4, start={"a": 1, "b": 1})[0].score)


def test_data_have_drifted_when_one_count_moved_enough():
    size = DataSize(100, 100, 1000)
    assert not size.drifted(DataSize(110, 90, 1000), 0.1)
    assert size.drifted(DataSize(100, 100, 1101), 0.1)
    assert DataSize(0, 0, 0).drifted(DataSize(1, 0, 0), 0.1)


def test_learned_rankers_can_be_stored():
    from seda.database.arrays import pack, unpack

    stored = unpack(pack(LearnedRankers(DataSize(1, 2, 3), CONFIG, LinearWeights(), None, {})))
    assert stored.config == CONFIG
    assert stored.tuned == LinearWeights()
