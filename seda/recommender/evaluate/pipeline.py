"""Evaluates whatever fits and ranks: the split, the baselines beside it, cohorts, leaks.

The ranking function is an argument, so the same protocol measures today's pipeline, tomorrow's and
a single signal; what it gets is the fold alone, never what was held out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from seda.recommender.arrays import (
    BoolArray,
    Csr,
    DoubleArray,
    FloatArray,
    IntArray,
    LongArray,
    sparse_rows,
    stored_at,
)
from seda.recommender.evaluate.intervals import Estimate, paired_difference
from seda.recommender.evaluate.leaks import find_leaks
from seda.recommender.evaluate.measures import (
    CatalogueFacts,
    Evaluation,
    PerUser,
    per_user,
    summarise,
)
from seda.recommender.evaluate.splits import per_user_holdout, time_aware_holdout
from seda.recommender.seeding import hashed, uniform

PUBLISHED = "published"
POPULARITY = "popularity"
RANDOM = "random"
COLD_ITEMS = 5
"""Most items in the fit of a user who counts as cold."""


@dataclass(frozen=True, eq=False, kw_only=True)
class OfflineData:
    """What is split and measured, of one entity type and region; `U` users, `I` items."""

    plays: Csr
    """`(U, I)` counts."""
    user_keys: LongArray
    """int64 `(U,)`: stable ids, which decide each user's own split."""
    times: DoubleArray | None = None
    """float64 `(nnz,)` of the stored plays, larger is later; None: the split is per user."""
    blocked: Csr | None = None
    """`(U, I)`: stored entries may not be recommended and are no truth (own, suppressed)."""
    vectors: FloatArray | Csr | None = None
    """`(I, d)`, in which intra-list distance is measured."""
    item_genres: Csr | None = None
    """`(I, genres)`."""
    cohorts: Mapping[str, BoolArray] = field(default_factory=dict)
    """bool `(U,)` each, beside "cold" and "warm", which the split defines."""


@dataclass(frozen=True, eq=False)
class Fold:
    """What a ranking function may know: `train` CSR `(U, I)`, the users `rows` int64 that it must
    rank, and how many places."""

    train: Csr
    rows: LongArray
    k: int


@dataclass(frozen=True, eq=False)
class Produced:
    """What came back: lists int32 `(rows, k)` by name, padded with -1; `PUBLISHED` must be there.

    `fitted` and `side_pairs` CSR `(U, I)` are the interactions, and the pairs behind side
    information, that the fit read, for the leak test.
    """

    lists: Mapping[str, IntArray]
    fitted: Csr
    side_pairs: Csr | None = None


@dataclass(frozen=True)
class MethodResult:
    """One method, over all users and per cohort."""

    name: str
    overall: Evaluation
    cohorts: Mapping[str, Evaluation]


@dataclass(frozen=True)
class Difference:
    """The published lists minus another method's, paired by user."""

    against: str
    ndcg: Estimate
    recall: Estimate
    list_distance: Estimate


@dataclass(frozen=True)
class EvaluationReport:
    """Everything a reader of an evaluation needs; methods best first, after the published one."""

    split: str
    """"time" or "user"."""
    users: int
    """Evaluated."""
    people: int
    """In the fit."""
    items: int
    held_out: int
    methods: tuple[MethodResult, ...]
    differences: tuple[Difference, ...]
    leaks: tuple[str, ...]

    def method(self, name: str) -> MethodResult:
        """KeyError for a method that was not evaluated."""
        return {result.name: result for result in self.methods}[name]


def evaluate_pipeline(
    data: OfflineData,
    fit_and_rank: Callable[[Fold], Produced],
    *,
    seed: int,
    fraction: float = 0.2,
    k: int = 100,
    most_users: int = 2000,
    resamples: int = 1000,
) -> EvaluationReport:
    """Hides a part of the plays, has the rest fitted and ranked, and measures all that came back.

    Deterministic in `seed`. At most `most_users` of the users with something hidden are ranked,
    drawn by their keys. Popularity and random are always beside.
    """
    train, held_out = _split(data, fraction, seed)
    rows = _sampled(held_out, data.user_keys, most_users, seed)
    fold = Fold(train, rows, k)
    produced = fit_and_rank(fold)
    truth = held_out[rows]
    facts = CatalogueFacts(
        listeners=np.bincount(train.indices, minlength=train.shape[1]),
        people=train.shape[0],
        vectors=data.vectors,
        item_genres=data.item_genres,
        tastes=None if data.item_genres is None else (train[rows] @ data.item_genres).tocsr(),
    )
    lists = dict(produced.lists) | _baselines(fold, data, seed)
    values = {name: per_user(each, truth, facts=facts) for name, each in lists.items()}
    cohorts = _cohorts(data, train, rows)
    methods = [
        _result(name, values[name], lists[name], cohorts, train.shape[1], seed, resamples)
        for name in lists
    ]
    methods.sort(key=lambda each: (each.name != PUBLISHED, -each.overall.ndcg.value, each.name))
    published = methods[0].overall
    return EvaluationReport(
        split="user" if data.times is None else "time",
        users=int(published.users),
        people=train.shape[0],
        items=train.shape[1],
        held_out=int(truth.nnz),
        methods=tuple(methods),
        differences=tuple(
            _difference(other.name, values, seed, resamples) for other in methods[1:]
        ),
        leaks=find_leaks(
            train, held_out, fitted=produced.fitted, side_pairs=produced.side_pairs,
            lists=lists[PUBLISHED], rows=rows, ndcg=published.ndcg.value,
        ),
    )  # fmt: skip


