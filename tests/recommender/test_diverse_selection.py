"""Selection with vectors: what a textbook greedy would choose, under quota, caps and repetition."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seda.recommender.candidates import CandidatePool
from seda.recommender.diversity import (
    DISPERSED,
    MARGINAL,
    Cap,
    Diversity,
    Method,
    project,
    quota,
    rotating_arrivals,
    select,
)

ALL = (Diversity(), MARGINAL, DISPERSED)


def pool_of(*sizes):
    items = np.concatenate([np.arange(size) for size in sizes]).astype(np.int32)
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return CandidatePool(indptr, items, np.ones(items.size, np.uint8))


def world(size, seed, dim=8):
    random = np.random.default_rng(seed)
    vectors = project(random.standard_normal((size, dim), dtype=np.float32))
    return random.permutation(size) / size, vectors, random.random(size) < 0.4


def textbook(scores, vectors, diversity, k):
    """Greedy by definition: determinants of the whole kernel, largest or summed similarity."""
    kernel = vectors.astype(float) @ vectors.T
    own = diversity.own if diversity.method is Method.DPP else 0.0
    kernel = (1 - own) * kernel + own * np.eye(len(kernel))
    np.fill_diagonal(kernel, 1.0)
    relevance = -np.log(np.argsort(np.argsort(-scores)) + 1.0)
    chosen: list[int] = []
    for place in range(k):
        tradeoff = diversity.tradeoffs[min(place // 10, len(diversity.tradeoffs) - 1)]
        before = np.linalg.slogdet(kernel[np.ix_(chosen, chosen)])[1] if chosen else 0.0

        def gain(candidate, before=before, tradeoff=tradeoff):
            likeness = kernel[candidate, chosen] if chosen else np.zeros(1)
            if diversity.method is Method.DPP:
                both = [*chosen, candidate]
                term = np.linalg.slogdet(kernel[np.ix_(both, both)])[1] - before
            elif diversity.method is Method.MMR:
                term = -max(0.0, likeness.max())
            else:
                term = -np.maximum(likeness, 0).sum()
            return relevance[candidate] + tradeoff * term

        left = [candidate for candidate in range(len(scores)) if candidate not in chosen]
        chosen.append(max(left, key=gain))
    pages = [chosen[page : page + 10] for page in range(0, k, 10)]
    return [position for page in pages for position in sorted(page, key=lambda p: -scores[p])]


@pytest.mark.parametrize("diversity", ALL, ids=lambda diversity: diversity.method)
@pytest.mark.parametrize("seed", range(4))
def test_the_list_is_the_one_that_the_definition_gives(diversity, seed):
    scores, vectors, _ = world(60, seed, dim=32)
    nothing_new = np.zeros(60, np.bool_)
    selected = select(scores, pool_of(60), nothing_new, k=25, vectors=vectors, diversity=diversity)
    assert selected.positions[0].tolist() == textbook(scores, vectors, diversity, 25)


@pytest.mark.parametrize("diversity", ALL, ids=lambda diversity: diversity.method)
def test_a_list_is_more_different_than_the_best_scores_are(diversity):
    scores, vectors, is_new = world(300, 1)
    # The best hundred are of one kind.
    vectors[scores > 0.66, 0] += 2
    vectors = project(vectors)
    plain = select(scores, pool_of(300), is_new, k=50).positions[0]
    varied = select(scores, pool_of(300), is_new, k=50, vectors=vectors, diversity=diversity)

    def likeness(positions):
        return (vectors[positions] @ vectors[positions].T)[np.triu_indices(50, 1)].mean()

    assert likeness(varied.positions[0]) < likeness(plain) - 0.05


cases = st.tuples(st.integers(0, 70), st.integers(0, 2**31), st.sampled_from([None, *ALL]))


def never_owed(is_new: np.ndarray) -> bool:
    """Whether no place, of a list in the order of its choice, had to be a new item's: each time
    enough had come before, in the list and on the page."""
    return all(
        is_new[: place - 1].sum() >= quota(place)
        and is_new[page : place - 1].sum() >= quota(place - page)
        for page in range(0, len(is_new), 10)
        for place in range(page + 1, min(page + 10, len(is_new)) + 1)
    )


@settings(deadline=None, max_examples=150)
@example(case=(29, 5, None), k=20, per_owner=2, per_cluster=5)
@given(cases, st.integers(0, 55), st.integers(1, 8), st.integers(1, 8))
def test_quota_caps_and_length_hold_together(case, k, per_owner, per_cluster):
    size, seed, diversity = case
    scores, vectors, is_new = world(size, seed)
    random = np.random.default_rng(seed)
    owners, clusters = random.integers(-1, 12, (2, size)).astype(np.int32)
    caps = [Cap(owners, per_owner), Cap(clusters, per_cluster)]
    arguments = {
        "k": k, "caps": caps, "diversity": diversity,
        "vectors": None if diversity is None else vectors,
    }  # fmt: skip
    selected = select(scores, pool_of(size), is_new, **arguments)
    again = select(scores, pool_of(size), is_new, **arguments)
    np.testing.assert_array_equal(selected.positions, again.positions)
    chosen = [p for p in selected.positions[0].tolist() if p >= 0]
    assert len(chosen) == len(set(chosen)) == min(k, size)
    new_so_far = np.cumsum(is_new[chosen]) if chosen else np.zeros(0)
    for prefix in range(1, len(chosen) + 1):
        assert new_so_far[prefix - 1] >= min(quota(prefix), is_new.sum())
    broken = 0
    for cap in caps:
        counts = np.bincount(cap.labels[chosen][cap.labels[chosen] >= 0], minlength=1)
        broken += np.maximum(counts - cap.most, 0).sum()
    # A place over a cap is counted, and there is one only where nothing else was left.
    assert (selected.relaxed[0] > 0) == (broken > 0)
    if broken and (not is_new.any() or (diversity is None and never_owed(is_new[chosen]))):
        rest = [p for p in range(size) if p not in chosen]
        full = [
            any(
                cap.labels[p] >= 0 and (cap.labels[chosen] == cap.labels[p]).sum() >= cap.most
                for cap in caps
            )
            for p in rest
        ]
        assert all(full)


def test_the_last_cap_gives_way_first_and_repetition_last():
    scores = np.array([0.9, 0.8, 0.7, 0.6])
    owners = np.array([0, 0, 1, 2], np.int32)
    clusters = np.array([0, 1, 0, 1], np.int32)
    groups = np.array([0, -1, -1, 0], np.int32)
    order = select(
        scores, pool_of(4), np.zeros(4, np.bool_), k=4, duplicate_group=groups,
        caps=[Cap(owners, 1), Cap(clusters, 1)],
    )  # fmt: skip
    # 1 shares its owner with 0, 2 only its cluster, 3 is 0 once more.
    assert order.positions[0].tolist() == [0, 2, 1, 3]
    assert order.relaxed[0] == 3


def test_an_item_without_a_vector_is_neither_favoured_nor_shunned():
    random = np.random.default_rng(0)
    vectors = random.standard_normal((400, 16), dtype=np.float32) + 1
    vectors[:40] = 0
    projected = project(vectors)
    places = []
    for seed in range(30):
        scores = np.random.default_rng(seed).random(400)
        chosen = select(
            scores, pool_of(400), np.zeros(400, np.bool_), k=50, vectors=projected
        ).positions[0]
        places.append((chosen < 40).mean())
    assert 0.03 < np.mean(places) < 0.25


def test_projected_products_are_near_the_cosines():
    random = np.random.default_rng(2)
    vectors = random.standard_normal((200, 512)).astype(np.float16)
    vectors[3] = 0
    close = project(vectors)
    assert close.shape == (200, 64)
    assert close.dtype == np.float32
    units = vectors.astype(float) / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1)
    error = np.delete(np.delete(close @ close.T - units @ units.T, 3, 0), 3, 1)
    assert np.abs(error).mean() < 0.15
    np.testing.assert_array_equal(project(vectors), close)


def test_genres_count_as_much_as_vectors():
    random = np.random.default_rng(2)
    vectors = random.standard_normal((300, 256), dtype=np.float32)
    vectors[:2] = 0
    drawn = random.random((300, 20)) < 0.2
    drawn[1] = False
    genres = sp.csr_matrix(drawn.astype(np.float32))
    close = project(vectors, genres, dimensions=2000)

    def cosines(rows):
        units = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
        return units @ units.T

    both = (cosines(vectors) + cosines(genres.toarray())) / 2
    full = np.flatnonzero((vectors != 0).any(axis=1) & (genres.getnnz(axis=1) > 0))
    error = (close @ close.T - both)[np.ix_(full, full)]
    assert np.abs(error).max() < 0.15
    # Genres alone place an item; nothing at all places it at random.
    np.testing.assert_allclose(np.linalg.norm(close, axis=1), 1, atol=1e-5)
    alone = close[0] @ close[full].T
    assert np.corrcoef(alone, cosines(genres.toarray())[0, full])[0, 1] > 0.9


def test_every_arrival_has_its_turn_on_a_later_page_and_the_quota_still_holds():
    scores, vectors, _ = world(120, 3)
    is_new = np.arange(120) % 2 == 0
    arrived = np.arange(120) < 20
    pool, seen = pool_of(120), set()
    for day in range(10):
        turns = rotating_arrivals(
            pool, scores, is_new, arrived, user_keys=np.array([9]), day=day, pages=3
        )
        assert turns[0, 0] == -1
        chosen = select(scores, pool, is_new, k=30, vectors=vectors, arrivals=turns).positions[0]
        assert set(turns[0, 1:]) <= set(chosen.tolist())
        assert np.unique(chosen).size == 30
        for prefix in range(1, 31):
            assert is_new[chosen[:prefix]].sum() >= quota(prefix)
        seen |= set(turns[0, 1:].tolist())
    assert seen == set(np.flatnonzero(is_new & arrived).tolist())
