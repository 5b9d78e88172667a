"""Candidates: the four sources' lists per user, and the pool that they merge into.

Lists of the content and collaborative sources are `nearest.top_k_products` of taste vectors and
of factors; the social and trending sources are made here. The pool holds each item once per user,
sorted by item, with a bit for each source that proposed it, and nothing that is blocked.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from numba import njit

from seda.recommender.arrays import (
    BoolArray,
    ByteArray,
    Csr,
    FloatArray,
    IntArray,
    LongArray,
    empty_rows,
    sparse_rows,
)
from seda.recommender.nearest import top_k_products

TOP_GENRES = 3
"""Genres of a user that the trending source looks into."""


class Source(enum.IntFlag):
    """Who proposed a candidate; the values are bits of `CandidatePool.sources`."""

    CONTENT = 1
    COLLABORATIVE = 2
    SOCIAL = 4
    TRENDING = 8


@dataclass(frozen=True, eq=False)
class CandidateLists:
    """One source's lists: `items` int32 `(users, k)` best first, padded with -1; `scores` float32
    `(users, k)`, padded with -inf."""

    items: IntArray
    scores: FloatArray


@dataclass(frozen=True, eq=False)
class CandidatePool:
    """All candidates of a shard: user u has positions `indptr[u]:indptr[u + 1]`.

    `indptr` int64 `(users + 1,)`; `items` int32 `(nnz,)`, rising within a user; `sources` uint8
    `(nnz,)`, the union of `Source` bits.
    """

    indptr: LongArray
    items: IntArray
    sources: ByteArray

    @property
    def users(self) -> int:
        return self.indptr.shape[0] - 1

    def rows(self, start: int, stop: int) -> Self:
        """The pool of the users `start:stop` alone."""
        first, last = self.indptr[start], self.indptr[stop]
        indptr = self.indptr[start : stop + 1] - first
        return type(self)(indptr, self.items[first:last], self.sources[first:last])

    def of_users(self, chosen: BoolArray) -> Self:
        """The pool of the same users, empty for all but the `chosen`, bool `(users,)`."""
        sizes = np.diff(self.indptr)
        kept = np.repeat(chosen, sizes)
        indptr = np.concatenate([[0], np.cumsum(np.where(chosen, sizes, 0))]).astype(np.int64)
        return type(self)(indptr, self.items[kept], self.sources[kept])

    def without(self, blocked: sp.csr_matrix) -> Self:
        """The pool without what is stored in `blocked`, `(users, items)`."""
        owners, items = blocked.nonzero()
        count = np.int64(blocked.shape[1])
        taken = np.isin(self.owners * count + self.items, owners * count + items)
        indptr = np.concatenate([[0], np.cumsum(~taken)]).astype(np.int64)[self.indptr]
        return type(self)(indptr, self.items[~taken], self.sources[~taken])

    @property
    def owners(self) -> IntArray:
        """The user of every position, int32 `(nnz,)`."""
        return np.repeat(np.arange(self.users, dtype=np.int32), np.diff(self.indptr))


def merge_candidates(
    lists: Mapping[Source, CandidateLists], *, blocked: Csr | None, users: int | None = None
) -> CandidatePool:
    """The union of the sources' lists without what is `blocked`.

    `blocked` CSR `(users, items)`: stored entries are items that may not appear for that user
    (known, suppressed, own, in a language they do not read). `users` is needed only when there is
    neither a list nor a `blocked`.
    """
    tables = [np.ascontiguousarray(entry.items, np.int32) for entry in lists.values()]
    heights = {table.shape[0] for table in tables}
    heights |= set() if blocked is None else {blocked.shape[0]}
    heights |= set() if users is None else {users}
    if len(heights) > 1:
        raise ValueError(f"sources and blocked disagree on the number of users: {sorted(heights)}")
    height = heights.pop() if heights else 0
    offered = np.hstack(tables) if tables else np.empty((height, 0), np.int32)
    bits = np.repeat(
        np.array([int(source) for source in lists], np.int64),
        [table.shape[1] for table in tables],
    )
    rows = sparse_rows(empty_rows(height, 1) if blocked is None else blocked)
    items = np.empty(offered.size, np.int32)
    sources = np.empty(offered.size, np.uint8)
    indptr = np.zeros(height + 1, np.int64)
    _merge(offered, bits, rows.indptr, rows.indices, indptr, items, sources)
    return CandidatePool(indptr, items[: indptr[-1]].copy(), sources[: indptr[-1]].copy())


def nearest_candidates(
    people: FloatArray, items: npt.NDArray[np.floating[Any]], k: int, *, exclude: Csr | None = None
) -> CandidateLists:
    """The k items nearest to each person by inner product, exactly; none for a row of zeros.

    `people` `(users, d)` float32, `items` `(items, d)` float32 or float16, `exclude` CSR
    `(users, items)`: stored entries may not appear.
    """
    top = top_k_products(people, items, k, exclude=exclude)
    return CandidateLists(top.items, top.scores)


def interleaved(tables: Sequence[IntArray], k: int) -> CandidateLists:
    """One list of k from several, int32 `(users, *)` each: all firsts, then all seconds, and so on.

    An item stays where it is first; the score is minus the place.
    """
    wide = np.stack([np.ascontiguousarray(table, np.int32) for table in tables], axis=2)
    lists = _empty_lists(wide.shape[0], k)
    offered = wide.reshape(wide.shape[0], wide.shape[1] * wide.shape[2])
    _interleave(offered, int(wide.max(initial=-1)) + 1, lists.items)
    places = np.broadcast_to(-np.arange(k, dtype=np.float32), lists.items.shape)
    np.copyto(lists.scores, places, where=lists.items >= 0)
    return lists


def with_presence(scores: Csr, presence: Csr) -> Csr:
    """Social scores in which a room with a friend in it now comes before every other room.

    `scores` and `presence` (friends there now) CSR `(users, rooms)`.
    """
    lead = np.float32(scores.data.max(initial=0.0) + 1.0)
    return (scores + presence * lead).tocsr()


def union(left: Csr, right: Csr) -> Csr:
    """A CSR matrix that stores an entry wherever either does, whatever the values are."""
    return (_pattern(left) + _pattern(right)).tocsr()


def _pattern(matrix: Csr) -> Csr:
    ones = np.ones(matrix.indices.shape[0], np.float32)
    return type(matrix)((ones, matrix.indices, matrix.indptr), shape=matrix.shape)


def friend_counts(friends: Csr, plays: Csr) -> Csr:
    """How many friends play each item: CSR `(users, items)` float32; `friends` CSR
    `(users, region_users)`, `plays` CSR `(region_users, items)`."""
    is_friend = sp.csr_matrix(friends, dtype=np.float32, copy=True)
    is_friend.data = (is_friend.data > 0).astype(np.float32)
    is_played = sp.csr_matrix(plays, dtype=np.float32, copy=True)
    is_played.data = (is_played.data > 0).astype(np.float32)
    counts = (is_friend @ is_played).tocsr()
    counts.eliminate_zeros()
    counts.sort_indices()
    return counts


def social_candidates(scores: Csr, k: int) -> CandidateLists:
    """The k items of each user with the highest positive social score (ties: lower item)."""
    rows = sparse_rows(scores)
    lists = _empty_lists(scores.shape[0], k)
    _best_of_rows(rows.indptr, rows.indices, rows.data, lists.items, lists.scores)
    return lists


def trending_candidates(
    trending: FloatArray, item_genres: Csr, user_genres: Csr, k: int
) -> CandidateLists:
    """Half what trends everywhere, half what trends in the user's own three top genres.

    `trending` float32 `(items,)`, of which only positive values trend; `item_genres` CSR
    `(items, genres)`; `user_genres` CSR `(users, genres)` of weights. Genres take turns; what they
    cannot fill, the global list does. Each list is ordered by the trending score.
    """
    lists = _empty_lists(user_genres.shape[0], k)
    if k == 0 or trending.size == 0:
        return lists
    order = np.lexsort((np.arange(trending.size), -np.nan_to_num(trending)))
    order = order[np.nan_to_num(trending[order]) > 0].astype(np.int32)
    ranks = np.full(trending.size, order.size, np.int32)
    ranks[order] = np.arange(order.size, dtype=np.int32)
    in_genre = sparse_rows(sp.csr_matrix(item_genres)[order].T.tocsr())
    tastes = sparse_rows(user_genres)
    _trending(
        order, in_genre.indptr, in_genre.indices, tastes.indptr, tastes.indices, tastes.data,
        lists.items,
    )  # fmt: skip
    _order_by_rank(ranks, lists.items)
    present = lists.items >= 0
    lists.scores[present] = trending[lists.items[present]]
    return lists


def _empty_lists(users: int, k: int) -> CandidateLists:
    return CandidateLists(
        np.full((users, k), -1, np.int32), np.full((users, k), -np.inf, np.float32)
    )


@njit(cache=True, nogil=True)
def _interleave(offered: Any, count: int, items: Any) -> None:
    taken = np.full(count, -1, np.int64)
    for user in range(items.shape[0]):
        place = 0
        for item in offered[user]:
            if place == items.shape[1]:
                break
            if item >= 0 and taken[item] != user:
                taken[item] = user
                items[user, place] = item
                place += 1


@njit(cache=True, nogil=True)
def _merge(
    offered: Any, bits: Any, blocked_indptr: Any, blocked: Any, indptr: Any, items: Any,
    sources: Any,
) -> None:  # fmt: skip
    written = 0
    keys = np.empty(offered.shape[1], np.int64)
    for user in range(offered.shape[0]):
        count = 0
        for column in range(offered.shape[1]):
            if offered[user, column] >= 0:
                # Item in the high part, source bit in the low one: one sort brings equals together.
                keys[count] = np.int64(offered[user, column]) * 256 + bits[column]
                count += 1
        cursor = blocked_indptr[user]
        last = -1
        for key in np.sort(keys[:count]):
            item = key >> 8
            if item == last:
                sources[written - 1] |= np.uint8(key & 255)
                continue
            while cursor < blocked_indptr[user + 1] and blocked[cursor] < item:
                cursor += 1
            if cursor < blocked_indptr[user + 1] and blocked[cursor] == item:
                continue
            last = item
            items[written] = item
            sources[written] = np.uint8(key & 255)
            written += 1
        indptr[user + 1] = written


@njit(cache=True, nogil=True)
def _best_of_rows(indptr: Any, indices: Any, data: Any, items: Any, scores: Any) -> None:
    k = items.shape[1]
    for row in range(items.shape[0]):
        start = indptr[row]
        order = np.argsort(-data[start : indptr[row + 1]], kind="mergesort")
        for rank in range(min(k, order.shape[0])):
            position = start + order[rank]
            if not data[position] > 0:
                break
            items[row, rank] = indices[position]
            scores[row, rank] = data[position]


@njit(cache=True, nogil=True)
def _trending(
    order: Any, genre_indptr: Any, genre_ranks: Any, taste_indptr: Any, tastes: Any, weights: Any,
    items: Any,
) -> None:  # fmt: skip
    """Genre lists hold ranks into `order`, rising, so their heads trend most."""
    k = items.shape[1]
    taken = np.full(order.shape[0], -1, np.int64)
    for user in range(items.shape[0]):
        filled = 0
        for rank in range(min((k + 1) // 2, order.shape[0])):
            taken[rank] = user
            items[user, filled] = order[rank]
            filled += 1
        start, stop = taste_indptr[user], taste_indptr[user + 1]
        by_weight = np.argsort(-weights[start:stop], kind="mergesort")[:TOP_GENRES]
        cursors = np.empty(by_weight.shape[0], np.int64)
        for turn in range(by_weight.shape[0]):
            cursors[turn] = genre_indptr[tastes[start + by_weight[turn]]]
        advanced = True
        while filled < k and advanced:
            advanced = False
            for turn in range(by_weight.shape[0]):
                end = genre_indptr[tastes[start + by_weight[turn]] + 1]
                while cursors[turn] < end and taken[genre_ranks[cursors[turn]]] == user:
                    cursors[turn] += 1
                if cursors[turn] < end and filled < k:
                    taken[genre_ranks[cursors[turn]]] = user
                    items[user, filled] = order[genre_ranks[cursors[turn]]]
                    filled += 1
                    advanced = True
        rank = 0
        while filled < k and rank < order.shape[0]:
            if taken[rank] != user:
                items[user, filled] = order[rank]
                filled += 1
            rank += 1


@njit(cache=True, nogil=True)
def _order_by_rank(ranks: Any, items: Any) -> None:
    for user in range(items.shape[0]):
        count = 0
        while count < items.shape[1] and items[user, count] >= 0:
            count += 1
        order = np.argsort(ranks[items[user, :count]], kind="mergesort")
        items[user, :count] = items[user, :count][order]
