"""Reasons: why an item is in somebody's list, each backed by evidence that can be checked.

A reason is a kind and a subject (the anchor item, a count of friends, a genre); sentences are made
by `render`, where names are known. No evidence, no reason.
"""

import enum
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from seda.recommender.arrays import (
    BoolArray,
    ByteArray,
    Csr,
    FloatArray,
    IntArray,
    LongArray,
    SparseRows,
    sparse_rows,
    values_at,
)
from seda.recommender.candidates import Source

MAX_REASONS = 3
ANCHORS = 20
"""Most played items of a user that may be named as the anchor."""
LIKED_GENRES = 10
"""Heaviest genres of a user that they may be told to like."""
MAIN_GENRES = 5
"""Heaviest genres of an item that it may be said to be of."""


class ReasonKind(enum.IntEnum):
    """What a reason rests on; 0 pads."""

    NONE = 0
    FRIENDS_HERE = 1
    """Subject: friends present."""
    BECAUSE_YOU_LISTEN = 2
    """Subject: the anchor item."""
    FRIENDS_LISTEN = 3
    """Subject: friends who play it."""
    TRENDING_IN = 4
    """Subject: a genre that the user likes, among whose most trending items it is."""
    MATCHES_GENRE = 5
    """Subject: a main genre of the item and one of those that the user likes best."""
    POPULAR = 6
    """No subject; the item is among the most popular."""
    FITS_TASTE = 7
    """No subject; the content or collaborative source proposed it, and nothing else is known."""
    TRENDING = 8
    """No subject; the item is among the most trending."""
    RISING = 9
    """No subject; the item is listened to more of late than before."""


PREFERENCE = (
    ReasonKind.FRIENDS_HERE, ReasonKind.BECAUSE_YOU_LISTEN, ReasonKind.FRIENDS_LISTEN,
    ReasonKind.TRENDING_IN, ReasonKind.MATCHES_GENRE, ReasonKind.TRENDING, ReasonKind.POPULAR,
    ReasonKind.FITS_TASTE, ReasonKind.RISING,
)  # fmt: skip
"""Which reasons are given first; the numbers of the kinds are stored and never change."""