def _split(data: OfflineData, fraction: float, seed: int) -> tuple[Csr, Csr]:
    if data.times is None:
        train, held_out = per_user_holdout(data.plays, fraction, seed, data.user_keys)
    else:
        train, held_out = time_aware_holdout(data.plays, data.times, fraction)
    if data.blocked is None or not held_out.nnz:
        return train, held_out
    pairs = sparse_rows(held_out)
    kept = ~stored_at(sparse_rows(data.blocked), pairs.indptr, pairs.indices)
    owners = np.repeat(np.arange(held_out.shape[0]), np.diff(pairs.indptr))
    entries = (pairs.data[kept], (owners[kept], pairs.indices[kept]))
    return train, type(held_out)(entries, shape=held_out.shape)


def _sampled(held_out: Csr, keys: LongArray, most: int, seed: int) -> LongArray:
    able = np.flatnonzero(np.diff(held_out.indptr))
    draws = hashed(keys[able], np.zeros(able.size, np.int64), seed + 1)
    return np.sort(able[np.argsort(draws, kind="stable")[:most]])


def _baselines(fold: Fold, data: OfflineData, seed: int) -> dict[str, IntArray]:
    items = np.arange(fold.train.shape[1])
    # A share of one listener tells equals apart: the lower item goes first.
    listeners = np.bincount(fold.train.indices, minlength=items.size) - items / (items.size + 1.0)

    # Not the split's own seed: the same draws would put the hidden items last.
    def drawn(user: int) -> DoubleArray:
        return uniform(np.full(items.size, data.user_keys[user]), items, seed + 2)

    return {
        POPULARITY: _best(fold, data, lambda user: listeners),
        RANDOM: _best(fold, data, drawn),
    }


def _best(fold: Fold, data: OfflineData, scores_of: Callable[[int], DoubleArray]) -> IntArray:
    """The k unknown items of each user with the highest scores, no two of which are equal."""
    lists = np.full((fold.rows.size, fold.k), -1, np.int32)
    for place, user in enumerate(fold.rows):
        scores = np.array(scores_of(int(user)))
        for kept_out in (fold.train, data.blocked):
            if kept_out is not None:
                first, last = kept_out.indptr[user : user + 2]
                scores[kept_out.indices[first:last]] = -np.inf
        best = np.argpartition(-scores, min(fold.k, scores.size) - 1)[: fold.k]
        best = best[np.isfinite(scores[best])]
        best = best[np.argsort(-scores[best])]
        lists[place, : best.size] = best
    return lists


def _cohorts(data: OfflineData, train: Csr, rows: LongArray) -> dict[str, BoolArray]:
    cold = np.diff(train.indptr)[rows] <= COLD_ITEMS
    given = {name: members[rows] for name, members in data.cohorts.items()}
    return {"cold": cold, "warm": ~cold} | given


def _result(
    name: str, values: PerUser, lists: IntArray, cohorts: Mapping[str, BoolArray], items: int,
    seed: int, resamples: int,
) -> MethodResult:  # fmt: skip
    def measured(cohort: BoolArray | None) -> Evaluation:
        return summarise(values, lists, items, seed=seed, resamples=resamples, cohort=cohort)

    return MethodResult(
        name, measured(None), {each: measured(members) for each, members in cohorts.items()}
    )


def _difference(
    against: str, values: Mapping[str, PerUser], seed: int, resamples: int
) -> Difference:
    mine, theirs = values[PUBLISHED], values[against]
    counted = mine.counted

    def paired(name: str) -> Estimate:
        left, right = getattr(mine, name)[counted], getattr(theirs, name)[counted]
        return paired_difference(left, right, seed, resamples)

    return Difference(against, paired("ndcg"), paired("recall"), paired("list_distance"))
