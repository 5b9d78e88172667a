"""Metrics with answers worked out by hand, and a holdout that is each user's own."""

import numpy as np
import pytest
import scipy.sparse as sp

from seda.recommender.evaluate import (
    average_precision_at,
    bootstrap,
    evaluate,
    hit_table,
    ndcg_at,
    per_user_holdout,
    recall_at,
)

LISTS = np.array([[3, 1, 0, -1], [2, 0, 1, 3], [-1, -1, -1, -1], [0, 1, 2, 3]], np.int32)
TRUTH = sp.csr_matrix([[1, 0, 1, 1, 0], [1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]])


def test_metrics_by_hand():
    hits, truths = hit_table(LISTS, TRUTH), np.diff(TRUTH.indptr)
    assert hits[:3].tolist() == [
        [True, False, True, False],
        [False, True, False, False],
        [False] * 4,
    ]
    assert recall_at(hits, truths, 3)[:3].tolist() == pytest.approx([2 / 3, 1, 0])
    third = 1 / np.log2(3)
    ideal = 1 + third + 0.5
    assert ndcg_at(hits, truths, 10)[:3].tolist() == pytest.approx([1.5 / ideal, third, 0])
    assert average_precision_at(hits, truths, 10)[:3].tolist() == pytest.approx(
        [(1 + 2 / 3) / 3, 1 / 2, 0]
    )


def test_users_without_truth_do_not_count_and_users_without_lists_score_zero():
    result = evaluate(LISTS, TRUTH, seed=0)
    assert result.users == 3
    assert result.recall.value == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert result.recall.low <= result.recall.value <= result.recall.high
    assert result.coverage == pytest.approx(4 / 5)


def test_nothing_to_evaluate_is_zero_not_an_error():
    result = evaluate(np.empty((0, 5), np.int32), sp.csr_matrix((0, 0)), seed=0)
    assert (result.users, result.ndcg.value, result.coverage) == (0, 0.0, 0.0)


def test_bootstrap_is_decided_by_its_seed():
    values = np.random.default_rng(0).random(200)
    assert bootstrap(values, 1) == bootstrap(values, 1)
    assert bootstrap(values, 1) != bootstrap(values, 2)


def test_holdout_splits_every_user_and_loses_nothing():
    random = np.random.default_rng(0)
    plays = sp.csr_matrix((random.random((40, 30)) < 0.4).astype(np.float32))
    train, held = per_user_holdout(plays, 0.25, seed=3)
    assert (train + held != plays).nnz == 0
    assert train.multiply(held).nnz == 0
    expected = np.rint(0.25 * np.diff(plays.indptr))
    assert (np.diff(held.indptr) <= expected).all()
    assert held.nnz >= 0.95 * expected.sum()
    assert (train.sum(axis=0) > 0)[plays.sum(axis=0) > 0].all()


def test_another_user_reshuffles_nobody():
    random = np.random.default_rng(1)
    plays = sp.csr_matrix((random.random((20, 30)) < 0.5).astype(np.float32))
    keys = np.arange(100, 120)
    _, held = per_user_holdout(plays, 0.3, seed=1, user_keys=keys)
    _, without = per_user_holdout(plays[1:], 0.3, seed=1, user_keys=keys[1:])
    assert (held[1:] != without).nnz == 0
    _, other = per_user_holdout(plays, 0.3, seed=2, user_keys=keys)
    assert (held != other).nnz > 0
