"""The whole function: never a blocked item, never NaN, true reasons, the same every time."""

from dataclasses import fields, replace

import numpy as np
import pytest
import scipy.sparse as sp

from seda.recommender import recommend as module
from seda.recommender.candidates import (
    CandidateLists,
    CandidatePool,
    Source,
    friend_counts,
    merge_candidates,
    social_candidates,
    trending_candidates,
    union,
)
from seda.recommender.clusters import cluster_items, home_clusters
from seda.recommender.diversity import Cap, project
from seda.recommender.evaluate import distance_at
from seda.recommender.explain import ReasonKind, render, unit_rows
from seda.recommender.exploration import Exploration
from seda.recommender.features import FEATURES, FeatureTable, column
from seda.recommender.inputs import RankingInputs
from seda.recommender.models.als import AlsConfig, train_als
from seda.recommender.models.listening import Listening
from seda.recommender.nearest import top_k_products
from seda.recommender.ranking import (
    CONTRIBUTIONS,
    LinearWeights,
    contributions_of,
    rank,
    score_of,
)
from seda.recommender.recommend import RankedLists, recommend
from seda.recommender.rules import ListRules
from seda.recommender.signals.social import friend_taste

USERS, ITEMS, DIM, GENRES = 40, 150, 24, 5


def sparse(random, rows, columns, share):
    counts = np.ceil(random.lognormal(2, 1, (rows, columns)))
    return sp.csr_matrix((counts * (random.random((rows, columns)) < share)).astype(np.float32))


def lists_of(top):
    return CandidateLists(top.items, top.scores)


@pytest.fixture(scope="module")
def inputs():
    """A small shard in which users 0 and 1 are unknown to everything and item 0 has no vector."""
    random = np.random.default_rng(5)
    plays = sparse(random, USERS, ITEMS, 0.1).tolil()
    plays[:2] = 0
    plays = plays.tocsr()
    vectors = random.standard_normal((ITEMS, DIM), dtype=np.float32)
    vectors[0] = 0
    taste = np.asarray(plays @ vectors, np.float32)
    factors = train_als(Listening(plays), config=AlsConfig(factors=8, fits=1), seed=1)
    friends = sparse(random, USERS, USERS, 0.1).tolil()
    friends[:2] = 0
    friends = friends.tocsr()
    social = friend_taste(friends, plays, plays)
    item_genres = sparse(random, ITEMS, GENRES, 0.3)
    user_genres = (plays @ item_genres).tocsr()
    popularity = np.log1p(np.bincount(plays.indices, minlength=ITEMS)).astype(np.float32)
    clusters = cluster_items(vectors, seed=1)
    return RankingInputs(
        plays=plays,
        lists={
            Source.CONTENT: lists_of(top_k_products(taste[:, :], unit_rows(vectors), 30)),
            Source.COLLABORATIVE: lists_of(top_k_products(factors.users, factors.items, 30)),
            Source.SOCIAL: social_candidates(social, 30),
            Source.TRENDING: trending_candidates(popularity, item_genres, user_genres, 30),
        },
        blocked=sparse(random, USERS, ITEMS, 0.1),
        taste=taste,
        item_vectors=unit_rows(vectors),
        user_factors=factors.users,
        item_factors=factors.items,
        social=social,
        friend_counts=friend_counts(friends, plays),
        presence=sparse(random, USERS, ITEMS, 0.05),
        popularity=popularity,
        recency=random.random(ITEMS, dtype=np.float32),
        item_genres=item_genres,
        user_genres=user_genres,
        clusters=clusters,
        home_clusters=home_clusters(plays, clusters),
        shown_recently=sparse(random, USERS, ITEMS, 0.05),
        rules=ListRules(duplicate_group=random.integers(-1, 100, ITEMS).astype(np.int32)),
    )


@pytest.fixture(scope="module")
def ranked(inputs):
    return recommend(inputs, weights=LinearWeights(), k=20)


def assert_equal(left: RankedLists, right: RankedLists):
    for entry in fields(RankedLists):
        np.testing.assert_array_equal(getattr(left, entry.name), getattr(right, entry.name))


