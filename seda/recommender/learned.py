"""What one region's data teach about one entity type: hyper-parameters, weights, trees, a verdict.

Everything is decided on inner holdouts of the data that it is for, on a sample of people, and
stands until the data have drifted. The verdict compares the rankers on a fold none of them saw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from seda.recommender.arrays import Csr, DoubleArray, FloatArray
from seda.recommender.evaluate import bootstrap, per_user_holdout
from seda.recommender.feedback import (
    LoggedImpressions,
    gains_of_logged,
    logged_rows,
    older_and_newer,
)
from seda.recommender.fitting import SignalConfig
from seda.recommender.learning import (
    TrainingRows,
    TreeConfig,
    Without,
    cross_fitted_rows,
    fit_linear,
    fit_trees,
    ndcg_of_rows,
    pairs_without,
    thinned,
    together,
)
from seda.recommender.models.als import train_als
from seda.recommender.models.ease import train_ease
from seda.recommender.models.listening import Listening
from seda.recommender.ranking import LinearWeights, Ranker, raw_scores
from seda.recommender.trees import TreeRanker
from seda.recommender.tuning import DataSize, holdout_ndcg, search

DESIGN, TUNED, LAMBDARANK, FEEDBACK = "linear", "tuned", "lambdarank", "feedback"
"""Kinds of rankers, as the registry names them: from the simplest to the most able."""
ALS_SPACE: Mapping[str, Sequence[Any]] = {
    "factors": (16, 24, 32, 48),
    "alpha": (5.0, 10.0, 20.0),
    "regularization": (2.5, 5.0, 10.0),
    "side_weight": (0.2, 0.43, 0.8),
}
EASE_SPACE: Mapping[str, Sequence[Any]] = {
    "regularization": (40.0, 80.0, 150.0, 300.0),
    "tag_weight": (0.6, 1.3, 2.0),
    "friend_weight": (0.3, 0.7, 1.2),
}

FEWEST_PEOPLE = 500
"""In a sample, however large the catalogue."""


@dataclass(frozen=True)
class LearningPlan:
    """How much work goes into learning."""

    people: int = 3000
    """Most people in the sample, by whom everything is learned and judged."""
    pairs: int = 100_000_000
    """Most pairs of a person of the sample and an item: of a large catalogue, fewer people."""
    trials: int = 5
    """Configurations of each model that are tried."""
    folds: int = 4
    """Folds of interactions held out in turn; the last of them judges."""
    fewest_hits: int = 2000
    """Held-out interactions among the candidates below which nothing is learned."""
    fewest_answers: int = 500
    """Answered impressions below which nothing is learned from feedback."""
    tolerance: float = 0.1
    """Share by which a count may drift before everything is learned again."""
    rows_at_most: int = 2_000_000
    """Training rows of the trees and the blend; of more, irrelevant ones are drawn."""
    trees: TreeConfig = field(default_factory=TreeConfig)
    """The trees' hyper-parameters."""

    def people_for(self, items: int) -> int:
        """How many people to learn from where there are so many items."""
        return min(self.people, max(FEWEST_PEOPLE, self.pairs // max(items, 1)))


@dataclass(frozen=True, eq=False)
class LearnedRankers:
    """What was learned on data of one size; without enough of them, the defaults and no ranker."""

    size: DataSize
    config: SignalConfig
    tuned: LinearWeights | None
    trees: TreeRanker | None
    judged: Mapping[str, DoubleArray]
    """By kind, NDCG@10 of each person of the judging fold, in the same order."""
    feedback: TreeRanker | None = None
    """Trees that learned from what was shown too."""
    judged_live: Mapping[str, DoubleArray] = field(default_factory=dict)
    """By kind, debiased NDCG of each person in the newest impressions, in the same order."""

    @classmethod
    def nothing(cls) -> "LearnedRankers":
        """Before anything was learned; any data have drifted from it."""
        return cls(DataSize(0, 0, 0), SignalConfig(), None, None, {})

    def ranker(self, kind: str, design: LinearWeights) -> Ranker:
        """The ranker of a kind, or the next simpler one where it could not be learned."""
        if kind == FEEDBACK and self.feedback is not None:
            return self.feedback
        if kind in (FEEDBACK, LAMBDARANK) and self.trees is not None:
            return self.trees
        if kind in (FEEDBACK, LAMBDARANK, TUNED) and self.tuned is not None:
            return self.tuned
        return design


def learn(
    listening: Listening, *, plan: LearningPlan, seed: int, size: DataSize | None = None,
    without: Without | None = None, item_vectors: FloatArray | None = None,
    logged: LoggedImpressions | None = None,
) -> LearnedRankers:  # fmt: skip
    """Searches hyper-parameters, learns the rankers and judges them; deterministic in `seed`.

    `logged` is what was shown to the region's people: with enough answers a third ranker learns
    from it too, judged on the newest of it beside the others. `without` says what is left of
    `listening` without held-out pairs (None: only the plays go); `size` is that of the data that
    `listening` was sampled from.
    """
    users, items = listening.plays.shape
    size = size or DataSize(users, items, int(listening.plays.nnz))
    nothing = LearnedRankers(size, SignalConfig(), None, None, {})
    if listening.plays.nnz < plan.fewest_hits:
        return nothing
    rest = without or (lambda held: replace(listening, plays=pairs_without(listening.plays, held)))
    _, held = per_user_holdout(listening.plays, 0.2, seed)
    config = tuned_config(rest(held), held, trials=plan.trials, seed=seed)
    folds = cross_fitted_rows(
        listening, rest, config=config, folds=plan.folds, seed=seed, item_vectors=item_vectors
    )
    if sum(int(fold.relevant.sum()) for fold in folds) < plan.fewest_hits:
        return replace(nothing, config=config)
    judged = _judged(folds[-1], *_fitted(together(folds[:-1]), plan, seed))
    rows = together(folds)
    tuned, trees = _fitted(rows, plan, seed)
    found = LearnedRankers(size, config, tuned, trees, judged)
    if logged is None or int(logged.answered.sum()) < plan.fewest_answers:
        return found
    return _with_feedback(found, rows, logged, plan, seed)


def tuned_config(listening: Listening, held: Csr, *, trials: int, seed: int) -> SignalConfig:
    """The best ALS and EASE that the search finds by `held`, of which `listening` knows nothing."""
    config = SignalConfig()

    def als(values: Mapping[str, Any]) -> float:
        fitted = train_als(listening, config=replace(config.als, fits=1, **values), seed=seed)
        return holdout_ndcg(fitted, listening, held)

    def ease(values: Mapping[str, Any]) -> float:
        fitted = train_ease(listening, config=replace(config.ease, **values))
        return holdout_ndcg(fitted, listening, held)

    found = [
        search(space, score, trials=trials, seed=seed,
               start={name: getattr(model, name) for name in space})[0].values
        for space, score, model in (
            (ALS_SPACE, als, config.als), (EASE_SPACE, ease, config.ease))
    ]  # fmt: skip
    return replace(
        config, als=replace(config.als, **found[0]), ease=replace(config.ease, **found[1])
    )


def sampled(listening: Listening, people: int, seed: int) -> Listening:
    """At most this many people, drawn at random, and the friendships among them."""
    users = listening.plays.shape[0]
    if users <= people:
        return listening
    chosen = np.sort(np.random.default_rng(seed).choice(users, people, replace=False))
    some: Csr | None = None if listening.friends is None else listening.friends[chosen][:, chosen]
    return replace(
        listening,
        plays=listening.plays[chosen],
        friends=some,
        picks=None if listening.picks is None else listening.picks[chosen],
    )


def best_kind(
    judged: Sequence[Mapping[str, DoubleArray]],
    *,
    seed: int,
    judged_live: Sequence[Mapping[str, DoubleArray]] = (),
) -> str:
    """The ablest kind of ranker that evaluation tells from the simpler ones.

    A kind takes the place of the best so far when the 95 % interval of the paired difference lies
    above zero. `judged` are several types' `LearnedRankers.judged`, and `judged_live` theirs: what
    learned from feedback is compared on feedback.
    """
    best = _ablest(DESIGN, (TUNED, LAMBDARANK), judged, seed)
    return _ablest(best, (FEEDBACK,), judged_live, seed)


def _ablest(
    best: str, kinds: Sequence[str], judged: Sequence[Mapping[str, DoubleArray]], seed: int
) -> str:
    for kind in kinds:
        pairs = [(each[kind], each[best]) for each in judged if kind in each]
        if not pairs:
            continue
        difference = np.concatenate([ours - theirs for ours, theirs in pairs])
        if bootstrap(difference, seed).low > 0:
            best = kind
    return best


def _fitted(rows: TrainingRows, plan: LearningPlan, seed: int) -> tuple[LinearWeights, TreeRanker]:
    some = thinned(rows, plan.rows_at_most, seed)
    return fit_linear(some), fit_trees(some, config=plan.trees, seed=seed)


def _with_feedback(
    found: LearnedRankers, rows: TrainingRows, logged: LoggedImpressions, plan: LearningPlan,
    seed: int,
) -> LearnedRankers:  # fmt: skip
    """Judged on the newest impressions, which the judged trees have not seen; then fitted to all.

    Held-out interactions stay beside the impressions: those show only what was ranked high, and
    trees must also know what not to rank there.
    """
    rows = thinned(rows, plan.rows_at_most, seed)
    older, newest = older_and_newer(logged)
    past = fit_trees(together([rows, logged_rows(older)]), config=plan.trees, seed=seed)
    rankers = {DESIGN: LinearWeights(), TUNED: found.tuned, LAMBDARANK: found.trees, FEEDBACK: past}
    live = {
        kind: gains_of_logged(raw_scores(ranker, newest.inputs), newest)
        for kind, ranker in rankers.items()
        if ranker is not None
    }
    trees = fit_trees(together([rows, logged_rows(logged)]), config=plan.trees, seed=seed)
    return replace(found, feedback=trees, judged_live=live)


def _judged(rows: TrainingRows, tuned: LinearWeights, trees: TreeRanker) -> dict[str, DoubleArray]:
    rankers: dict[str, Ranker] = {DESIGN: LinearWeights(), TUNED: tuned, LAMBDARANK: trees}
    return {
        kind: ndcg_of_rows(raw_scores(ranker, rows.inputs), rows)
        for kind, ranker in rankers.items()
    }