_WITHOUT_SUBJECT = (
    ReasonKind.POPULAR, ReasonKind.FITS_TASTE, ReasonKind.TRENDING, ReasonKind.RISING,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Reasons:
    """`kinds` uint8 `(n, 3)` of `ReasonKind`, best first, padded with 0; `subjects` int32 `(n, 3)`:
    item position, count or genre position as the kind says, else -1."""

    kinds: ByteArray
    subjects: IntArray


@dataclass(frozen=True, eq=False)
class Evidence:
    """What reasons may rest on; CSR rows are the users being explained, columns items or genres."""

    plays: Csr
    """`(users, items)` counts."""
    anchor_vectors: FloatArray | None
    """`(items, f)` unit rows (zeros: unknown) in which similarity is measured."""
    anchor_similarity: float
    """Least cosine between an item and its anchor."""
    popular: BoolArray
    """`(items,)`: whether an item may be called popular."""
    presence: Csr | None = None
    """`(users, items)` friends present who show it: one who hides presence is never counted."""
    friend_counts: Csr | None = None
    """`(users, items)` friends who play it. None: the social source proposes only what one does,
    where it was not a friend's presence."""
    item_genres: Csr | None = None
    """`(items, genres)`."""
    user_genres: Csr | None = None
    """`(users, genres)`."""
    trending: BoolArray | None = None
    """`(items,)`: whether an item may be called trending. None: what the trending source
    proposed."""
    trending_in: Csr | None = None
    """`(items, genres)` from `trending_in`. None: in any genre of what is trending."""
    rising: BoolArray | None = None
    """`(items,)`: whether an item is listened to more of late than before."""


def most_of(values: FloatArray, share: float) -> BoolArray:
    """Whether each of `values` `(n,)` is positive and among the largest `share`, ties included."""
    if not values.size:
        return np.zeros(0, np.bool_)
    return np.asarray((values >= np.quantile(values, 1 - share)) & (values > 0))


def trending_in(trending: FloatArray, item_genres: Csr, *, most: int = 50) -> Csr:
    """The genre weights of items that trend in that genre; the rest of `item_genres` dropped.

    Of each genre, the `most` items with the largest positive `trending` `(items,)`, and no more
    than a tenth of the genre (at least one).
    """
    by_genre = item_genres.tocsc(copy=True)
    for genre in range(by_genre.shape[1]):
        first, last = by_genre.indptr[genre : genre + 2]
        scores = trending[by_genre.indices[first:last]]
        order = np.argsort(-scores, kind="stable")
        kept = order[: min(most, -(-scores.size // 10))]
        dropped = np.ones(scores.size, np.bool_)
        dropped[kept[scores[kept] > 0]] = False
        by_genre.data[first:last][dropped] = 0
    rows = by_genre.tocsr()
    rows.eliminate_zeros()
    rows.sort_indices()
    return rows


def unit_rows(vectors: FloatArray) -> FloatArray:
    """Rows scaled to length 1, zeros left as they are; float32."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def explain(indptr: LongArray, items: IntArray, sources: ByteArray, evidence: Evidence) -> Reasons:
    """Up to three reasons for each listed item, in order of preference.

    User u's items are `items[indptr[u]:indptr[u + 1]]`, int32 `(n,)`; `sources` uint8 `(n,)` are
    their `Source` bits.
    """
    subjects = np.full((items.shape[0], len(ReasonKind)), -1, np.int32)
    holds = np.zeros((items.shape[0], len(ReasonKind)), np.bool_)
    for kind, counts in (
        (ReasonKind.FRIENDS_HERE, evidence.presence),
        (ReasonKind.FRIENDS_LISTEN, evidence.friend_counts),
    ):
        if counts is not None:
            subjects[:, kind] = values_at(sparse_rows(counts), indptr, items).astype(np.int32)
            holds[:, kind] = subjects[:, kind] > 0
    if evidence.friend_counts is None:
        proposed = (sources & Source.SOCIAL) != 0
        proposed &= ~holds[:, ReasonKind.FRIENDS_HERE]
        subjects[proposed, ReasonKind.FRIENDS_LISTEN] = 1
        holds[:, ReasonKind.FRIENDS_LISTEN] = proposed
    anchors = _anchors(indptr, items, evidence)
    subjects[:, ReasonKind.BECAUSE_YOU_LISTEN] = anchors
    holds[:, ReasonKind.BECAUSE_YOU_LISTEN] = anchors >= 0
    _hold_genres(indptr, items, sources, evidence, holds, subjects)
    holds[:, ReasonKind.POPULAR] = evidence.popular[items]
    by_taste = (sources & (Source.CONTENT | Source.COLLABORATIVE)) != 0
    holds[:, ReasonKind.FITS_TASTE] = by_taste & ~holds.any(axis=1)
    if evidence.rising is not None:
        holds[:, ReasonKind.RISING] = evidence.rising[items] & ~holds.any(axis=1)
    return _first_reasons(holds, subjects)


def _hold_genres(
    indptr: LongArray, items: IntArray, sources: ByteArray, evidence: Evidence, holds: BoolArray,
    subjects: IntArray,
) -> None:  # fmt: skip
    genres = _genres(indptr, items, evidence.item_genres, evidence.user_genres)
    proposed = (sources & Source.TRENDING) != 0
    trends = proposed if evidence.trending is None else evidence.trending[items]
    if evidence.trending_in is None:
        trending = np.where(trends, genres, -1)
    else:
        trending = _genres(indptr, items, evidence.trending_in, evidence.user_genres)
    subjects[:, ReasonKind.TRENDING_IN] = trending
    subjects[:, ReasonKind.MATCHES_GENRE] = genres
    holds[:, ReasonKind.TRENDING_IN] = trending >= 0
    holds[:, ReasonKind.MATCHES_GENRE] = (genres >= 0) & (trending < 0)
    holds[:, ReasonKind.TRENDING] = trends & (trending < 0)


def _first_reasons(holds: BoolArray, subjects: IntArray) -> Reasons:
    ordered = holds[:, list(PREFERENCE)]
    places = ordered.cumsum(axis=1) - 1
    kinds = np.zeros((holds.shape[0], MAX_REASONS), np.uint8)
    chosen = np.full((holds.shape[0], MAX_REASONS), -1, np.int32)
    for turn, kind in enumerate(PREFERENCE):
        rows = np.flatnonzero(ordered[:, turn] & (places[:, turn] < MAX_REASONS))
        kinds[rows, places[rows, turn]] = kind
        if kind not in _WITHOUT_SUBJECT:
            chosen[rows, places[rows, turn]] = subjects[rows, kind]
    return Reasons(kinds, chosen)


def _anchors(indptr: LongArray, items: IntArray, evidence: Evidence) -> IntArray:
    anchors = np.full(items.shape[0], -1, np.int32)
    vectors = evidence.anchor_vectors
    if vectors is not None:
        plays = sparse_rows(evidence.plays)
        least = np.float32(evidence.anchor_similarity)
        _nearest_played(
            plays.indptr, plays.indices, plays.data, vectors, least, indptr, items, anchors
        )
    return anchors


def _genres(
    indptr: LongArray, items: IntArray, item_genres: Csr | None, user_genres: Csr | None
) -> IntArray:
    genres = np.full(items.shape[0], -1, np.int32)
    if item_genres is not None and user_genres is not None:
        _shared_genre(_arrays(user_genres), _arrays(item_genres), indptr, items, genres)
    return genres


def _arrays(matrix: Csr) -> tuple[LongArray, IntArray, FloatArray]:
    rows: SparseRows = sparse_rows(matrix)
    return rows.indptr, rows.indices, rows.data


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _cosine(vectors: Any, left: int, right: int) -> Any:
    total = np.float32(0)
    for dimension in range(vectors.shape[1]):
        total += vectors[left, dimension] * vectors[right, dimension]
    return total


@njit(cache=True, nogil=True)
def _nearest_played(
    play_indptr: Any, played: Any, plays: Any, vectors: Any, least: Any, indptr: Any, items: Any,
    anchors: Any,
) -> None:  # fmt: skip
    for user in range(indptr.shape[0] - 1):
        start, stop = play_indptr[user], play_indptr[user + 1]
        most = np.argsort(-plays[start:stop], kind="mergesort")[:ANCHORS]
        for position in range(indptr[user], indptr[user + 1]):
            closest = np.float32(0)
            for rank in range(most.shape[0]):
                anchor = played[start + most[rank]]
                if anchor == items[position] or not plays[start + most[rank]] > 0:
                    continue
                similarity = _cosine(vectors, anchor, items[position])
                if similarity >= least and similarity > closest:
                    closest = similarity
                    anchors[position] = anchor


@njit(cache=True, nogil=True)
def _shared_genre(users: Any, catalogue: Any, indptr: Any, items: Any, genres: Any) -> None:
    """The shared genre with the largest product of weights (ties: lower genre), of those that the
    user likes best and that are the item's main ones."""
    user_indptr, user_genres, user_weights = users
    item_indptr, item_genres, item_weights = catalogue
    for user in range(indptr.shape[0] - 1):
        first, left_end = user_indptr[user], user_indptr[user + 1]
        liked = _nth_largest(user_weights[first:left_end], LIKED_GENRES)
        for position in range(indptr[user], indptr[user + 1]):
            left = first
            right, right_end = item_indptr[items[position]], item_indptr[items[position] + 1]
            main = _nth_largest(item_weights[right:right_end], MAIN_GENRES)
            heaviest = np.float32(0)
            while left < left_end and right < right_end:
                if user_genres[left] < item_genres[right]:
                    left += 1
                elif user_genres[left] > item_genres[right]:
                    right += 1
                else:
                    weight = user_weights[left] * item_weights[right]
                    counts = user_weights[left] >= liked and item_weights[right] >= main
                    if counts and weight > heaviest:
                        heaviest = weight
                        genres[position] = user_genres[left]
                    left += 1
                    right += 1


@njit(cache=True, nogil=True)
def _nth_largest(weights: Any, n: int) -> Any:
    if weights.shape[0] <= n:
        return np.float32(0)
    return np.sort(weights)[weights.shape[0] - n]


def render(
    kind: ReasonKind, *, subject: str | None = None, count: int = 0, entity_type: str = "artist"
) -> str:
    """The sentence of a reason: `subject` is the anchor's or genre's name, `count` the friends.

    `entity_type` is that of the list, and so of the anchor: people are in rooms, and listen to
    artists and playlists.

    ValueError when the kind needs a name or a count that was not given.
    """
    needs_name = kind in (
        ReasonKind.BECAUSE_YOU_LISTEN, ReasonKind.TRENDING_IN, ReasonKind.MATCHES_GENRE,
    )  # fmt: skip
    needs_count = kind in (ReasonKind.FRIENDS_HERE, ReasonKind.FRIENDS_LISTEN)
    if kind == ReasonKind.NONE or (needs_name and not subject) or (needs_count and count < 1):
        raise ValueError(f"a reason of kind {kind.name.lower()} needs a name or a count of friends")
    one = count == 1
    return {
        ReasonKind.BECAUSE_YOU_LISTEN: (
            f"Because you are in #{subject}"
            if entity_type == "room"
            else f"Because you listen to {subject}"
        ),
        ReasonKind.FRIENDS_HERE: f"{count} friend{' is' if one else 's are'} here",
        ReasonKind.FRIENDS_LISTEN: (
            f"{count} friend{'' if one else 's'} joined this room"
            if entity_type == "room"
            else f"{count} friend{' listens' if one else 's listen'} to this"
        ),
        ReasonKind.TRENDING_IN: f"Trending in {subject}",
        ReasonKind.MATCHES_GENRE: f"Because you like {subject}",
        ReasonKind.POPULAR: "Popular right now",
        ReasonKind.FITS_TASTE: "Close to your taste",
        ReasonKind.TRENDING: "Trending now",
        ReasonKind.RISING: "Listened to more than usual",
    }[kind]
