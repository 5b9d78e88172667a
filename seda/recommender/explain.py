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


class ReasonKind(enum.IntEnum):
    """Kinds in order of preference; 0 pads."""

    NONE = 0
    FRIENDS_HERE = 1
    """Subject: friends present."""
    BECAUSE_YOU_LISTEN = 2
    """Subject: the anchor item."""
    FRIENDS_LISTEN = 3
    """Subject: friends who play it."""
    TRENDING_IN = 4
    """Subject: a genre of the item and of the user; the item is from the trending source."""
    MATCHES_GENRE = 5
    """Subject: a genre of the item and of the user."""
    POPULAR = 6
    """No subject; the item is trending or among the most popular."""
    FITS_TASTE = 7
    """No subject; the content or collaborative source proposed it, and nothing else is known."""


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
    """`(users, items)` friends present."""
    friend_counts: Csr | None = None
    """`(users, items)` friends who play it."""
    item_genres: Csr | None = None
    """`(items, genres)`."""
    user_genres: Csr | None = None
    """`(users, genres)`."""


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
        # The social source only proposes what at least one friend plays.
        proposed = (sources & Source.SOCIAL) != 0
        subjects[proposed, ReasonKind.FRIENDS_LISTEN] = 1
        holds[:, ReasonKind.FRIENDS_LISTEN] = proposed
    anchors = _anchors(indptr, items, evidence)
    subjects[:, ReasonKind.BECAUSE_YOU_LISTEN] = anchors
    holds[:, ReasonKind.BECAUSE_YOU_LISTEN] = anchors >= 0
    genres = _genres(indptr, items, evidence)
    trending = (sources & Source.TRENDING) != 0
    subjects[:, ReasonKind.TRENDING_IN] = subjects[:, ReasonKind.MATCHES_GENRE] = genres
    holds[:, ReasonKind.TRENDING_IN] = trending & (genres >= 0)
    holds[:, ReasonKind.MATCHES_GENRE] = ~trending & (genres >= 0)
    holds[:, ReasonKind.POPULAR] = evidence.popular[items] | trending
    by_taste = (sources & (Source.CONTENT | Source.COLLABORATIVE)) != 0
    holds[:, ReasonKind.FITS_TASTE] = by_taste & ~holds[:, : ReasonKind.FITS_TASTE].any(axis=1)
    return _first_reasons(holds, subjects)


def _first_reasons(holds: BoolArray, subjects: IntArray) -> Reasons:
    places = holds.cumsum(axis=1) - 1
    kinds = np.zeros((holds.shape[0], MAX_REASONS), np.uint8)
    chosen = np.full((holds.shape[0], MAX_REASONS), -1, np.int32)
    for kind in ReasonKind:
        rows = np.flatnonzero(holds[:, kind] & (places[:, kind] < MAX_REASONS))
        kinds[rows, places[rows, kind]] = kind
        if kind not in (ReasonKind.POPULAR, ReasonKind.FITS_TASTE):
            chosen[rows, places[rows, kind]] = subjects[rows, kind]
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


def _genres(indptr: LongArray, items: IntArray, evidence: Evidence) -> IntArray:
    genres = np.full(items.shape[0], -1, np.int32)
    if evidence.item_genres is not None and evidence.user_genres is not None:
        _shared_genre(
            _arrays(evidence.user_genres), _arrays(evidence.item_genres), indptr, items, genres
        )
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
    """The shared genre with the largest product of weights (ties: lower genre)."""
    user_indptr, user_genres, user_weights = users
    item_indptr, item_genres, item_weights = catalogue
    for user in range(indptr.shape[0] - 1):
        for position in range(indptr[user], indptr[user + 1]):
            left, right = user_indptr[user], item_indptr[items[position]]
            left_end, right_end = user_indptr[user + 1], item_indptr[items[position] + 1]
            heaviest = np.float32(0)
            while left < left_end and right < right_end:
                if user_genres[left] < item_genres[right]:
                    left += 1
                elif user_genres[left] > item_genres[right]:
                    right += 1
                else:
                    weight = user_weights[left] * item_weights[right]
                    if weight > heaviest:
                        heaviest = weight
                        genres[position] = user_genres[left]
                    left += 1
                    right += 1


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
    }[kind]
