"""What every model must do, as one class that each model's tests inherit."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from seda.database.arrays import pack, unpack
from seda.recommender.evaluate import per_user_holdout
from seda.recommender.models.listening import Listening, Model
from seda.recommender.models.popularity import train_popularity
from seda.recommender.tuning import holdout_ndcg

USERS, ITEMS, SCENES = 120, 90, 3


def scenes(seed: int = 0) -> Listening:
    """Listeners of 3 scenes with 30 items each; plays are heavy-tailed, tags name the scenes, and
    friends share a scene."""
    random = np.random.default_rng(seed)
    of_user, of_item = np.arange(USERS) % SCENES, np.arange(ITEMS) % SCENES
    inside = of_user[:, None] == of_item[None, :]
    heard = random.random((USERS, ITEMS)) < np.where(inside, 0.4, 0.02)
    counts = np.ceil(random.lognormal(3, 1, heard.shape)) * heard
    tags = (of_item[:, None] == np.arange(SCENES)) * 1.0 + (random.random((ITEMS, SCENES)) < 0.05)
    friends = np.triu((of_user[:, None] == of_user) & (random.random((USERS, USERS)) < 0.1), 1)
    return Listening(
        sp.csr_matrix(counts.astype(np.float32)),
        item_tags=sp.csr_matrix(tags.astype(np.float32)),
        friends=sp.csr_matrix((friends | friends.T).astype(np.float32)),
    )


class ModelBattery:
    """Inherit, and say how the model is trained."""

    personal = True
    """Whether the model must beat popularity."""

    @staticmethod
    def train(listening: Listening) -> Model:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def listening(cls) -> Listening:
        return scenes()

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, listening: Listening) -> Model:
        return cls.train(listening)

    def test_training_is_deterministic(self, listening: Listening, model: Model) -> None:
        again = self.train(listening)
        np.testing.assert_array_equal(model.scores(listening), again.scores(listening))

    def test_packing_changes_nothing(self, listening: Listening, model: Model) -> None:
        stored = unpack(pack(model))
        np.testing.assert_array_equal(stored.scores(listening), model.scores(listening))
        assert type(stored) is type(model)

    def test_the_order_of_users_changes_nothing(self, listening: Listening, model: Model) -> None:
        rows = listening.rows(slice(3, 9))
        turned = replace(
            rows,
            plays=rows.plays[::-1],
            friends=None if rows.friends is None else rows.friends[::-1],
        )
        np.testing.assert_allclose(
            model.scores(turned)[::-1], model.scores(rows), rtol=1e-4, atol=1e-5
        )

    def test_beats_popularity_where_tastes_differ(self, listening: Listening) -> None:
        train, held = per_user_holdout(listening.plays, 0.25, seed=1)
        rest = replace(listening, plays=train)
        ours = holdout_ndcg(self.train(rest), rest, held)
        theirs = holdout_ndcg(train_popularity(rest), rest, held)
        assert (ours > 1.3 * theirs) is self.personal

    def test_an_unknown_user_gets_finite_scores(self, model: Model) -> None:
        nobody = Listening(
            sp.csr_matrix((2, ITEMS), dtype=np.float32),
            friends=sp.csr_matrix((2, USERS), dtype=np.float32),
        )
        scores = model.scores(nobody)
        assert scores.shape == (2, ITEMS)
        assert np.isfinite(scores).all()
        if self.personal:
            assert not scores.any()

    @pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (3, 4)])
    def test_nothing_to_learn_from_gives_nothing(self, shape: tuple[int, int]) -> None:
        users, items = shape
        empty = Listening(
            sp.csr_matrix(shape, dtype=np.float32),
            item_tags=sp.csr_matrix((items, 2), dtype=np.float32),
            friends=sp.csr_matrix((users, users), dtype=np.float32),
        )
        scores = self.train(empty).scores(empty)
        assert scores.shape == shape
        assert np.isfinite(scores).all()
