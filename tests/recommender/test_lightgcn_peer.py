"""The peer that we compare with is what its paper says: a weak copy would flatter us."""

import numpy as np
import pytest
import scipy.sparse as sp

from benchmarks.peers.lightgcn import (
    LightGCNConfig,
    _gradient,
    _normalised,
    _propagated,
    _triples,
    train_lightgcn,
)
from seda.recommender.learning import held_out_folds, pairs_without

CONFIG = LightGCNConfig(factors=3, layers=2, regularization=0.1)


def _plays(users: int, items: int, seed: int) -> sp.csr_matrix:
    return sp.random(users, items, 0.4, "csr", np.float32, np.random.default_rng(seed))


def test_the_gradient_is_that_of_the_loss() -> None:
    plays, random = _plays(5, 6, seed=1), np.random.default_rng(2)
    graph = _normalised(plays).astype(np.float64)
    embeddings = random.normal(size=(11, 3))
    (triples,) = _triples(plays, 1000, random)
    own, liked, other = triples[0], triples[1] + 5, triples[2] + 5

    def loss(values: np.ndarray) -> float:
        final = _propagated(graph, values, CONFIG.layers)
        margin = (final[own] * (final[liked] - final[other])).sum(axis=1)
        penalty = (values[np.concatenate([own, liked, other])] ** 2).sum() / (2 * own.size)
        return float(np.log1p(np.exp(-margin)).mean() + CONFIG.regularization * penalty)

    found = _gradient(graph, embeddings, triples, 5, CONFIG)
    for at in np.ndindex(embeddings.shape):
        step = np.zeros_like(embeddings)
        step[at] = 1e-5
        slope = (loss(embeddings + step) - loss(embeddings - step)) / 2e-5
        assert found[at] == pytest.approx(slope, abs=1e-5)


def test_every_pair_is_learned_once_against_what_was_not_played() -> None:
    plays = _plays(20, 30, seed=3)
    batches = list(_triples(plays, 16, np.random.default_rng(4)))
    users, liked, other = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    assert sorted(zip(users, liked, strict=True)) == sorted(zip(*plays.nonzero(), strict=True))
    assert not np.asarray(plays[users, other]).any()


def test_two_groups_of_listeners_are_told_apart() -> None:
    random = np.random.default_rng(5)
    same = np.arange(40)[:, None] % 2 == np.arange(60)[None, :] % 2
    plays = sp.csr_matrix((random.random((40, 60)) < 0.5) & same, dtype=np.float32)
    held = next(held_out_folds(plays, 5, 1))
    model = train_lightgcn(
        pairs_without(plays, held), held,
        config=LightGCNConfig(factors=8, most_epochs=60, rate=0.05), seed=1,
    )  # fmt: skip
    scores = model.scores()
    assert 0 < model.epochs <= 60
    assert scores[same].mean() > scores[~same].mean() + 1
