"""Offline evaluation: splits, metrics with intervals, baselines, leaks, plots and a report.

Rankings are full, never of sampled items. What is evaluated is a function that fits and ranks,
given as an argument; nothing here knows a model.
"""

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
from seda.recommender.evaluate.intervals import Estimate, bootstrap, paired_difference
from seda.recommender.evaluate.leaks import find_leaks
from seda.recommender.evaluate.measures import (
    CatalogueFacts,
    Evaluation,
    PerUser,
    evaluate,
    per_user,
    summarise,
)
from seda.recommender.evaluate.pipeline import (
    PUBLISHED,
    EvaluationReport,
    Fold,
    MethodResult,
    OfflineData,
    Produced,
    evaluate_pipeline,
)
from seda.recommender.evaluate.splits import per_user_holdout, time_aware_holdout

__all__ = [
    "PUBLISHED",
    "CatalogueFacts",
    "Estimate",
    "Evaluation",
    "EvaluationReport",
    "Fold",
    "MethodResult",
    "OfflineData",
    "PerUser",
    "Produced",
    "average_precision_at",
    "bootstrap",
    "coverage_at",
    "distance_at",
    "evaluate",
    "evaluate_pipeline",
    "find_leaks",
    "gini_at",
    "hit_table",
    "miscalibration_at",
    "ndcg_at",
    "novelty_at",
    "paired_difference",
    "per_user",
    "per_user_holdout",
    "recall_at",
    "summarise",
    "time_aware_holdout",
]
