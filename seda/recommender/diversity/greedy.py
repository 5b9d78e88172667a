"""The selection kernel: greedy, exact, and the same loop for each diversity term.

The gain of a candidate is its relevance plus the trade-off times a diversity term: log of the
residual variance for a determinantal point process (Chen, Zhang and Zhou 2018: "Fast greedy MAP
inference"), minus the largest similarity to the list for maximal marginal relevance (Carbonell and
Goldstein 1998), minus the sum of similarities for max-sum dispersion (Borodin, Lee and Ye 2012).
Each page of ten is then put in order of relevance, as far as the quota permits: a set's diversity
does not depend on its order.

Chen's Cholesky row c is kept in the primal: c_j = <v_j, e_i> with the orthonormal e_i, the same
number at a cost that does not grow with the list. All compiled code that other compiled code calls
stays in this file: numba's cache does not notice a change in another.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

LEAST_VARIANCE = np.float32(1e-6)
VARIANCE, NEAREST, SUM = 0, 1, 2
"""Diversity terms: of the determinantal process, of marginal relevance, of dispersion."""
PAGE = 10


class Offered(NamedTuple):
    """The pool as arrays: see `selection.select`."""

    relevance: Any
    indptr: Any
    items: Any
    is_new: Any
    duplicate: Any
    vectors: Any
    caps: Any
    most: Any
    placed: Any


class Rule(NamedTuple):
    """`tradeoffs` (k,), any of them above zero if `diverse`; `term` is one of the three above;
    `own` is the share of variance that an item shares with no other; quotas (k + 1,)."""

    tradeoffs: Any
    diverse: bool
    term: int
    own: Any
    quotas: Any
    new_per_ten: int


class Chosen(NamedTuple):
    """Outputs, one row per user."""

    positions: Any
    shortfall: Any
    relaxed: Any


class _Work(NamedTuple):
    """Scratch of one user; its candidates are numbered new ones first, each part by item."""

    position: Any
    quality: Any
    spread: Any
    level: Any
    gain: Any
    products: Any
    columns: Any
    basis: Any
    counts: Any


_TAKEN = np.int64(1 << 30)


@njit(cache=True, nogil=True)
def select_all(offered: Any, rule: Any, chosen: Any) -> None:
    """Fills `chosen` for every user."""
    users, k = chosen.positions.shape
    widest = 0 if users == 0 else np.diff(offered.indptr).max()
    labels = 0
    for cap in range(offered.caps.shape[0]):
        labels = max(labels, offered.caps[cap].max() + 1)
    dimensions = offered.vectors.shape[1]
    work = _Work(
        np.empty(widest, np.int64), np.empty(widest, np.float64), np.empty(widest, np.float32),
        np.empty(widest, np.int64), np.empty(widest, np.float64),
        np.empty((k, widest), np.float32),
        np.zeros((-(-dimensions // 4) * 4, widest), np.float32),
        np.zeros((k, -(-dimensions // 4) * 4), np.float32),
        np.zeros((offered.caps.shape[0], labels), np.int64),
    )  # fmt: skip
    for user in range(users):
        _select_one(user, offered, rule, work, chosen)


@njit(cache=True, nogil=True)
def _select_one(user: int, offered: Any, rule: Any, work: Any, chosen: Any) -> None:
    fresh, count = _fill(user, offered, rule, work)
    places = min(chosen.positions.shape[1], count)
    chosen_new = block_new = 0
    for place in range(places):
        if place % PAGE == 0:
            block_new = 0
        if place == 0 or rule.tradeoffs[place] != rule.tradeoffs[place - 1]:
            _weigh(count, rule.tradeoffs[place], offered, rule, work)
        _refresh(count, rule.tradeoffs[place], rule, work)
        new, other = _best(0, fresh, work), _best(fresh, count, work)
        owed = (
            chosen_new < rule.quotas[place + 1]
            or block_new < rule.new_per_ten * (place % PAGE + 1) // PAGE
        )
        if _takes_new(owed, new, other, offered, work):
            best = _arrival(user, place, new, fresh, offered, work)
            chosen_new += 1
            block_new += 1
        else:
            best = other
        chosen.relaxed[user] += work.level[best] > 0
        chosen.positions[user, place] = work.position[best]
        _take(best, place, count, offered, rule, work)
    chosen.shortfall[user] = max(0, rule.quotas[places] - chosen_new)
    _forget(chosen.positions[user], offered, work)
    if rule.diverse:
        _order_pages(chosen.positions[user, :places], offered, rule)


@njit(cache=True, nogil=True)
def _fill(user: int, offered: Any, rule: Any, work: Any) -> Any:
    """Numbers the candidates and lays their vectors out by dimension; returns how many are new,
    and how many there are."""
    start, stop = offered.indptr[user], offered.indptr[user + 1]
    count = fresh = 0
    for part in range(2):
        for position in range(start, stop):
            if offered.is_new[position] == (part == 0) and not np.isnan(
                offered.relevance[position]
            ):
                work.position[count] = position
                work.spread[count] = 0.0
                work.level[count] = _level(position, offered, work)
                count += 1
        if part == 0:
            fresh = count
    if rule.diverse:
        _lay_out(count, offered, work)
    return fresh, count


@njit(cache=True, nogil=True)
def _lay_out(count: int, offered: Any, work: Any) -> None:
    """The candidates' vectors by dimension, eight candidates at a time: a line of the cache is
    written once."""
    items, vectors, columns = offered.items, offered.vectors, work.columns
    for first in range(0, count, 8):
        last = min(first + 8, count)
        for dimension in range(vectors.shape[1]):
            for candidate in range(first, last):
                columns[dimension, candidate] = vectors[items[work.position[candidate]], dimension]


@njit(cache=True, nogil=True)
def _level(position: int, offered: Any, work: Any) -> int:
    """Which promise taking it now would break: 0 none, 1.. a cap (the first cap is kept longest),
    one more than the number of caps: that nothing is listed twice."""
    caps = offered.caps.shape[0]
    if offered.duplicate[position]:
        return caps + 1
    item = offered.items[position]
    for cap in range(caps):
        label = offered.caps[cap, item]
        if label >= 0 and work.counts[cap, label] >= offered.most[cap]:
            return caps - cap
    return 0


@njit(cache=True, nogil=True)
def _weigh(count: int, tradeoff: float, offered: Any, rule: Any, work: Any) -> None:
    """A candidate's quality on this page: relevance, or for the determinantal term the factor that
    makes quality times variance rise with relevance + tradeoff * log(variance)."""
    for candidate in range(count):
        relevance = offered.relevance[work.position[candidate]]
        if rule.term == VARIANCE and tradeoff > 0:
            work.quality[candidate] = np.exp(relevance / tradeoff)
        else:
            work.quality[candidate] = relevance


@njit(cache=True, nogil=True)
def _refresh(count: int, tradeoff: float, rule: Any, work: Any) -> None:
    """Every candidate's gain beside the list so far."""
    quality, spread, gain = work.quality, work.spread, work.gain
    if not tradeoff > 0:
        for candidate in range(count):
            gain[candidate] = quality[candidate]
    elif rule.term == VARIANCE:
        shared = np.float32(1) - rule.own
        for candidate in range(count):
            variance = np.float32(1) - shared * spread[candidate]
            gain[candidate] = quality[candidate] * max(variance, LEAST_VARIANCE)
    else:
        for candidate in range(count):
            gain[candidate] = quality[candidate] - tradeoff * spread[candidate]