def test_nothing_known_or_blocked_is_listed_and_nothing_twice(inputs, ranked):
    for user in range(USERS):
        items = ranked.items[user][ranked.items[user] >= 0]
        assert np.unique(items).size == items.size
        assert not inputs.blocked[user].toarray()[0, items].any()
        assert not inputs.plays[user].toarray()[0, items].any()


def test_known_items_may_come_back_where_that_makes_sense(inputs):
    again = recommend(replace(inputs, block_known=False), weights=LinearWeights(), k=20)
    known = stored(inputs.plays, again) > 0
    assert known.any()
    assert not again.is_new[again.items >= 0][known].any()


def test_a_pool_that_was_merged_before_gives_the_same_lists(inputs, ranked):
    pool = merge_candidates(inputs.lists, blocked=union(inputs.plays, inputs.blocked))
    merged = replace(inputs, lists={}, pool=pool)
    assert_equal(recommend(merged, weights=LinearWeights(), k=20), ranked)
    alone = recommend(merged.rows(9, 10), weights=LinearWeights(), k=20)
    np.testing.assert_array_equal(alone.items, ranked.items[9:10])


def stored(matrix, lists):
    """The matrix's values at the listed places, flat."""
    users, _ = np.nonzero(lists.items >= 0)
    return np.asarray(matrix[users, lists.items[lists.items >= 0]]).ravel()


def test_scores_are_finite_and_recomputable(ranked):
    listed = ranked.items >= 0
    assert ((ranked.scores >= 0) & (ranked.scores <= 1)).all()
    np.testing.assert_allclose(
        ranked.scores[listed], score_of(ranked.contributions)[listed], atol=1e-6
    )
    recomputed = contributions_of(LinearWeights(), ranked.inputs[listed])
    np.testing.assert_allclose(ranked.scores[listed], score_of(recomputed), atol=1e-9)
    assert np.isfinite(ranked.contributions).all()
    assert (ranked.scores[~listed] == 0).all()


def test_a_missing_vector_is_a_missing_feature(inputs, ranked):
    similarity = ranked.features[:, :, column("embedding_similarity")]
    assert np.isnan(similarity[:2]).all()
    listed = ranked.items >= 0
    expected = listed & (ranked.items != 0)
    expected[:2] = False
    assert (np.isfinite(similarity) == expected).all()
    assert ranked.features.shape[2] == len(FEATURES)


def test_an_unknown_user_still_gets_what_trends(inputs, ranked):
    listed = ranked.items[0] >= 0
    assert listed.any()
    assert (ranked.sources[0][listed] == Source.TRENDING).all()


