"""What holds for every shard, whatever is in it: promises of the published list."""

from dataclasses import fields, replace

import numpy as np
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from seda.recommender.candidates import (
    CandidateLists,
    Source,
    friend_counts,
    merge_candidates,
    social_candidates,
    trending_candidates,
    union,
)
from seda.recommender.clusters import home_clusters
from seda.recommender.diversity import Cap, new_to_user, project, quota
from seda.recommender.explain import ReasonKind
from seda.recommender.exploration import Exploration
from seda.recommender.inputs import RankingInputs
from seda.recommender.ranking import LinearWeights
from seda.recommender.recommend import RankedLists, recommend
from seda.recommender.rules import ListRules
from seda.recommender.signals.social import friend_taste

GENRES, DIM = 4, 6


def sparse(random, rows, columns, share):
    counts = np.ceil(random.lognormal(2, 1, (rows, columns)))
    return sp.csr_matrix((counts * (random.random((rows, columns)) < share)).astype(np.float32))


def drawn_lists(random, users, items, k):
    """A source that proposes anything at all, good or bad."""
    lists = np.full((users, k), -1, np.int32)
    for user in range(users):
        chosen = random.permutation(items)[: random.integers(0, min(k, items) + 1)]
        lists[user, : chosen.size] = chosen
    return CandidateLists(lists, random.random((users, k)).astype(np.float32))


def shard(seed, users, items):
    """Sparse or dense, with unknown users, vectorless items and anything suppressed."""
    random = np.random.default_rng(seed)
    plays = sparse(random, users, items, random.random() * 0.3)
    vectors = random.standard_normal((items, DIM), dtype=np.float32)
    vectors[random.random(items) < 0.2] = 0
    friends = sparse(random, users, users, 0.2)
    social = friend_taste(friends, plays, plays)
    genres = sparse(random, items, GENRES, 0.4)
    tastes = (plays @ genres).tocsr()
    popularity = np.log1p(np.bincount(plays.indices, minlength=items)).astype(np.float32)
    clusters = random.integers(-1, 5, items).astype(np.int32)
    rules = ListRules(
        likeness=project(vectors, genres) if random.random() < 0.7 else None,
        caps=(Cap(random.integers(-1, 9, items).astype(np.int32), 2), Cap(clusters, 6)),
        duplicate_group=random.integers(-1, 20, items).astype(np.int32),
        arrived=random.random(items) < 0.2,
    )
    return RankingInputs(
        plays=plays,
        lists={
            Source.CONTENT: drawn_lists(random, users, items, 20),
            Source.COLLABORATIVE: drawn_lists(random, users, items, 20),
            Source.SOCIAL: social_candidates(social, 20),
            Source.TRENDING: trending_candidates(popularity, genres, tastes, 20),
        },
        blocked=sparse(random, users, items, 0.2),
        taste=np.asarray(plays @ vectors, np.float32),
        item_vectors=vectors,
        social=social,
        friend_counts=friend_counts(friends, plays),
        popularity=popularity,
        item_genres=genres,
        user_genres=tastes,
        clusters=clusters,
        home_clusters=home_clusters(plays, clusters),
        shown_recently=sparse(random, users, items, 0.1),
        ignored=sparse(random, users, items, 0.1),
        rules=rules if random.random() < 0.7 else ListRules(),
        user_keys=random.integers(0, 2**62, users),
        day=int(random.integers(0, 1000)),
    )


shards = st.builds(shard, st.integers(0, 2**31), st.integers(0, 6), st.integers(0, 60))


def new_for_sure(candidates, is_new, rules) -> int:
    """New candidates that repeat nothing: what is like something that is not new may be the same
    once more, and then the quota does not ask for it."""
    if rules.duplicate_group is None:
        return int(is_new.sum())
    groups = rules.duplicate_group[candidates]
    fresh = set(groups[is_new]) - set(groups[~is_new]) - {-1}
    return int((is_new & (groups < 0)).sum()) + len(fresh)


@settings(deadline=None, max_examples=80)
@given(shards, st.integers(1, 30), st.sampled_from([None, Exploration()]))
def test_the_promises_of_a_published_list(inputs, k, exploration):
    ranked = recommend(inputs, weights=LinearWeights(), k=k, exploration=exploration)
    again = recommend(inputs, weights=LinearWeights(), k=k, exploration=exploration, threads=1)
    for entry in fields(RankedLists):
        np.testing.assert_array_equal(getattr(ranked, entry.name), getattr(again, entry.name))
    out = union(inputs.plays, inputs.blocked)
    pool = merge_candidates(inputs.lists, blocked=out, users=inputs.plays.shape[0])
    is_new = new_to_user(
        pool, plays=inputs.plays, shown_recently=inputs.shown_recently,
        clusters=inputs.clusters, homes=inputs.home_clusters,
    )  # fmt: skip
    assert np.isfinite(ranked.scores).all()
    assert np.isfinite(ranked.contributions).all()
    assert ((ranked.scores >= 0) & (ranked.scores <= 1)).all()
    for user in range(ranked.items.shape[0]):
        start, stop = pool.indptr[user : user + 2]
        listed = ranked.items[user][ranked.items[user] >= 0]
        assert listed.size == np.unique(listed).size == min(k, stop - start)
        assert not set(listed) & set(out[user].indices)
        assert set(listed) <= set(pool.items[start:stop])
        available = new_for_sure(pool.items[start:stop], is_new[start:stop], inputs.rules)
        for prefix in range(1, listed.size + 1):
            new = int(ranked.is_new[user, :prefix].sum())
            assert new >= min(quota(prefix), available)
        missing = quota(listed.size) - int(ranked.is_new[user].sum())
        # A drawn item may be new where the ranked one was not.
        explored = ranked.displaced[user] >= 0
        assert max(0, missing) <= ranked.shortfall[user] <= max(0, missing + explored)
        assert (ranked.reason_kinds[user, : listed.size, 0] != ReasonKind.NONE).all()


@settings(deadline=None, max_examples=40)
@given(shards, st.floats(0.01, 1000), st.floats(-1000, 1000))
def test_the_units_of_a_raw_signal_change_no_order(inputs, scale, shift):
    plain = recommend(inputs, weights=LinearWeights(), k=20)
    moved = replace(inputs, popularity=(inputs.popularity * scale + shift).astype(np.float32))
    other = recommend(moved, weights=LinearWeights(), k=20)
    same = plain.items == other.items
    # Where single precision made two candidates equal, they may change places.
    close = np.abs(plain.scores - other.scores) < 1e-3
    assert (same | close).all()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 2**31))
def test_an_unknown_user_or_an_empty_catalogue_gets_an_empty_list(users, items, seed):
    known = shard(seed, users, items)
    nothing = RankingInputs(
        plays=sp.csr_matrix((users, items), dtype=np.float32),
        lists={},
        taste=np.zeros((users, DIM), np.float32),
        item_vectors=known.item_vectors,
        popularity=np.zeros(items, np.float32),
        clusters=known.clusters,
    )
    ranked = recommend(nothing, weights=LinearWeights(), k=5)
    assert (ranked.items == -1).all()
    assert (ranked.reason_kinds == ReasonKind.NONE).all()
    assert np.isfinite(ranked.scores).all()
    assert (ranked.pool_sizes == 0).all()
    assert (ranked.shortfall == 0).all()
