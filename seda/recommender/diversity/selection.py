"""Lists from scores: best first under the novelty quota, caps and one item per duplicate group.

The promises give way in a fixed order before a list gets short: the last cap first, the first cap
last, and only then that nothing is listed twice. The quota gives way to nothing but a lack of new
items. The kernel is in `greedy`.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seda.recommender.arrays import BoolArray, DoubleArray, FloatArray, IntArray, LongArray
from seda.recommender.candidates import CandidatePool
from seda.recommender.diversity.greedy import (
    NEAREST,
    PAGE,
    SUM,
    VARIANCE,
    Chosen,
    Offered,
    Rule,
    mark_duplicates,
    select_all,
)
from seda.recommender.diversity.novelty import NEW_PER_TEN, quota
from seda.recommender.diversity.relevance import log_rank


class Method(enum.StrEnum):
    """How the similarity of a candidate to the list so far counts."""

    DPP = "dpp"
    """Greedy maximum a posteriori of a determinantal point process: to all of the list at once."""
    MMR = "mmr"
    """Maximal marginal relevance: to the most similar item of the list."""
    DISPERSION = "dispersion"
    """Max-sum dispersion: the sum over the list, which is what intra-list distance averages."""


_TERMS = {Method.DPP: VARIANCE, Method.MMR: NEAREST, Method.DISPERSION: SUM}


@dataclass(frozen=True)
class Diversity:
    """How much relevance is given up for difference.

    The defaults were chosen on an inner holdout of Last.fm 2K: on the first page, where a place is
    worth most, they cost 1.5 % of NDCG@10; from the third page on difference leads. Together they
    add a quarter to a third to the mean distance within a list of 50, by the vectors, and 4 to 10 %
    to that of the first page. The price is paid at the end of the list: a quarter of Recall@50.
    """

    method: Method = Method.DPP
    tradeoffs: tuple[float, ...] = (0.6, 0.8, 100.0)
    """Weight of the diversity term beside the logarithm of the relevance rank, by page of ten; the
    last one repeats."""
    own: float = 0.1
    """Share of an item's variance that no other item explains (a determinantal ridge)."""


MARGINAL = Diversity(Method.MMR, (1.5, 2.0, 12.0))
"""Maximal marginal relevance at about the same cost in NDCG@10."""
DISPERSED = Diversity(Method.DISPERSION, (0.25, 0.25, 0.6))
"""Max-sum dispersion at about the same cost in NDCG@10, with the largest distance on page one."""


@dataclass(frozen=True, eq=False)
class Cap:
    """At most `most` items of a list may share a label; `labels` int32 `(items,)`, -1 for none."""

    labels: IntArray
    most: int


@dataclass(frozen=True, eq=False)
class SelectedLists:
    """`positions` int64 `(users, k)` into the pool, best first, padded with -1.

    `shortfall` int32 `(users,)`: new items that the whole list should have held beyond those the
    pool could give. `relaxed` int32 `(users,)`: places that break a cap or repeat something,
    because the list would have been short (or without its new items) otherwise.
    """

    positions: LongArray
    shortfall: IntArray
    relaxed: IntArray


def select(
    scores: DoubleArray,
    pool: CandidatePool,
    is_new: BoolArray,
    *,
    k: int = 50,
    duplicate_group: IntArray | None = None,
    vectors: FloatArray | None = None,
    diversity: Diversity | None = None,
    caps: Sequence[Cap] = (),
    arrivals: LongArray | None = None,
) -> SelectedLists:
    """The k best of each user's pool with `quota(i)` new items at every prefix i.

    In addition each aligned block of ten holds floor(0.3 j) new items at its j-th place, so that
    pages cut at multiples of ten keep the quota too. Where the pool has no new item left, the next
    best follows. `scores` float64 and `is_new` bool `(nnz,)`; `duplicate_group` int32 `(items,)`,
    -1 for none: only the best candidate of a group is wanted. Ties go to the lower item; a
    candidate whose score is NaN is never selected.

    With `vectors` `(items, d)` from `project`, "best" weighs relevance against likeness to the list
    so far, as `diversity` says (None: its defaults); without, it is the score. `caps` in the order
    of their importance. `arrivals` int64 `(users, blocks)` are positions, -1 for none, that take
    the place of a new item in their block of ten.
    """
    users = pool.users
    chosen = Chosen(
        np.full((users, k), -1, np.int64), np.zeros(users, np.int32), np.zeros(users, np.int32)
    )
    if pool.items.size and k:
        scores = np.ascontiguousarray(scores, np.float64)
        rule = _rule(k, None if vectors is None else diversity or Diversity())
        offered = Offered(
            relevance=scores if vectors is None else log_rank(scores, pool.indptr),
            indptr=pool.indptr,
            items=pool.items,
            is_new=is_new,
            duplicate=_duplicates(scores, pool, duplicate_group),
            vectors=np.empty((0, 0), np.float32) if vectors is None else vectors,
            caps=cap_labels(caps),
            most=np.array([cap.most for cap in caps], np.int64),
            placed=np.empty((users, 0), np.int64) if arrivals is None else arrivals.copy(),
        )
        select_all(offered, rule, chosen)
    return SelectedLists(*chosen)


def _rule(k: int, diversity: Diversity | None) -> Rule:
    tradeoffs = np.zeros(k, np.float64)
    if diversity is not None:
        pages = np.array(diversity.tradeoffs, np.float64)
        tradeoffs[:] = pages[np.minimum(np.arange(k) // PAGE, pages.size - 1)]
    return Rule(
        tradeoffs=tradeoffs,
        diverse=bool((tradeoffs > 0).any()),
        term=_TERMS[Method.MMR if diversity is None else diversity.method],
        own=np.float32(0.0 if diversity is None else diversity.own),
        quotas=np.array([quota(length) for length in range(k + 1)], np.int64),
        new_per_ten=NEW_PER_TEN,
    )


def cap_labels(caps: Sequence[Cap]) -> IntArray:
    """The labels of several caps, int32 `(caps, items)`; without a cap `(0, 1)`."""
    if not caps:
        return np.empty((0, 1), np.int32)
    return np.stack([cap.labels.astype(np.int32, copy=False) for cap in caps])


def _duplicates(scores: DoubleArray, pool: CandidatePool, groups: IntArray | None) -> BoolArray:
    duplicate = np.zeros(pool.items.size, np.bool_)
    if groups is not None and groups.max(initial=-1) >= 0:
        mark_duplicates(
            scores, pool.indptr, pool.items, groups.astype(np.int32, copy=False), duplicate
        )
    return duplicate