def test_chunks_threads_and_slices_change_nothing(inputs, ranked, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_USERS", 7)
    assert_equal(recommend(inputs, weights=LinearWeights(), k=20, threads=2), ranked)
    alone = recommend(inputs.rows(9, 10), weights=LinearWeights(), k=20)
    for entry in fields(RankedLists):
        mine, whole = getattr(alone, entry.name), getattr(ranked, entry.name)
        np.testing.assert_array_equal(mine, whole[9:10])


def test_every_item_has_a_reason_and_every_reason_its_evidence(inputs, ranked):
    vectors = unit_rows(inputs.item_factors)
    for user, place in zip(*np.nonzero(ranked.items >= 0), strict=True):
        item = ranked.items[user, place]
        kinds = ranked.reason_kinds[user, place]
        assert kinds[0] != ReasonKind.NONE
        for kind, subject in zip(kinds, ranked.reason_subjects[user, place], strict=True):
            match kind:
                case ReasonKind.BECAUSE_YOU_LISTEN:
                    assert inputs.plays[user, subject] > 0
                    row = inputs.plays[user].toarray()[0]
                    assert (row > row[subject]).sum() < 20
                    assert vectors[subject] @ vectors[item] >= 0.4999
                case ReasonKind.FRIENDS_HERE:
                    assert subject == inputs.presence[user, item] > 0
                case ReasonKind.FRIENDS_LISTEN:
                    assert subject == inputs.friend_counts[user, item] > 0
                case ReasonKind.TRENDING_IN | ReasonKind.MATCHES_GENRE:
                    assert inputs.user_genres[user, subject] > 0
                    assert inputs.item_genres[item, subject] > 0
                    trends = bool(ranked.sources[user, place] & Source.TRENDING)
                    assert trends == (kind == ReasonKind.TRENDING_IN)
                case ReasonKind.POPULAR:
                    assert inputs.popularity[item] > 0
                case ReasonKind.FITS_TASTE:
                    assert ranked.sources[user, place] & (Source.CONTENT | Source.COLLABORATIVE)


@pytest.mark.parametrize(
    ("kind", "removed"),
    [
        (ReasonKind.FRIENDS_HERE, {"presence": None}),
        (ReasonKind.FRIENDS_LISTEN, {"friend_counts": sp.csr_matrix((USERS, ITEMS))}),
        (ReasonKind.BECAUSE_YOU_LISTEN, {"plays": sp.csr_matrix((USERS, ITEMS))}),
        (ReasonKind.MATCHES_GENRE, {"user_genres": None}),
        (ReasonKind.TRENDING_IN, {"item_genres": None}),
    ],
)
def test_a_reason_vanishes_with_its_evidence(inputs, ranked, kind, removed):
    assert (ranked.reason_kinds == kind).any()
    without = recommend(replace(inputs, **removed), weights=LinearWeights(), k=20)
    assert not (without.reason_kinds == kind).any()


def test_all_signals_missing_still_gives_explained_lists(inputs):
    bare = RankingInputs(plays=inputs.plays, lists=inputs.lists)
    ranked = recommend(bare, weights=LinearWeights(), k=20)
    listed = ranked.items >= 0
    assert listed[2:].any(axis=1).all()
    assert (ranked.scores[listed] == 0.5).all()
    assert (ranked.reason_kinds[listed][:, 0] != ReasonKind.NONE).all()


@pytest.mark.parametrize(("users", "items"), [(0, 0), (0, 5), (3, 0), (3, 5)])
def test_an_empty_shard_or_catalogue_gives_empty_lists(users, items):
    empty = RankingInputs(
        plays=sp.csr_matrix((users, items), dtype=np.float32),
        lists={},
        taste=np.zeros((users, 4), np.float32),
        item_vectors=np.zeros((items, 4), np.float16),
        user_factors=np.zeros((users, 2), np.float32),
        item_factors=np.zeros((items, 2), np.float32),
        popularity=np.zeros(items, np.float32),
        clusters=np.full(items, -1, np.int32),
        rules=ListRules(duplicate_group=np.full(items, -1, np.int32)),
    )
    ranked = recommend(empty, weights=LinearWeights(), k=5)
    assert ranked.items.shape == (users, 5)
    assert (ranked.items == -1).all()
    assert (ranked.pool_sizes == 0).all()


def test_sentences():
    assert render(ReasonKind.BECAUSE_YOU_LISTEN, subject="Low") == "Because you listen to Low"
    assert render(ReasonKind.FRIENDS_HERE, count=3) == "3 friends are here"
    assert render(ReasonKind.FRIENDS_HERE, count=1) == "1 friend is here"
    assert render(ReasonKind.FRIENDS_LISTEN, count=2) == "2 friends listen to this"
    assert render(ReasonKind.FRIENDS_LISTEN, count=1) == "1 friend listens to this"
    assert render(ReasonKind.TRENDING_IN, subject="techno") == "Trending in techno"
    assert render(ReasonKind.MATCHES_GENRE, subject="rock") == "Because you like rock"
    assert render(ReasonKind.POPULAR) == "Popular right now"
    with pytest.raises(ValueError, match="friends_here"):
        render(ReasonKind.FRIENDS_HERE)


def test_the_stored_features_give_the_stored_score_again(inputs):
    # A list as long as the pool stores all features that its calibration saw.
    whole = recommend(inputs, weights=LinearWeights(), k=ITEMS)
    for user in range(USERS):
        listed = np.flatnonzero(whole.items[user] >= 0)
        listed = listed[np.argsort(whole.items[user, listed])]
        pool = CandidatePool(
            np.array([0, listed.size]), whole.items[user, listed], whole.sources[user, listed]
        )
        again = rank(FeatureTable(pool, whole.features[user, listed]), LinearWeights())
        np.testing.assert_allclose(again.score, whole.scores[user, listed], atol=1e-9, rtol=0)
        np.testing.assert_allclose(
            contributions_of(LinearWeights(), again.inputs),
            whole.contributions[user, listed],
            atol=1e-5, rtol=0,
        )  # fmt: skip


@pytest.fixture(scope="module")
def diverse(inputs):
    random = np.random.default_rng(8)
    owners = random.integers(-1, 25, ITEMS).astype(np.int32)
    rules = ListRules(
        likeness=project(inputs.item_vectors, inputs.item_genres),
        caps=(Cap(owners, 2),),
        duplicate_group=inputs.rules.duplicate_group,
        arrived=random.random(ITEMS) < 0.1,
    )
    return replace(inputs, rules=rules, user_keys=np.arange(USERS) * 7919)


def test_lists_are_diverse_within_caps_and_differ_more_than_those_by_score(inputs, diverse):
    plain = recommend(inputs, weights=LinearWeights(), k=20)
    varied = recommend(diverse, weights=LinearWeights(), k=20)
    (cap,) = diverse.rules.caps
    for user in range(USERS):
        labels = cap.labels[varied.items[user][varied.items[user] >= 0]]
        worst = np.bincount(labels[labels >= 0]).max(initial=0)
        assert worst <= cap.most or varied.relaxed[user] > 0
    distances = [np.nanmean(distance_at(each.items, inputs.item_vectors, 20))
                 for each in (plain, varied)]  # fmt: skip
    assert distances[1] > distances[0]


def test_exploration_changes_one_place_outside_the_first_ten_and_says_so(diverse):
    ranked = recommend(diverse, weights=LinearWeights(), k=20)
    explored = recommend(diverse, weights=LinearWeights(), k=20, exploration=Exploration(), seed=4)
    changed = ranked.items != explored.items
    assert changed.any(axis=1).sum() > USERS / 2
    assert set(np.nonzero(changed)[1]) == {14}
    for user in np.flatnonzero(changed.any(axis=1)):
        assert explored.displaced[user] == ranked.items[user, 14]
        assert explored.displaced_scores[user] == pytest.approx(ranked.scores[user, 14], abs=1e-9)
        assert 0 < explored.propensity[user, 14] < 1
        assert explored.items[user, 14] not in ranked.items[user]
        assert explored.reason_kinds[user, 14, 0] != ReasonKind.NONE
    assert (np.delete(explored.propensity, 14, axis=1) == 1).all()
    assert (ranked.displaced == -1).all()
    np.testing.assert_array_equal(
        explored.is_new[changed].astype(int) >= ranked.is_new[changed].astype(int),
        np.ones(changed.sum(), bool),
    )


def test_what_was_shown_in_vain_sinks_and_says_by_how_much(inputs, ranked):
    shown = sp.csr_matrix(
        (np.full(USERS, 9.0, np.float32), (np.arange(USERS), np.maximum(ranked.items[:, 0], 0))),
        shape=(USERS, ITEMS),
    )
    tired = recommend(replace(inputs, ignored=shown), weights=LinearWeights(), k=20)
    column = CONTRIBUTIONS.index("ignored_impressions")
    before = np.where(ranked.items == ranked.items[:, :1], ranked.scores, 0).max(axis=1)
    after = np.where(tired.items == ranked.items[:, :1], tired.scores, 0).max(axis=1)
    some = ranked.items[:, 0] >= 0
    assert (after[some] < before[some]).all()
    assert (tired.contributions[..., column] <= 0).all()
    assert tired.contributions[..., column].min() == pytest.approx(-0.75)
    np.testing.assert_allclose(score_of(tired.contributions)[tired.items >= 0],
                               tired.scores[tired.items >= 0], atol=1e-6)  # fmt: skip
