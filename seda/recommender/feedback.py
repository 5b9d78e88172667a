"""Learning from what was shown: impressions with the inputs that ranked them, and their answers.

Two biases are in such data. Who stood higher was looked at more: trees learn the places' part
beside the inputs' (LightGBM's position bias), and judging divides it out. Who was ranked higher
was shown more: what exploration drew counts by its inverse propensity.
"""

from dataclasses import dataclass, fields

import numpy as np

from seda.recommender.arrays import BoolArray, DoubleArray, FloatArray, LongArray
from seda.recommender.learning import TrainingRows
from seda.recommender.signals.response import examination

NEWEST = 0.2
"""Share of the requests, the newest, on which rankers are judged and nothing is learned."""
MOST_WEIGHT = 20.0
"""Largest inverse propensity: one lucky draw must not outweigh everything else."""


@dataclass(frozen=True, eq=False)
class LoggedImpressions:
    """Impressions in the order of their requests; `n` rows.

    `inputs` float32 `(n, len(INPUTS))` as they ranked; `answered` bool; `positions` int64 from 1;
    `propensities` float64 in (0, 1]; `days` float64, later is larger; `requests` and `people`
    int64, equal for one request and for one person, whose rows lie together.
    """

    inputs: FloatArray
    answered: BoolArray
    positions: LongArray
    propensities: DoubleArray
    days: DoubleArray
    requests: LongArray
    people: LongArray

    def chosen(self, rows: BoolArray) -> "LoggedImpressions":
        """Some of the impressions."""
        return LoggedImpressions(*(getattr(self, each.name)[rows] for each in fields(self)))


def older_and_newer(
    logged: LoggedImpressions, share: float = NEWEST
) -> tuple[LoggedImpressions, LoggedImpressions]:
    """Split by time: the newest `share` of the requests, and all before; a request stays whole."""
    if not logged.requests.size:
        return logged, logged
    _, request, sizes = np.unique(logged.requests, return_inverse=True, return_counts=True)
    last = np.full(sizes.size, -np.inf)
    np.maximum.at(last, request, logged.days)
    newer = (last >= np.quantile(last, 1 - share, method="higher"))[request]
    return logged.chosen(~newer), logged.chosen(newer)


def logged_rows(logged: LoggedImpressions) -> TrainingRows:
    """Training rows, a request a group; requests without an answer or with nothing else teach
    nothing and are left out."""
    useful = _useful(logged)
    kept = logged.chosen(useful)
    sizes, starts = _groups(kept.requests)
    answers = np.add.reduceat(kept.answered.astype(np.int64), starts) if sizes.size else sizes
    return TrainingRows(
        inputs=kept.inputs,
        relevant=kept.answered,
        sizes=sizes,
        held=answers,
        positions=kept.positions,
        weights=_weights(kept),
    )


def gains_of_logged(scores: DoubleArray, logged: LoggedImpressions) -> DoubleArray:
    """Debiased NDCG of each person's requests in the order of `scores` `(n,)`: float64
    `(persons,)`, persons by their numbers, those with a useful request.

    An answer counts by how unlikely it was to be looked at there and to be shown at all (Joachims,
    Swaminathan and Schnabel 2017); a request is its share of the best order of the same rows.
    """
    useful = _useful(logged)
    kept, scores = logged.chosen(useful), scores[useful]
    sizes, starts = _groups(kept.requests)
    if not sizes.size:
        return np.zeros(0)
    looks = examination(
        kept.positions, np.ones(kept.positions.size), kept.answered.astype(np.float64)
    )
    seen = looks[np.minimum(kept.positions, looks.size) - 1]
    worth = np.where(kept.answered, np.minimum(_weights(kept) / seen, MOST_WEIGHT), 0.0)
    group = np.repeat(np.arange(sizes.size), sizes)

    def discounted(keys: DoubleArray) -> DoubleArray:
        order = np.lexsort((kept.positions, -keys, group))
        places = np.arange(group.size) - np.repeat(starts, sizes)
        return np.add.reduceat(worth[order] / np.log2(places + 2), starts)

    gains = discounted(scores) / discounted(worth)
    _, person = np.unique(kept.people[starts], return_inverse=True)
    return np.asarray(np.bincount(person, weights=gains) / np.bincount(person))


def _useful(logged: LoggedImpressions) -> BoolArray:
    _, request = np.unique(logged.requests, return_inverse=True)
    answers = np.bincount(request, weights=logged.answered)
    shown = np.bincount(request)
    return (
        np.asarray(((answers > 0) & (answers < shown))[request])
        if request.size
        else (np.zeros(0, np.bool_))
    )


def _groups(requests: LongArray) -> tuple[LongArray, LongArray]:
    """Sizes and starts of runs of equal numbers, int64 each."""
    starts = np.flatnonzero(np.r_[True, requests[1:] != requests[:-1]][: requests.size])
    return np.diff(np.r_[starts, requests.size]), starts


def _weights(logged: LoggedImpressions) -> DoubleArray:
    return np.minimum(1 / logged.propensities, MOST_WEIGHT)
