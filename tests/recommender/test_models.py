"""Every model passes the one battery, and its own hand-computed cases."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from seda.recommender.models import ease as ease_module
from seda.recommender.models.als import AlsConfig, train_als
from seda.recommender.models.chance import train_chance
from seda.recommender.models.ease import EaseConfig, ease_rows, train_ease
from seda.recommender.models.item_weights import top_k_weighted, weighted_at
from seda.recommender.models.listening import Listening, relative_strengths, tag_strengths
from seda.recommender.models.neighbours import NeighboursConfig, train_neighbours
from seda.recommender.models.picks import PicksConfig, largest_picks, train_picks
from seda.recommender.models.popularity import train_popularity
from seda.recommender.models.tag_neighbours import TagNeighboursConfig, train_tag_neighbours
from seda.recommender.models.walks import WalksConfig, train_walks
from seda.recommender.signals.content import TagSpaceConfig, train_tag_space
from tests.recommender.model_battery import ITEMS, USERS, ModelBattery, scenes

EASE = EaseConfig(regularization=20, weights_per_item=60)


class TestAls(ModelBattery):
    @staticmethod
    def train(listening):
        return train_als(listening, config=AlsConfig(factors=6, iterations=8, fits=2), seed=1)


class TestEase(ModelBattery):
    @staticmethod
    def train(listening):
        return train_ease(listening, config=EASE)


class TestNeighbours(ModelBattery):
    @staticmethod
    def train(listening):
        return train_neighbours(listening, config=NeighboursConfig(neighbours=20))


class TestWalks(ModelBattery):
    @staticmethod
    def train(listening):
        return train_walks(listening, config=WalksConfig(targets=40))


class TestTagNeighbours(ModelBattery):
    @staticmethod
    def train(listening):
        return train_tag_neighbours(listening, config=TagNeighboursConfig(neighbours=30))


class TestTagSpace(ModelBattery):
    @staticmethod
    def train(listening):
        return train_tag_space(listening, config=TagSpaceConfig(dimensions=2), seed=1)


class TestPicks(ModelBattery):
    @staticmethod
    def train(listening):
        return train_picks(listening, config=PicksConfig())


class TestPopularity(ModelBattery):
    personal = False

    @staticmethod
    def train(listening):
        return train_popularity(listening)


class TestChance(ModelBattery):
    personal = False

    @staticmethod
    def train(listening):
        return train_chance(listening, seed=4)


def bare(plays):
    return Listening(sp.csr_matrix(np.array(plays, np.float32)))


def test_strengths_are_relative_to_the_listener_and_tags_to_their_mean():
    plays = sp.csr_matrix([[np.e - 1, np.e**3 - 1], [0, np.e - 1]], dtype=np.float32)
    np.testing.assert_allclose(relative_strengths(plays).toarray(), [[0.5, 1.5], [0, 1]], rtol=1e-6)
    tags = sp.csr_matrix([[2.0, 4.0], [0, 6]])
    np.testing.assert_allclose(tag_strengths(tags).toarray(), [[0.5, 1], [0, 1.5]])


def test_ease_is_the_closed_form():
    plays = (np.random.default_rng(3).random((30, 8)) < 0.4).astype(np.float32)
    config = EaseConfig(regularization=5, tag_weight=0, friend_weight=0, weights_per_item=8)
    fitted = train_ease(bare(plays), config=config).weights.toarray()
    inverse = np.linalg.inv(plays.T @ plays + 5 * np.eye(8))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(fitted, expected, atol=1e-5)


def test_ease_is_the_same_in_user_space_and_in_item_space():
    listening = scenes()
    rows = listening.rows(slice(0, 40))
    narrow = replace(rows, friends=listening.friends[:40][:, :40])
    config = replace(EASE, weights_per_item=ITEMS + 40)
    in_user_space = train_ease(narrow, config=config).weights.toarray()
    both = [ease_module._in_user_space, ease_module._in_item_space]
    columns = sp.csr_matrix(np.random.default_rng(0).random((7, 12)), dtype=np.float32)
    blocks = [np.concatenate(list(solve(columns, 12, config))) for solve in both]
    for block in blocks:
        np.fill_diagonal(block, 0)
    np.testing.assert_allclose(blocks[0], blocks[1], atol=1e-4)
    assert np.isfinite(in_user_space).all()


def test_ease_keeps_the_strongest_weights_of_each_item_and_only_supported_items():
    listening = scenes()
    full = train_ease(listening, config=replace(EASE, weights_per_item=1000)).weights.toarray()
    few = train_ease(listening, config=replace(EASE, weights_per_item=5)).weights.toarray()
    assert ((few != 0).sum(axis=0) == 5).all()
    least = np.sort(np.abs(full), axis=0)[-5]
    strongest = np.sort(np.abs(full), axis=0)[-5:].sum(axis=0)
    np.testing.assert_allclose(np.abs(few).sum(axis=0), strongest, rtol=1e-5)
    assert (np.abs(full)[few != 0] >= np.broadcast_to(least, full.shape)[few != 0]).all()
    narrow = train_ease(listening, config=replace(EASE, items_at_most=10)).weights
    assert np.unique(narrow.indices).size == 10


def test_a_system_that_would_be_too_large_keeps_its_best_supported_items_and_no_friend():
    model = train_ease(scenes(), config=replace(EASE, system_at_most=40))
    assert np.unique(model.weights.indices).size == 40
    assert model.weights[ITEMS:].nnz == 0


def test_a_friend_speaks_for_somebody_who_has_played_nothing():
    listening = scenes()
    model = train_ease(listening, config=EASE)
    friends = sp.csr_matrix((np.ones(4, np.float32), ([0] * 4, [0, 3, 6, 9])), shape=(1, USERS))
    newcomer = Listening(sp.csr_matrix((1, ITEMS), dtype=np.float32), friends=friends)
    scores = model.scores(newcomer)[0]
    assert scores[::3].mean() > scores[1::3].mean()
    alone = replace(newcomer, friends=sp.csr_matrix((1, USERS), dtype=np.float32))
    assert not model.scores(alone).any()


def picking(listening):
    picks = sp.csr_matrix(np.eye(3, dtype=np.float32)[np.arange(USERS) % 3])
    return replace(listening, picks=picks)


def test_a_pick_speaks_for_somebody_who_has_played_nothing():
    model = train_picks(picking(scenes()), config=PicksConfig())
    newcomer = Listening(
        sp.csr_matrix((1, ITEMS), dtype=np.float32),
        friends=sp.csr_matrix((1, USERS), dtype=np.float32),
        picks=sp.csr_matrix([[0, 1.0, 0]]),
    )
    scores = model.scores(newcomer)[0]
    assert scores[1::3].mean() > 3 * scores[0::3].mean()
    friends = sp.csr_matrix((np.ones(3, np.float32), ([0] * 3, [0, 3, 6])), shape=(1, USERS))
    beside = model.scores(replace(newcomer, friends=friends))[0]
    assert (beside - scores)[0::3].mean() > (beside - scores)[2::3].mean()
    nothing = replace(newcomer, picks=sp.csr_matrix((1, 3), dtype=np.float32))
    assert not model.scores(nothing).any()


def test_what_somebody_would_pick_are_their_heaviest_tags():
    weights = sp.csr_matrix([[1, 0, 4, 2, 3.0], [0, 0, 0, 0, 0], [0, 5, 0, 0, 0]])
    assert largest_picks(weights).toarray().tolist() == [[0, 0, 1, 1, 1], [0] * 5, [0, 1, 0, 0, 0]]


def test_item_weights_score_only_what_has_a_weight():
    rows = sp.csr_matrix([[1.0, 2.0], [0, 0], [0, 1]], dtype=np.float32)
    weights = sp.csr_matrix([[0, 3.0, 1], [5, 0, -4]], dtype=np.float32)
    top = top_k_weighted(rows, weights, 2, exclude=sp.csr_matrix([[0, 0, 0], [0] * 3, [1, 0, 0]]))
    assert top.items.tolist() == [[0, 1], [-1, -1], [-1, -1]]
    assert top.scores[0].tolist() == [10, 3]
    found = weighted_at(rows, weights, np.array([0, 2, 3, 4]), np.array([2, 0, 1, 1], np.int32))
    np.testing.assert_array_equal(found, [-7, 10, np.nan, 0])


def test_neighbours_are_cosines_of_rare_listeners():
    plays = np.zeros((4, 3))
    plays[0, :2] = plays[1, :2] = np.e - 1
    plays[2, 2] = plays[3, 2] = np.e - 1
    config = NeighboursConfig(neighbours=2, shrinkage=0)
    weights = train_neighbours(bare(plays), config=config).weights.toarray()
    np.testing.assert_allclose(weights, [[0, 1, 0], [1, 0, 0], [0, 0, 0]], atol=1e-6)


def test_a_walk_is_the_product_of_shares_damped_by_popularity():
    plays = np.array([[1, 1, 0], [0, 1, 1]]) * (np.e - 1)
    weights = train_walks(bare(plays), config=WalksConfig(damping=1, targets=3)).weights.toarray()
    # Item 0 → listener 0 → items 0, 1 with a half each; item 1 has two listeners.
    np.testing.assert_allclose(weights[0], [0, 0.25, 0], atol=1e-6)
    np.testing.assert_allclose(weights[1], [0.25, 0, 0.25], atol=1e-6)


def test_popularity_counts_listeners_not_plays():
    scores = train_popularity(bare([[900, 1, 0], [0, 1, 0]])).items
    np.testing.assert_allclose(scores, np.log1p([1, 2, 0]), rtol=1e-6)


@pytest.mark.parametrize("limit", [0, 1])
def test_tag_neighbours_need_a_shared_tag(limit):
    tags = sp.csr_matrix([[1.0, 0], [1, 0], [0, 1]])
    listening = replace(bare([[1, 1, 1]]), item_tags=tags)
    config = TagNeighboursConfig(neighbours=limit)
    weights = train_tag_neighbours(listening, config=config).weights.toarray()
    expected = np.zeros((3, 3))
    expected[0, 1] = expected[1, 0] = limit
    np.testing.assert_allclose(weights, expected, atol=1e-6)


def test_what_a_row_of_ease_holds_has_the_weights_of_its_config():
    listening = scenes()
    model = train_ease(listening, config=EASE)
    rows = ease_rows(model, listening)
    assert rows.shape == (USERS, ITEMS + USERS)
    np.testing.assert_allclose(rows[0, ITEMS:].data, EASE.friend_weight, rtol=1e-6)
