"""Exploration keeps the list's promises, and its logged probability is the true one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seda.recommender.candidates import CandidatePool
from seda.recommender.diversity import Cap, quota, select
from seda.recommender.exploration import Exploration, explore


def pool_of(users, size):
    items = np.tile(np.arange(size), users).astype(np.int32)
    return CandidatePool(
        np.arange(users + 1, dtype=np.int64) * size, items, np.ones(items.size, np.uint8)
    )


def listed(users, size, seed, k=20, **promises):
    random = np.random.default_rng(seed)
    pool = pool_of(users, size)
    scores, is_new = random.random(users * size), random.random(users * size) < 0.5
    return pool, scores, is_new, select(scores, pool, is_new, k=k, **promises).positions


@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_the_logged_propensity_is_the_frequency(rate):
    pool, scores, is_new, positions = listed(1, 40, 0)
    days = 20_000
    shown = np.zeros(40)
    logged = np.zeros(40)
    for day in range(days):
        result = explore(
            positions, pool, scores, is_new, exploration=Exploration(place=15, rate=rate),
            user_keys=np.array([77]), day=day, seed=5,
        )  # fmt: skip
        item = result.positions[0, 14]
        shown[item] += 1
        assert logged[item] in (0, result.propensity[0])
        logged[item] = result.propensity[0]
    assert logged.sum() == pytest.approx(1)
    spread = np.sqrt(logged * (1 - logged) / days)
    assert (np.abs(shown / days - logged) <= 5 * spread).all()
    assert (logged > 0).sum() > 5


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 60), st.integers(0, 10_000), st.integers(1, 4))
def test_no_promise_is_broken_and_only_one_place_changes(size, seed, most):
    random = np.random.default_rng(seed)
    owners, groups = random.integers(-1, 9, (2, size)).astype(np.int32)
    caps = [Cap(owners, most)]
    pool, scores, is_new, positions = listed(3, size, seed, caps=caps, duplicate_group=groups)
    arguments = {
        "exploration": Exploration(), "user_keys": np.arange(3), "day": seed, "seed": 1,
        "caps": caps, "duplicate_group": groups,
    }  # fmt: skip
    result = explore(positions, pool, scores, is_new, **arguments)
    again = explore(positions, pool, scores, is_new, **arguments)
    np.testing.assert_array_equal(result.positions, again.positions)
    assert ((result.positions != positions).sum(axis=1) == result.explored).all()
    np.testing.assert_array_equal(result.positions[:, :10], positions[:, :10])
    for user in np.flatnonzero(result.explored):
        row = result.positions[user][result.positions[user] >= 0]
        assert np.unique(row).size == row.size
        assert 0 < result.propensity[user] <= 1
        drawn = pool.items[result.positions[user, 14]]
        others = pool.items[np.delete(row, 14)]
        assert owners[drawn] < 0 or (owners[others] == owners[drawn]).sum() < most
        assert groups[drawn] < 0 or groups[drawn] not in groups[others]
        start, stop = pool.indptr[user : user + 2]
        for prefix in range(1, row.size + 1):
            had = is_new[positions[user, :prefix]].sum()
            assert is_new[row[:prefix]].sum() >= min(had, quota(prefix), is_new[start:stop].sum())


def test_a_user_explores_the_same_whoever_else_is_there():
    pool, scores, is_new, positions = listed(4, 50, 3)
    whole = explore(
        positions, pool, scores, is_new, exploration=Exploration(), user_keys=np.arange(4) + 9,
        day=3, seed=1,
    )  # fmt: skip
    alone = explore(
        positions[2:3] - pool.indptr[2], pool.rows(2, 3), scores[100:150], is_new[100:150],
        exploration=Exploration(), user_keys=np.array([11]), day=3, seed=1,
    )  # fmt: skip
    np.testing.assert_array_equal(alone.positions[0] + 100, whole.positions[2])
    assert alone.propensity[0] == whole.propensity[2]


@pytest.mark.parametrize(("place", "rate"), [(10, 1.0), (1, 1.0), (15, 1.5), (15, -0.1)])
def test_the_first_ten_places_are_never_explored(place, rate):
    with pytest.raises(ValueError, match="outside the first ten"):
        Exploration(place=place, rate=rate)


def test_a_short_list_is_left_alone():
    pool, scores, is_new, positions = listed(2, 12, 0)
    result = explore(
        positions, pool, scores, is_new, exploration=Exploration(), user_keys=np.arange(2),
        day=0, seed=0,
    )  # fmt: skip
    np.testing.assert_array_equal(result.positions, positions)
    assert (result.propensity == 1).all()