@njit(cache=True, nogil=True)
def _best(first: int, last: int, work: Any) -> int:
    """The candidate of the lowest level with the highest gain (ties: lower item), -1 for none."""
    best, lowest, highest = -1, _TAKEN - 1, -np.inf
    for candidate in range(first, last):
        level = work.level[candidate]
        if level < lowest or (level == lowest and work.gain[candidate] > highest):
            best, lowest, highest = candidate, level, work.gain[candidate]
    return best


@njit(cache=True, nogil=True)
def _takes_new(owed: bool, new: int, other: int, offered: Any, work: Any) -> bool:
    if new < 0 or other < 0:
        return new >= 0
    # The quota outranks every cap, but the same thing twice would be new in name only.
    repeated = offered.caps.shape[0] + 1
    if owed and (work.level[new] < repeated or work.level[other] >= repeated):
        return True
    if work.level[new] != work.level[other]:
        return work.level[new] < work.level[other]
    left, right = work.gain[new], work.gain[other]
    return left > right or (left == right and work.position[new] < work.position[other])


@njit(cache=True, nogil=True)
def _arrival(user: int, place: int, best: int, fresh: int, offered: Any, work: Any) -> int:
    """The newly arrived item that this block of ten is promised, if it may be taken now."""
    block = place // PAGE
    if block >= offered.placed.shape[1] or offered.placed[user, block] < 0:
        return best
    for candidate in range(fresh):
        if work.position[candidate] == offered.placed[user, block]:
            if work.level[candidate] > 0:
                return best
            offered.placed[user, block] = -1
            return candidate
    return best


