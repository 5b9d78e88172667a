"""Candidates: each once per user, from all its sources, and never a blocked one."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from seda.recommender.candidates import (
    CandidateLists,
    CandidatePool,
    Source,
    friend_counts,
    interleaved,
    merge_candidates,
    social_candidates,
    trending_candidates,
)


def listed(items):
    items = np.array(items, np.int32)
    return CandidateLists(items, np.zeros(items.shape, np.float32))


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(0, 12), st.floats(0, 1))
def test_the_pool_is_the_union_of_sources_without_the_blocked(seed, users, k, share):
    random = np.random.default_rng(seed)
    lists = {
        source: CandidateLists(
            random.integers(-1, 20, (users, k)).astype(np.int32), np.zeros((users, k), np.float32)
        )
        for source in Source
    }
    blocked = sp.csr_matrix(random.random((users, 20)) < share)
    pool = merge_candidates(lists, blocked=blocked)
    for user in range(users):
        expected = {}
        for source, entry in lists.items():
            for item in entry.items[user].tolist():
                if item >= 0 and not blocked[user, item]:
                    expected[item] = expected.get(item, 0) | source
        span = slice(pool.indptr[user], pool.indptr[user + 1])
        assert pool.items[span].tolist() == sorted(expected)
        assert pool.sources[span].tolist() == [expected[item] for item in sorted(expected)]


def test_no_source_at_all_gives_an_empty_pool():
    assert merge_candidates({}, blocked=None, users=3).indptr.tolist() == [0, 0, 0, 0]


def test_sources_of_different_shards_are_refused():
    with pytest.raises(ValueError, match="number of users"):
        merge_candidates({Source.CONTENT: listed([[1]])}, blocked=sp.csr_matrix((2, 5)))


def test_friends_are_counted_and_the_best_of_their_items_are_candidates():
    friends = sp.csr_matrix([[0, 1, 1], [0, 0, 0]])
    plays = sp.csr_matrix([[9, 9, 9], [2, 0, 0], [3, 0, 7]])
    counts = friend_counts(friends, plays)
    assert counts.toarray().tolist() == [[2, 0, 1], [0, 0, 0]]
    assert social_candidates(counts, 3).items.tolist() == [[0, 2, -1], [-1, -1, -1]]


def test_lists_take_turns_and_an_item_stays_where_it_is_first():
    lists = interleaved([np.array([[1, 2, -1]]), np.array([[2, 3, 1]])], 4)
    assert lists.items.tolist() == [[1, 2, 3, -1]]
    assert lists.scores.tolist() == [[0, -1, -2, -np.inf]]


def test_half_of_the_trending_list_is_of_the_users_genres():
    trending = np.array([9, 8, 7, 6, 5, 4, 0, 3], np.float32)
    item_genres = sp.csr_matrix(np.eye(2)[[0, 0, 0, 0, 1, 1, 1, 1]])
    user_genres = sp.csr_matrix([[0.0, 1.0], [0.0, 0.0]])
    lists = trending_candidates(trending, item_genres, user_genres, 4)
    assert lists.items.tolist() == [[0, 1, 4, 5], [0, 1, 2, 3]]
    assert lists.scores[0].tolist() == [9, 8, 5, 4]
    everything = trending_candidates(trending, item_genres, user_genres, 10).items
    assert everything[0].tolist() == [0, 1, 2, 3, 4, 5, 7, -1, -1, -1]


def test_nothing_trends_in_an_empty_catalogue():
    nothing = trending_candidates(
        np.empty(0, np.float32), sp.csr_matrix((0, 2)), sp.csr_matrix((3, 2)), 4
    )
    assert (nothing.items == -1).all()
    silent = trending_candidates(
        np.zeros(5, np.float32), sp.csr_matrix((5, 2)), sp.csr_matrix((3, 2)), 4
    )
    assert (silent.items == -1).all()


def test_a_pool_without_what_was_blocked_later_keeps_everybody_in_place() -> None:
    pool = CandidatePool(
        np.array([0, 3, 3, 5]), np.array([1, 4, 6, 4, 5], np.int32),
        np.array([1, 2, 4, 8, 1], np.uint8),
    )  # fmt: skip
    blocked = sp.csr_matrix((np.ones(3, np.float32), ([0, 1, 2], [4, 1, 5])), shape=(3, 7))
    left = pool.without(blocked)
    assert left.indptr.tolist() == [0, 2, 2, 3]
    assert left.items.tolist() == [1, 6, 4]
    assert left.sources.tolist() == [1, 4, 8]
    nothing = CandidatePool(np.zeros(4, np.int64), pool.items[:0], pool.sources[:0])
    assert nothing.without(blocked).indptr.tolist() == [0, 0, 0, 0]
