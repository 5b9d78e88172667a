"""Exact nearest items: what a full sort would give, whatever the tiles, ties and exclusions."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from seda.recommender.nearest import gathered_products, top_k_products


def brute_force(queries, items, k, blocked):
    scores = queries @ items.T
    scores[blocked] = -np.inf
    scores[~queries.any(axis=1), :] = -np.inf
    scores[:, ~items.any(axis=1)] = -np.inf
    order = np.lexsort((np.broadcast_to(np.arange(items.shape[0]), scores.shape), -scores))[:, :k]
    values = np.take_along_axis(scores, order, axis=1)
    found = np.full((queries.shape[0], k), -1)
    found[:, : order.shape[1]] = np.where(np.isneginf(values), -1, order)
    return found


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 9), st.integers(1, 400), st.integers(1, 4), st.integers(1, 60),
    st.floats(0, 1), st.integers(0, 2**31), st.sampled_from([(3, 7), (2, 100), (2048, 4096)]),
)  # fmt: skip
def test_equals_a_full_sort_with_ties_and_exclusions(q, n, d, k, share, seed, tile):
    random = np.random.default_rng(seed)
    # Small integers: products are exact and ties are common.
    queries = random.integers(-2, 3, (q, d)).astype(np.float32)
    items = random.integers(-2, 3, (n, d)).astype(np.float32)
    blocked = random.random((q, n)) < share
    top = top_k_products(queries, items, k, exclude=sp.csr_matrix(blocked), tile=tile)
    np.testing.assert_array_equal(top.items, brute_force(queries, items, k, blocked))
    listed = top.items >= 0
    assert np.isneginf(top.scores[~listed]).all()
    expected = (queries @ items.T)[np.nonzero(listed)[0], top.items[listed]]
    np.testing.assert_array_equal(top.scores[listed], expected)


def test_many_candidates_pass_through_the_buffer_in_rising_order():
    items = np.arange(5000, dtype=np.float32)[:, None]
    top = top_k_products(np.ones((1, 1), np.float32), items, 3)
    assert top.items.tolist() == [[4999, 4998, 4997]]


def test_half_precision_items_are_converted():
    random = np.random.default_rng(0)
    queries = random.standard_normal((5, 16), dtype=np.float32)
    items = random.standard_normal((300, 16)).astype(np.float16)
    half = top_k_products(queries, items, 10)
    full = top_k_products(queries, items.astype(np.float32), 10)
    np.testing.assert_array_equal(half.items, full.items)


@pytest.mark.parametrize(("q", "n"), [(0, 5), (5, 0), (0, 0)])
def test_nothing_to_search_gives_padding(q, n):
    top = top_k_products(np.zeros((q, 4), np.float32), np.zeros((n, 4), np.float32), 3)
    assert top.items.shape == (q, 3)
    assert (top.items == -1).all()


def test_a_product_that_is_not_a_number_is_never_returned():
    items = np.array([[np.nan], [1.0]], np.float32)
    assert top_k_products(np.ones((1, 1), np.float32), items, 2).items.tolist() == [[1, -1]]


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="dimensions"):
        top_k_products(np.zeros((1, 2), np.float32), np.zeros((1, 3), np.float32), 1)
    zeros = np.zeros((1, 2), np.float32)
    with pytest.raises(ValueError, match="exclude"):
        top_k_products(zeros, zeros, 1, exclude=sp.csr_matrix((2, 2)))


def test_threads_do_not_change_the_answer():
    random = np.random.default_rng(1)
    queries = random.standard_normal((50, 8), dtype=np.float32)
    items = random.standard_normal((700, 8), dtype=np.float32)
    one, two = (top_k_products(queries, items, 20, threads=threads) for threads in (1, 2))
    np.testing.assert_array_equal(one.items, two.items)


def test_gathered_products_are_those_of_the_pool():
    random = np.random.default_rng(2)
    users = random.standard_normal((3, 33), dtype=np.float32)
    items = random.standard_normal((9, 33), dtype=np.float32)
    indptr, pool = np.array([0, 2, 2, 5]), np.array([1, 8, 0, 3, 4], np.int32)
    expected = [users[u] @ items[i] for u, i in ((0, 1), (0, 8), (2, 0), (2, 3), (2, 4))]
    np.testing.assert_allclose(gathered_products(users, items, indptr, pool), expected, rtol=1e-4)
