"""Reasons are true: each rests on evidence, and goes when the evidence goes."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from seda.recommender.candidates import Source
from seda.recommender.explain import (
    LIKED_GENRES,
    MAIN_GENRES,
    Evidence,
    ReasonKind,
    explain,
    most_of,
    render,
    trending_in,
    unit_rows,
)

USERS, ITEMS, GENRES = 12, 90, 30
WITHOUT = sp.csr_matrix((USERS, ITEMS), dtype=np.float32)


def sparse(random, rows, columns, share):
    values = np.ceil(random.lognormal(2, 1, (rows, columns)))
    return sp.csr_matrix((values * (random.random((rows, columns)) < share)).astype(np.float32))


@pytest.fixture(params=range(3))
def case(request):
    """Every user's list is the whole catalogue, so that every kind of reason occurs."""
    random = np.random.default_rng(request.param)
    popularity, trends = random.random((2, ITEMS)).astype(np.float32)
    genres = sparse(random, ITEMS, GENRES, 0.03)
    evidence = Evidence(
        plays=sparse(random, USERS, ITEMS, 0.04),
        anchor_vectors=unit_rows(random.standard_normal((ITEMS, 5), dtype=np.float32)),
        anchor_similarity=0.9,
        popular=most_of(popularity, 0.05),
        presence=sparse(random, USERS, ITEMS, 0.05),
        friend_counts=sparse(random, USERS, ITEMS, 0.1),
        item_genres=genres,
        user_genres=sparse(random, USERS, GENRES, 0.2),
        trending=most_of(trends, 0.1),
        trending_in=trending_in(trends, genres),
        rising=trends > 0.2,
    )
    indptr = np.arange(USERS + 1, dtype=np.int64) * ITEMS
    items = np.tile(np.arange(ITEMS, dtype=np.int32), USERS)
    sources = random.integers(1, 16, items.size).astype(np.uint8)
    return indptr, items, sources, evidence


def told(case, **changed):
    indptr, items, sources, evidence = case
    sources = changed.pop("sources", sources)
    return explain(indptr, items, sources, replace(evidence, **changed))


def places(reasons, kind):
    rows, columns = np.nonzero(reasons.kinds == kind)
    return rows, reasons.subjects[rows, columns]


def without_pair(matrix, user, item):
    left = matrix.tolil(copy=True)
    left[user, item] = 0
    return left.tocsr()


def changes_for(kind, case, row, subject):
    """The case without the one piece of evidence that a reason rests on."""
    *_, sources, evidence = case
    user, item = divmod(int(row), ITEMS)
    match kind:
        case ReasonKind.FRIENDS_HERE:
            return {"presence": without_pair(evidence.presence, user, item)}
        case ReasonKind.FRIENDS_LISTEN:
            return {"friend_counts": without_pair(evidence.friend_counts, user, item)}
        case ReasonKind.BECAUSE_YOU_LISTEN:
            return {"plays": without_pair(evidence.plays, user, subject)}
        case ReasonKind.MATCHES_GENRE:
            return {"user_genres": without_pair(evidence.user_genres, user, subject)}
        case ReasonKind.TRENDING_IN:
            return {"trending_in": without_pair(evidence.trending_in, item, subject)}
        case ReasonKind.TRENDING:
            return {"trending": evidence.trending & (np.arange(ITEMS) != item)}
        case ReasonKind.RISING:
            return {"rising": evidence.rising & (np.arange(ITEMS) != item)}
        case ReasonKind.POPULAR:
            return {"popular": evidence.popular & (np.arange(ITEMS) != item)}
        case _:
            own = sources.copy()
            own[row] &= ~np.uint8(Source.CONTENT | Source.COLLABORATIVE)
            return {"sources": own}


@pytest.mark.parametrize("kind", [kind for kind in ReasonKind if kind != ReasonKind.NONE])
def test_without_its_evidence_a_reason_is_not_given(case, kind):
    before = told(case)
    rows, subjects = places(before, kind)
    assert rows.size, "the case must hold the reason"
    for row, subject in list(zip(rows, subjects, strict=True))[:25]:
        after = told(case, **changes_for(kind, case, row, subject))
        still = [
            (int(each), int(about))
            for each, about in zip(after.kinds[row], after.subjects[row], strict=True)
        ]
        assert (int(kind), int(subject)) not in still


def test_every_number_and_name_in_a_reason_is_in_the_data(case):
    _, items, _, evidence = case
    reasons = told(case)
    for row in range(items.size):
        user, item = divmod(row, ITEMS)
        for kind, subject in zip(reasons.kinds[row], reasons.subjects[row], strict=True):
            match kind:
                case ReasonKind.FRIENDS_HERE:
                    assert subject == evidence.presence[user, item] > 0
                case ReasonKind.FRIENDS_LISTEN:
                    assert subject == evidence.friend_counts[user, item] > 0
                case ReasonKind.BECAUSE_YOU_LISTEN:
                    assert evidence.plays[user, subject] > 0
                    likeness = evidence.anchor_vectors[subject] @ evidence.anchor_vectors[item]
                    assert likeness >= 0.8999
                case ReasonKind.MATCHES_GENRE | ReasonKind.TRENDING_IN:
                    liked = evidence.user_genres[user].toarray()[0]
                    of = evidence.item_genres[item].toarray()[0]
                    assert liked[subject] > 0 < of[subject]
                    assert (liked > liked[subject]).sum() < LIKED_GENRES
                    assert (of > of[subject]).sum() < MAIN_GENRES
                case ReasonKind.TRENDING:
                    assert evidence.trending[item]
                case ReasonKind.POPULAR:
                    assert evidence.popular[item]


def test_trending_in_a_genre_means_among_its_first(case):
    *_, evidence = case
    trends = np.random.default_rng(9).random(ITEMS).astype(np.float32)
    kept = trending_in(trends, evidence.item_genres)
    for genre in range(GENRES):
        members = np.flatnonzero(evidence.item_genres[:, genre].toarray())
        first = members[np.argsort(-trends[members])][: -(-members.size // 10)]
        assert set(np.flatnonzero(kept[:, genre].toarray())) == set(first)
    assert trending_in(np.zeros(ITEMS, np.float32), evidence.item_genres).nnz == 0


def test_a_friend_who_is_present_is_not_said_to_listen():
    # The social source also proposes rooms for presence alone.
    reasons = explain(
        np.array([0, 2]), np.array([0, 1], np.int32),
        np.full(2, Source.SOCIAL, np.uint8),
        Evidence(
            plays=sp.csr_matrix((1, 2)), anchor_vectors=None, anchor_similarity=1.0,
            popular=np.zeros(2, np.bool_), presence=sp.csr_matrix(np.array([[2, 0]], np.float32)),
        ),
    )  # fmt: skip
    assert reasons.kinds.tolist() == [
        [ReasonKind.FRIENDS_HERE, 0, 0],
        [ReasonKind.FRIENDS_LISTEN, 0, 0],
    ]
    assert reasons.subjects[:, 0].tolist() == [2, 1]


def test_what_the_trending_source_proposed_is_not_called_popular():
    reasons = explain(
        np.array([0, 1]), np.array([0], np.int32), np.array([Source.TRENDING], np.uint8),
        Evidence(sp.csr_matrix((1, 1)), None, 1.0, np.zeros(1, np.bool_)),
    )  # fmt: skip
    assert reasons.kinds.tolist() == [[ReasonKind.TRENDING, 0, 0]]
    assert render(ReasonKind.TRENDING) == "Trending now"
