"""Selection: the novelty quota at every prefix, else relevance, one item per duplicate group."""

import numpy as np
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from seda.recommender.candidates import CandidatePool
from seda.recommender.diversity import new_to_user, quota, select


def pool_of(*sizes):
    items = np.concatenate([np.arange(size) for size in sizes]).astype(np.int32)
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return CandidatePool(indptr, items, np.ones(items.size, np.uint8))


def survivors(scores, groups):
    """Positions of one user that may be listed: the best of each group, by definition."""
    ahead = sorted(range(len(scores)), key=lambda p: (-scores[p], p))
    kept, seen = [], set()
    for position in ahead:
        if groups[position] < 0 or groups[position] not in seen:
            kept.append(position)
            seen.add(groups[position])
    return kept


pools = st.integers(0, 90).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 20), min_size=n, max_size=n),
        st.lists(st.booleans(), min_size=n, max_size=n),
        st.lists(st.integers(-1, 60), min_size=n, max_size=n),
    )
)


@settings(deadline=None, max_examples=200)
@given(pools, st.integers(0, 60))
def test_the_quota_holds_at_every_prefix_and_relevance_elsewhere(user, k):
    scores, is_new, groups = user
    selected = select(
        np.array(scores) / 20.0,
        pool_of(len(scores)),
        np.array(is_new, np.bool_),
        k=k,
        duplicate_group=np.array(groups, np.int32),
    )
    allowed = survivors(scores, groups)
    listed = [p for p in selected.positions[0].tolist() if p >= 0]
    assert len(listed) == len(set(listed)) == min(k, len(scores))
    # Repetitions come last, and only because the list would be short without them.
    chosen = listed[: len(allowed)]
    assert set(chosen) <= set(allowed)
    assert selected.relaxed[0] == len(listed) - len(chosen)
    available = sum(is_new[p] for p in allowed)
    for prefix in range(1, len(chosen) + 1):
        new = sum(is_new[p] for p in chosen[:prefix])
        assert new >= min(3 * prefix // 10, available)
        if prefix >= 10:
            assert new >= min(-(-3 * prefix // 10), available)
    for page in range(0, len(chosen) - 9, 10):
        left = available - sum(is_new[p] for p in chosen[:page])
        assert sum(is_new[p] for p in chosen[page : page + 10]) >= min(3, left)
    # New and familiar items each keep their order of relevance (ties: lower item) ...
    for flag in (True, False):
        same = [p for p in chosen if is_new[p] == flag]
        assert same == [p for p in allowed if is_new[p] == flag][: len(same)]
    # ... and one goes ahead of a better familiar one only where the quota would break without it.
    for place, position in enumerate(chosen):
        passed = [p for p in allowed if p not in chosen[:place] and p != position]
        better = [p for p in passed if (-scores[p], p) < (-scores[position], position)]
        if better:
            assert is_new[position]
            before = sum(is_new[p] for p in chosen[:place])
            in_block = sum(is_new[p] for p in chosen[place - place % 10 : place])
            assert before < quota(place + 1) or in_block < 3 * (place % 10 + 1) // 10
    wanted = quota(len(listed))
    assert selected.shortfall[0] == max(0, wanted - sum(is_new[p] for p in listed))


def test_users_do_not_disturb_each_other():
    random = np.random.default_rng(0)
    pool = pool_of(40, 0, 30)
    scores, is_new = random.random(70), random.random(70) < 0.2
    groups = random.integers(-1, 10, 40).astype(np.int32)
    together = select(scores, pool, is_new, k=20, duplicate_group=groups).positions
    alone = select(scores[40:], pool_of(30), is_new[40:], k=20, duplicate_group=groups).positions
    np.testing.assert_array_equal(together[2] - 40, np.where(alone[0] < 0, -41, alone[0]))
    assert (together[1] == -1).all()


def test_a_score_that_is_not_a_number_is_never_selected():
    scores = np.array([np.nan, 0.5, np.nan, 0.7])
    selected = select(scores, pool_of(4), np.ones(4, np.bool_), k=4)
    assert selected.positions.tolist() == [[3, 1, -1, -1]]


def test_new_means_unplayed_unshown_and_away_from_home():
    pool = pool_of(5)
    new = new_to_user(
        pool,
        plays=sp.csr_matrix([[7, 0, 0, 0, 0]]),
        shown_recently=sp.csr_matrix([[0, 1, 0, 0, 0]]),
        clusters=np.array([0, 0, 1, 2, -1], np.int32),
        homes=np.array([[1, -1, -1]], np.int32),
    )
    assert new.tolist() == [False, False, False, True, True]
