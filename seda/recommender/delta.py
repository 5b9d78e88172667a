"""The delta re-rank: published lists as they stand after friends came and went.

What a list's ranker read is stored with it, so only the presence signal is made anew; the
score comes from the code that the night uses. A list keeps its items: what changes is where
they stand.
"""

from dataclasses import dataclass

import numpy as np

from seda.recommender.arrays import BoolArray, DoubleArray, FloatArray, IntArray, LongArray
from seda.recommender.candidates import CandidatePool
from seda.recommender.diversity import select
from seda.recommender.ranking import Ranker, raw_scores, score_of
from seda.recommender.signals.calibration import calibrate
from seda.recommender.terms import INPUTS

PRESENCE = INPUTS.index("presence")


@dataclass(frozen=True, eq=False)
class PublishedLists:
    """Lists of one type as they were published: user u has places `indptr[u]:indptr[u + 1]`.

    `inputs` float32 `(n, len(INPUTS))` is what the ranker read; `is_new` bool `(n,)`; `pool_sizes`
    `(users,)` the candidates over which signals were calibrated.
    """

    indptr: LongArray
    inputs: FloatArray
    is_new: BoolArray
    pool_sizes: IntArray

    @property
    def owners(self) -> LongArray:
        """The user of every place, int64 `(n,)`."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))


@dataclass(frozen=True, eq=False)
class PresenceNow:
    """Friends who show themselves and are there: `listed` float32 `(n,)` in [0, 1) at every place
    (`signals.social.saturated_presence`); `elsewhere` `(m,)` in candidates that made no place,
    those of user u at `elsewhere_indptr[u]:elsewhere_indptr[u + 1]`."""

    listed: FloatArray
    elsewhere: FloatArray
    elsewhere_indptr: LongArray


@dataclass(frozen=True, eq=False)
class Reranked:
    """`ranks` int16 `(n,)` from 1, where each published place stands now; `scores` float64 `(n,)`;
    `signals` float32 `(n,)`, the calibrated presence; `lifts` from `lifts_by_presence`."""

    ranks: np.ndarray
    scores: DoubleArray
    signals: FloatArray
    lifts: FloatArray


def rescored(ranker: Ranker, inputs: FloatArray) -> DoubleArray:
    """Scores of stored inputs, float64 `(n,)`: those that were published, by the same ranker."""
    return score_of(raw_scores(ranker, inputs)[:, None])


def rerank(lists: PublishedLists, presence: PresenceNow, ranker: Ranker) -> Reranked:
    """Every list with the friends who are there now, and nothing else changed.

    An item moves by as many places as its place among the list's scores changed: what was arranged
    for difference stays arranged, and a presence that is as it was moves nothing. The novelty quota
    holds at every prefix as `diversity.select` promises it; caps and duplicates count over a whole
    list, whose items stay the same.
    """
    inputs = lists.inputs.copy()
    inputs[:, PRESENCE] = _calibrated(lists, presence)
    scores, signals = rescored(ranker, inputs), inputs[:, PRESENCE].copy()
    before = _places(rescored(ranker, lists.inputs), lists.indptr)
    places = np.arange(len(inputs)) - lists.indptr[lists.owners]
    wanted = places - (before - _places(scores, lists.indptr))
    inputs[:, PRESENCE] = 0
    lifts = lifts_by_presence(scores, rescored(ranker, inputs), presence.listed, lists.indptr)
    return Reranked(_ranks(wanted, places, lists), scores, signals, lifts)


def lifts_by_presence(
    scores: DoubleArray, without: DoubleArray, presence: FloatArray, indptr: LongArray
) -> FloatArray:
    """By how many places of its list each item stands higher for the friends in it, float32 `(n,)`.

    `scores` and, `without` the presence signal, the same `(n,)`; `presence` `(n,)` is above zero
    where friends are, and only there anything is lifted.
    """
    lifts = _places(without, indptr) - _places(scores, indptr)
    return np.where(presence > 0, np.maximum(lifts, 0), 0).astype(np.float32)


def _calibrated(lists: PublishedLists, presence: PresenceNow) -> FloatArray:
    """The presence signal over each user's candidates, as when all of them were ranked: what is not
    listed and has nobody in it is zero, and counts."""
    listed, elsewhere = np.diff(lists.indptr), np.diff(presence.elsewhere_indptr)
    sizes = np.maximum(lists.pool_sizes, listed + elsewhere)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    raw = np.zeros(starts[-1], np.float32)
    places = np.arange(listed.sum()) + np.repeat(starts[:-1] - lists.indptr[:-1], listed)
    raw[places] = presence.listed
    firsts = starts[:-1] + listed - presence.elsewhere_indptr[:-1]
    raw[np.arange(elsewhere.sum()) + np.repeat(firsts, elsewhere)] = presence.elsewhere
    return calibrate(raw, starts)[places]


def _places(scores: DoubleArray, indptr: LongArray) -> LongArray:
    """Each item's place by score within its list, from 0; equal scores stand as published."""
    owners = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    places = np.empty(len(scores), np.int64)
    places[np.lexsort((-scores, owners))] = np.arange(len(scores)) - indptr[owners]
    return places


def _ranks(wanted: LongArray, places: LongArray, lists: PublishedLists) -> np.ndarray:
    """The nearest order to the wanted places in which the novelty quota holds."""
    longest = int(np.diff(lists.indptr).max(initial=0))
    pool = CandidatePool(lists.indptr, places.astype(np.int32), np.zeros(len(places), np.uint8))
    chosen = select(-wanted.astype(np.float64), pool, lists.is_new, k=longest).positions
    ranks = np.zeros(len(wanted), np.int16)
    users, at = np.nonzero(chosen >= 0)
    ranks[chosen[users, at]] = at + 1
    return ranks