@njit(cache=True, nogil=True)
def _take(candidate: int, place: int, count: int, offered: Any, rule: Any, work: Any) -> None:
    """Counts the item towards the caps, and its direction towards the others' spread."""
    work.level[candidate] = _TAKEN
    item = offered.items[work.position[candidate]]
    for cap in range(offered.caps.shape[0]):
        label = offered.caps[cap, item]
        if label >= 0:
            work.counts[cap, label] += 1
            if work.counts[cap, label] == offered.most[cap]:
                _raise_levels(cap, label, count, offered, work)
    if not rule.diverse:
        return
    direction = work.basis[place]
    direction[: offered.vectors.shape[1]] = offered.vectors[item]
    if rule.term == VARIANCE:
        _orthogonalise(direction, candidate, place, rule, work)
    products, spread = work.products[place], work.spread
    _multiply(work.columns, direction, count, products)
    if rule.term == VARIANCE:
        for other in range(count):
            spread[other] += products[other] * products[other]
    elif rule.term == SUM:
        for other in range(count):
            spread[other] += max(products[other], np.float32(0))
    else:
        for other in range(count):
            spread[other] = max(spread[other], products[other])


@njit(cache=True, nogil=True)
def _raise_levels(cap: int, label: int, count: int, offered: Any, work: Any) -> None:
    reached = offered.caps.shape[0] - cap
    for candidate in range(count):
        if offered.caps[cap, offered.items[work.position[candidate]]] == label:
            work.level[candidate] = max(work.level[candidate], reached)


@njit(cache=True, nogil=True)
def _orthogonalise(direction: Any, candidate: int, place: int, rule: Any, work: Any) -> None:
    shared = np.float32(1) - rule.own
    for step in range(place):
        product = work.products[step, candidate]
        for dimension in range(direction.shape[0]):
            direction[dimension] -= product * work.basis[step, dimension]
    variance = np.float32(1) - shared * work.spread[candidate]
    direction *= np.sqrt(shared / max(variance, LEAST_VARIANCE))


@njit(cache=True, nogil=True)
def _multiply(columns: Any, direction: Any, count: int, products: Any) -> None:
    """Products of all candidates with a direction; by dimension, so that candidates fill the
    vector registers."""
    products[:count] = 0.0
    for first in range(0, direction.shape[0], 4):
        a, b = columns[first], columns[first + 1]
        c, d = columns[first + 2], columns[first + 3]
        p, q = direction[first], direction[first + 1]
        r, s = direction[first + 2], direction[first + 3]
        for candidate in range(count):
            products[candidate] += (a[candidate] * p + b[candidate] * q) + (
                c[candidate] * r + d[candidate] * s
            )


@njit(cache=True, nogil=True)
def _forget(positions: Any, offered: Any, work: Any) -> None:
    for position in positions:
        if position < 0:
            break
        for cap in range(offered.caps.shape[0]):
            label = offered.caps[cap, offered.items[position]]
            if label >= 0:
                work.counts[cap, label] = 0


@njit(cache=True, nogil=True)
def _order_pages(positions: Any, offered: Any, rule: Any) -> None:
    """Sorts each page by relevance; a new item is moved up only where the quota needs it."""
    chosen_new = 0
    for start in range(0, positions.shape[0], PAGE):
        page = positions[start : start + PAGE].copy()
        page.sort()
        page = page[np.argsort(-offered.relevance[page], kind="mergesort")]
        waiting = np.ones(page.shape[0], np.bool_)
        block_new = 0
        for place in range(page.shape[0]):
            owed = (
                chosen_new < rule.quotas[start + place + 1]
                or block_new < rule.new_per_ten * (place + 1) // PAGE
            )
            best = -1
            for rank in range(page.shape[0] - 1, -1, -1):
                new = best >= 0 and offered.is_new[page[best]]
                if waiting[rank] and (not owed or not new or offered.is_new[page[rank]]):
                    best = rank
            waiting[best] = False
            positions[start + place] = page[best]
            chosen_new += offered.is_new[page[best]]
            block_new += offered.is_new[page[best]]


@njit(cache=True, nogil=True)
def mark_duplicates(relevance: Any, indptr: Any, items: Any, groups: Any, duplicate: Any) -> None:
    """Marks all but the most relevant of each group within a user (ties: lower item)."""
    best = np.full(groups.max() + 1, -1, np.int64)
    for user in range(indptr.shape[0] - 1):
        start = indptr[user]
        for position in range(start, indptr[user + 1]):
            group = groups[items[position]]
            if group < 0 or np.isnan(relevance[position]):
                continue
            # A leader before `start` was left by an earlier user.
            leader = best[group]
            if leader < start or relevance[position] > relevance[leader]:
                if leader >= start:
                    duplicate[leader] = True
                best[group] = position
            else:
                duplicate[position] = True
