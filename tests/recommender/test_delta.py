"""The delta re-rank: nothing moves without a cause, and what moves is scored as the night would."""

from dataclasses import replace

import numpy as np
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from seda.recommender.candidates import CandidatePool
from seda.recommender.delta import PRESENCE, PresenceNow, PublishedLists, rerank, rescored
from seda.recommender.diversity import project, quota
from seda.recommender.exploration import Exploration
from seda.recommender.inputs import RankingInputs
from seda.recommender.ranking import LinearWeights, rank
from seda.recommender.recommend import RankedLists, pool_features, recommend
from seda.recommender.rules import ListRules
from seda.recommender.signals.social import saturated_presence

USERS, ROOMS, LISTED = 12, 80, 30
WEIGHTS = LinearWeights(presence=0.4)


def world(seed: int) -> RankingInputs:
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((ROOMS, 8)).astype(np.float32)
    pool = CandidatePool(
        np.arange(USERS + 1, dtype=np.int64) * ROOMS,
        np.tile(np.arange(ROOMS, dtype=np.int32), USERS),
        np.ones(USERS * ROOMS, np.uint8),
    )
    clusters = random.integers(0, 6, ROOMS).astype(np.int32)
    return RankingInputs(
        plays=sp.csr_matrix((USERS, ROOMS), dtype=np.float32),
        pool=pool,
        taste=random.standard_normal((USERS, 8)).astype(np.float32),
        item_vectors=vectors,
        popularity=random.random(ROOMS, dtype=np.float32),
        clusters=clusters,
        home_clusters=random.integers(0, 6, (USERS, 3)).astype(np.int32),
        presence=sp.csr_matrix((USERS, ROOMS), dtype=np.float32),
        rules=ListRules(likeness=project(vectors, None)),
        user_keys=np.arange(USERS, dtype=np.int64),
    )


def present(seed: int, share: float) -> sp.csr_matrix:
    random = np.random.default_rng(seed)
    counts = random.integers(1, 4, (USERS, ROOMS)) * (random.random((USERS, ROOMS)) < share)
    return sp.csr_matrix(counts.astype(np.float32))


def ranked(inputs: RankingInputs) -> RankedLists:
    return recommend(inputs, weights=WEIGHTS, k=LISTED, exploration=Exploration())


def published(lists: RankedLists) -> PublishedLists:
    listed = lists.items >= 0
    indptr = np.concatenate([[0], np.cumsum(listed.sum(axis=1))]).astype(np.int64)
    return PublishedLists(indptr, lists.inputs[listed], lists.is_new[listed], lists.pool_sizes)


def seen(lists: RankedLists, presence: sp.csr_matrix) -> PresenceNow:
    dense = saturated_presence(presence.toarray(), None)
    listed = lists.items >= 0
    here = np.take_along_axis(dense, np.where(listed, lists.items, 0), axis=1)[listed]
    rest, sizes = [], [0]
    for user, items in enumerate(lists.items):
        elsewhere = np.setdiff1d(presence[user].indices, items)
        rest.append(dense[user, elsewhere])
        sizes.append(len(elsewhere))
    return PresenceNow(here, np.concatenate(rest), np.cumsum(sizes).astype(np.int64))


def test_presence_as_it_was_moves_nothing() -> None:
    for seed in range(5):
        inputs = replace(world(seed), presence=present(seed, 0.03 * seed))
        lists = ranked(inputs)
        again = rerank(published(lists), seen(lists, inputs.presence), WEIGHTS)
        assert (again.ranks.reshape(USERS, LISTED) == np.arange(1, LISTED + 1)).all()
        np.testing.assert_array_equal(again.scores, rescored(WEIGHTS, published(lists).inputs))


def test_the_social_term_and_the_score_are_those_of_a_full_re_rank() -> None:
    for seed in range(5):
        inputs, now = world(seed), present(seed + 100, 0.05)
        lists = ranked(replace(inputs, presence=present(seed, 0.02)))
        delta = rerank(published(lists), seen(lists, now), WEIGHTS)
        full = rank(pool_features(replace(inputs, presence=now), inputs.pool), WEIGHTS)
        at = (np.arange(USERS)[:, None] * ROOMS + lists.items).ravel()
        np.testing.assert_allclose(delta.signals, full.inputs[at, PRESENCE], rtol=1e-5)
        np.testing.assert_allclose(delta.scores, full.score[at], rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0, 0.4))
def test_the_novelty_quota_holds_at_every_prefix(seed: int, share: float) -> None:
    lists = ranked(world(seed))
    delta = rerank(published(lists), seen(lists, present(seed, share)), WEIGHTS)
    for user in range(USERS):
        ranks = delta.ranks.reshape(USERS, LISTED)[user]
        assert sorted(ranks) == list(range(1, LISTED + 1))
        new = lists.is_new[user][np.argsort(ranks)]
        for prefix in range(1, LISTED + 1):
            assert new[:prefix].sum() >= min(quota(prefix), new.sum())


def test_a_friend_lifts_the_room_and_is_owed_as_many_places() -> None:
    lists = ranked(world(3))
    now = sp.lil_matrix((USERS, ROOMS), dtype=np.float32)
    now[0, lists.items[0, 20]] = 1
    delta = rerank(published(lists), seen(lists, now.tocsr()), WEIGHTS)
    ranks, lifts = delta.ranks.reshape(USERS, LISTED), delta.lifts.reshape(USERS, LISTED)
    assert ranks[0, 20] < 15
    assert lifts[0, 20] > 5
    assert np.count_nonzero(lifts) == 1
    assert (ranks[1:] == np.arange(1, LISTED + 1)).all()


def test_a_ranker_that_ignores_presence_owes_nothing_to_it() -> None:
    lists = ranked(world(3))
    blind = replace(WEIGHTS, presence=0.0)
    delta = rerank(published(lists), seen(lists, present(1, 0.2)), blind)
    assert not delta.lifts.any()
    assert (delta.ranks.reshape(USERS, LISTED) == np.arange(1, LISTED + 1)).all()


def test_nobody_at_all_is_no_failure() -> None:
    nobody = PublishedLists(
        np.zeros(1, np.int64),
        np.zeros((0, 15), np.float32),
        np.zeros(0, bool),
        np.zeros(0, np.int32),
    )
    nothing = PresenceNow(np.zeros(0, np.float32), np.zeros(0, np.float32), np.zeros(1, np.int64))
    assert rerank(nobody, nothing, WEIGHTS).ranks.shape == (0,)
