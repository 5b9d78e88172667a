"""The protocol: baselines beside, cohorts, paired differences, and leaks that are reported."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from seda.recommender.evaluate import (
    PUBLISHED,
    CatalogueFacts,
    OfflineData,
    Produced,
    distance_at,
    evaluate,
    evaluate_pipeline,
    gini_at,
    miscalibration_at,
    novelty_at,
    paired_difference,
    time_aware_holdout,
)
from seda.recommender.models.als import AlsConfig, train_als
from seda.recommender.models.listening import Listening
from seda.recommender.nearest import top_k_products

USERS, ITEMS, TASTES = 200, 120, 4
SCORER = Path(os.environ.get("LASTFM_2K", "")) / "score.py"
"""`LASTFM_2K` names the folder of the benchmark package, where somebody has it."""


@pytest.fixture(scope="module")
def data():
    """Users who mostly play the items of one of four tastes."""
    random = np.random.default_rng(0)
    taste, kind = random.integers(0, TASTES, USERS), random.integers(0, TASTES, ITEMS)
    likes = np.where(taste[:, None] == kind[None], 0.45, 0.04)
    plays = sp.csr_matrix((random.random((USERS, ITEMS)) < likes).astype(np.float32))
    genres = sp.csr_matrix(np.eye(TASTES, dtype=np.float32)[kind])
    return OfflineData(
        plays=plays,
        user_keys=np.arange(USERS) + 1000,
        vectors=genres.toarray() + random.random((ITEMS, TASTES), dtype=np.float32) / 4,
        item_genres=genres,
        cohorts={"with friends": np.arange(USERS) % 2 == 0},
    )


def als(fold, train=None, side_pairs=None):
    train = fold.train if train is None else train
    factors = train_als(Listening(train), config=AlsConfig(factors=8, fits=1), seed=1)
    # What is known to the fold is left out, so that a leak of the fit does not hide itself.
    top = top_k_products(
        factors.users[fold.rows], factors.items, fold.k, exclude=fold.train[fold.rows]
    )
    return Produced({PUBLISHED: top.items}, fitted=train, side_pairs=side_pairs)


def test_a_model_is_measured_beside_popularity_and_random(data):
    report = evaluate_pipeline(data, als, seed=3, resamples=200)
    assert report.methods[0].name == PUBLISHED
    ndcg = {method.name: method.overall.ndcg.value for method in report.methods}
    assert ndcg[PUBLISHED] > ndcg["popularity"] > ndcg["random"] > 0
    against = {difference.against: difference for difference in report.differences}
    assert set(against) == {"popularity", "random"}
    assert against["random"].ndcg.low > 0
    assert report.leaks == ()
    cohorts = report.method(PUBLISHED).cohorts
    assert set(cohorts) == {"cold", "warm", "with friends"}
    assert cohorts["cold"].users + cohorts["warm"].users == report.users
    assert report == evaluate_pipeline(data, als, seed=3, resamples=200)


def test_held_out_pairs_in_the_fit_are_reported(data):
    report = evaluate_pipeline(data, lambda fold: als(fold, data.plays), seed=3, resamples=50)
    assert any("fitted on" in leak for leak in report.leaks)
    honest = evaluate_pipeline(data, als, seed=3, resamples=50)
    assert report.methods[0].overall.ndcg.value > honest.methods[0].overall.ndcg.value


def test_tags_of_held_out_pairs_are_reported(data):
    report = evaluate_pipeline(
        data, lambda fold: als(fold, side_pairs=data.plays), seed=3, resamples=50
    )
    assert len(report.leaks) == 1
    assert "side information" in report.leaks[0]


def test_known_items_in_a_list_are_reported(data):
    def repeats(fold):
        known = [fold.train[row].indices[:1] for row in fold.rows]
        lists = np.full((fold.rows.size, fold.k), -1, np.int32)
        for place, items in enumerate(known):
            lists[place, : items.size] = items
        return Produced({PUBLISHED: lists}, fitted=fold.train)

    report = evaluate_pipeline(data, repeats, seed=3, resamples=50)
    assert any("known to the fit" in leak for leak in report.leaks)


def test_the_truth_itself_is_too_good_to_be_true(data):
    def cheats(fold):
        lists = np.full((fold.rows.size, fold.k), -1, np.int32)
        for place, row in enumerate(fold.rows):
            hidden = np.setdiff1d(data.plays[row].indices, fold.train[row].indices)
            lists[place, : hidden.size] = hidden
        return Produced({PUBLISHED: lists}, fitted=fold.train)

    report = evaluate_pipeline(data, cheats, seed=3, resamples=50)
    assert any("too good" in leak for leak in report.leaks)


def test_a_sample_of_users_stays_the_same_when_others_join(data):
    def ranked(keys, plays):
        seen = {}

        def remember(fold):
            seen["rows"] = keys[fold.rows]
            return als(fold)

        evaluate_pipeline(
            OfflineData(plays=plays, user_keys=keys), remember, seed=1, most_users=30, resamples=20
        )
        return set(seen["rows"].tolist())

    some = ranked(data.user_keys[:150], data.plays[:150])
    everybody = ranked(data.user_keys, data.plays)
    assert len(some) == len(everybody) == 30
    assert everybody & set(data.user_keys[:150].tolist()) <= some


def test_with_times_nothing_later_teaches_the_fit(data):
    times = np.random.default_rng(1).random(data.plays.nnz)
    train, held = time_aware_holdout(data.plays, times, 0.2)
    at = sp.csr_matrix((times, data.plays.indices, data.plays.indptr), shape=data.plays.shape)
    assert at.multiply(train > 0).max() <= min(at.multiply(held > 0).data)
    assert (train + held != data.plays).nnz == 0
    report = evaluate_pipeline(
        OfflineData(plays=data.plays, user_keys=data.user_keys, times=times),
        als, seed=1, resamples=20,
    )  # fmt: skip
    assert report.split == "time"


def test_nobody_and_nothing_give_an_empty_report():
    empty = OfflineData(plays=sp.csr_matrix((3, 0)), user_keys=np.arange(3))
    report = evaluate_pipeline(
        empty,
        lambda fold: Produced({PUBLISHED: np.empty((0, fold.k), np.int32)}, fitted=fold.train),
        seed=0,
    )
    assert (report.users, report.methods[0].overall.ndcg.value) == (0, 0.0)


def test_measures_beside_accuracy_by_hand():
    lists = np.array([[0, 1], [2, -1]], np.int32)
    bits = novelty_at(lists, np.array([4, 1, 2]), 4, 10)
    assert bits.tolist() == pytest.approx([(0 + 2) / 2, 1])
    vectors = np.array([[1, 0], [1, 1], [0, 0]], np.float32)
    for form in (vectors, sp.csr_matrix(vectors)):
        distance = distance_at(lists, form, 10)
        assert distance[0] == pytest.approx(1 - np.sqrt(0.5))
        assert np.isnan(distance[1])
    assert gini_at(lists, 3, 10) == pytest.approx(0)
    assert gini_at(np.zeros((5, 1), np.int32), 4, 10) == pytest.approx(0.75)
    genres = sp.csr_matrix(np.array([[1, 0], [0, 1], [1, 0]], np.float32))
    tastes = sp.csr_matrix(np.array([[3, 3], [0, 1]], np.float32))
    miss = miscalibration_at(lists, genres, tastes, 10)
    assert miss[0] == pytest.approx(0, abs=1e-9)
    assert miss[1] == pytest.approx(np.log(1 / 0.01))


def test_a_paired_interval_is_narrower_than_its_parts():
    random = np.random.default_rng(0)
    user = random.random(300)
    left, right = user + random.random(300) / 50 + 0.01, user
    estimate = paired_difference(left, right, 0)
    assert estimate.excludes_zero
    assert estimate.high - estimate.low < 0.01


@pytest.mark.skipif(not SCORER.exists(), reason="LASTFM_2K names no Last.fm package")
def test_metrics_agree_with_the_benchmark_packages_own_scorer():
    spec = importlib.util.spec_from_file_location("score", SCORER)
    score = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(score)
    random = np.random.default_rng(4)
    known, truth = (
        sp.csr_matrix((random.random((60, 80)) < share).astype(np.float32)) for share in (0.1, 0.12)
    )
    truth = truth - truth.multiply(known)
    truth.eliminate_zeros()
    lists = np.full((60, 100), -1, np.int32)
    for user in range(60):
        free = np.setdiff1d(random.permutation(80), known[user].indices)
        items = random.permutation(free)[: random.integers(0, 60)]
        lists[user, : items.size] = items
    users, places = np.nonzero(lists >= 0)
    frame = pd.DataFrame({"user_id": users, "artist_id": lists[users, places], "rank": places + 1})

    def pairs(matrix):
        entries = matrix.tocoo()
        return pd.DataFrame({"user_id": entries.row, "artist_id": entries.col})

    theirs, _ = score.evaluate(frame, pairs(truth), pairs(known), 80)
    facts = CatalogueFacts(np.ones(80, np.int64), 60)
    ours = evaluate(lists, truth.tocsr(), seed=0, resamples=10, facts=facts)
    assert ours.recall.value == pytest.approx(theirs["recall@20"], abs=1e-9)
    assert ours.ndcg.value == pytest.approx(theirs["ndcg@10"], abs=1e-9)
    assert ours.ndcg_100.value == pytest.approx(theirs["ndcg@100"], abs=1e-9)
    assert ours.average_precision.value == pytest.approx(theirs["map@10"], abs=1e-9)
    assert ours.coverage == pytest.approx(theirs["coverage@10"], abs=1e-9)
    assert ours.users == theirs["users"]
