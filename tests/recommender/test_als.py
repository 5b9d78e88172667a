"""ALS: it finds blocks that popularity cannot, and knows nothing of whom it has never seen."""

import numpy as np
import pytest
import scipy.sparse as sp

from seda.recommender.evaluate import evaluate, per_user_holdout
from seda.recommender.models.als import AlsConfig, fold_in, train_als
from seda.recommender.models.listening import Listening
from seda.recommender.nearest import top_k_products

SMALL = AlsConfig(factors=6, iterations=8, fits=2)


@pytest.fixture(scope="module")
def blocks():
    """120 listeners of 3 scenes with 30 items each; plays are heavy-tailed."""
    random = np.random.default_rng(0)
    scene_of_user, scene_of_item = np.arange(120) % 3, np.arange(90) % 3
    inside = scene_of_user[:, None] == scene_of_item[None, :]
    heard = random.random((120, 90)) < np.where(inside, 0.4, 0.02)
    counts = np.ceil(random.lognormal(3, 1, heard.shape)) * heard
    return sp.csr_matrix(counts.astype(np.float32))


def test_beats_popularity_on_scenes(blocks):
    train, held = per_user_holdout(blocks, 0.25, seed=1)
    factors = train_als(Listening(train), config=SMALL, seed=1)
    personal = top_k_products(factors.users, factors.items, 20, exclude=train).items
    plays = np.asarray((train > 0).sum(axis=0), np.float32)
    everyone = np.ones((train.shape[0], 1), np.float32)
    popular = top_k_products(everyone, plays.T, 20, exclude=train).items
    ours, theirs = (evaluate(lists, held, seed=0).ndcg for lists in (personal, popular))
    assert ours.low > theirs.high


def test_the_seed_decides(blocks):
    one, again, other = (
        train_als(Listening(blocks), config=SMALL, seed=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.items, again.items)
    np.testing.assert_array_equal(one.users, again.users)
    assert not np.array_equal(one.items, other.items)


def test_folding_in_a_known_user_gives_the_fitted_factors(blocks):
    factors = train_als(Listening(blocks), config=SMALL, seed=1)
    np.testing.assert_allclose(fold_in(factors, blocks[3:5]), factors.users[3:5], atol=1e-5)


def test_users_and_items_without_plays_are_zero(blocks):
    plays = blocks.tolil()
    plays[4, :] = 0
    plays[:, 7] = 0
    factors = train_als(Listening(plays.tocsr()), config=SMALL, seed=1)
    assert not factors.users[4].any()
    assert not factors.items[7].any()
    assert np.isfinite(factors.users).all()
    assert np.isfinite(factors.items).all()


def test_tags_place_an_item_nobody_has_played(blocks):
    plays = blocks.tolil()
    plays[:, 7] = 0
    scenes = sp.csr_matrix((np.arange(90) % 3 == np.arange(3)[:, None]).astype(np.float32))
    factors = train_als(Listening(plays.tocsr(), item_tags=scenes.T.tocsr()), config=SMALL, seed=1)
    scores = factors.users @ factors.items[7]
    fans = np.arange(120) % 3 == 7 % 3
    assert factors.users.shape[0] == 120
    assert scores[fans].mean() > scores[~fans].mean()


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (3, 4)])
def test_an_empty_matrix_gives_zeros(shape):
    factors = train_als(Listening(sp.csr_matrix(shape)), config=SMALL, seed=1)
    assert factors.users.shape == (shape[0], 12)
    assert factors.items.shape == (shape[1], 12)
    assert not factors.users.any()
    assert fold_in(factors, sp.csr_matrix(shape)).shape == (shape[0], 12)


def test_plays_are_weighed_relative_to_the_listener(blocks):
    """Ten times the listening with the same shape of taste is nearly the same user."""
    factors = train_als(Listening(blocks), config=SMALL, seed=1)
    before, after = fold_in(factors, blocks[:1]), fold_in(factors, blocks[:1] * 10)
    cosine = (before @ after.T).item() / np.linalg.norm(before) / np.linalg.norm(after)
    assert cosine > 0.99
