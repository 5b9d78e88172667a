"""All metrics of one set of lists: per user first, then means with intervals for any cohort."""

from dataclasses import dataclass, fields

import numpy as np

from seda.recommender.arrays import BoolArray, Csr, DoubleArray, FloatArray, IntArray, LongArray
from seda.recommender.evaluate.accuracy import (
    average_precision_at,
    hit_table,
    ndcg_at,
    recall_at,
)
from seda.recommender.evaluate.beyond_accuracy import (
    coverage_at,
    distance_at,
    gini_at,
    miscalibration_at,
    novelty_at,
)
from seda.recommender.evaluate.intervals import Estimate, bootstrap


@dataclass(frozen=True, eq=False)
class CatalogueFacts:
    """What metrics beside accuracy need; what is None leaves its metric undefined."""

    listeners: LongArray
    """int64 `(items,)`: people of the fit who played it."""
    people: int
    """Of the fit."""
    vectors: FloatArray | Csr | None = None
    """`(items, d)`, in which distance is measured."""
    item_genres: Csr | None = None
    """`(items, genres)`."""
    tastes: Csr | None = None
    """`(users, genres)`: the genres of what each evaluated user played."""


@dataclass(frozen=True, eq=False)
class PerUser:
    """Metrics float64 `(users,)`, NaN where undefined; `counted` bool `(users,)`: has a truth."""

    recall: DoubleArray
    """At 20."""
    ndcg: DoubleArray
    """At 10."""
    ndcg_100: DoubleArray
    average_precision: DoubleArray
    """At 10."""
    novelty: DoubleArray
    """At 10: MIUF in bits."""
    distance: DoubleArray
    """At 10: intra-list distance."""
    list_distance: DoubleArray
    """The same over the published 50."""
    miscalibration: DoubleArray
    """At 10: divergence of genres (less is better)."""
    counted: BoolArray


@dataclass(frozen=True)
class Evaluation:
    """What a set of lists achieved; `users` is the number with a held-out item."""

    recall: Estimate
    ndcg: Estimate
    ndcg_100: Estimate
    average_precision: Estimate
    novelty: Estimate
    distance: Estimate
    list_distance: Estimate
    miscalibration: Estimate
    coverage: float
    """At 10."""
    gini: float
    """At 10."""
    users: int


METRICS = tuple(entry.name for entry in fields(PerUser) if entry.name != "counted")


def evaluate(
    lists: IntArray,
    held_out: Csr,
    *,
    seed: int,
    resamples: int = 1000,
    cutoffs: tuple[int, int] = (20, 10),
    facts: CatalogueFacts | None = None,
) -> Evaluation:
    """All metrics of `lists` against `held_out`, means over the users with a held-out item.

    `lists` int32 `(users, k)`, best first, padded with -1; `held_out` CSR `(users, items)`, whose
    stored entries are the truth; `cutoffs` are those of recall and of NDCG. Every user with a
    held-out item counts; one without a list scores 0.
    """
    values = per_user(lists, held_out, cutoffs=cutoffs, facts=facts)
    return summarise(values, lists, held_out.shape[1], seed=seed, resamples=resamples)


def per_user(
    lists: IntArray,
    held_out: Csr,
    *,
    cutoffs: tuple[int, int] = (20, 10),
    facts: CatalogueFacts | None = None,
) -> PerUser:
    """The same, one value per user."""
    hits, truths = hit_table(lists, held_out), np.diff(held_out.indptr)
    undefined = np.full(lists.shape[0], np.nan)
    novelty = distance = list_distance = miscalibration = undefined
    if facts is not None:
        novelty = novelty_at(lists, facts.listeners, facts.people, 10)
        if facts.vectors is not None:
            distance = distance_at(lists, facts.vectors, 10)
            list_distance = distance_at(lists, facts.vectors, 50)
        if facts.item_genres is not None and facts.tastes is not None:
            miscalibration = miscalibration_at(lists, facts.item_genres, facts.tastes, 10)
    return PerUser(
        recall=recall_at(hits, truths, cutoffs[0]),
        ndcg=ndcg_at(hits, truths, cutoffs[1]),
        ndcg_100=ndcg_at(hits, truths, 100),
        average_precision=average_precision_at(hits, truths, 10),
        novelty=novelty,
        distance=distance,
        list_distance=list_distance,
        miscalibration=miscalibration,
        counted=truths > 0,
    )


def summarise(
    values: PerUser,
    lists: IntArray,
    items: int,
    *,
    seed: int,
    resamples: int = 1000,
    cohort: BoolArray | None = None,
) -> Evaluation:
    """Means with intervals over the counted users, or those of a `cohort` bool `(users,)`."""
    chosen = values.counted if cohort is None else values.counted & cohort
    means = {name: bootstrap(getattr(values, name)[chosen], seed, resamples) for name in METRICS}
    return Evaluation(
        **means,
        coverage=coverage_at(lists[chosen], items, 10),
        gini=gini_at(lists[chosen], items, 10),
        users=int(chosen.sum()),
    )
