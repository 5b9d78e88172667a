"""A boosted tree ensemble as arrays: scores and attributions without the library that fitted it.

Training is in `learning`; ranking needs only these arrays, so no learner is imported at night.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from seda.recommender.arrays import DoubleArray, FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class TreeRanker:
    """Nodes of all trees, one array per property `(nodes,)`; leaves have `feature` -1.

    At a node the row goes to `left` where `input[feature] <= threshold`, else to `right`.
    `value` float64 is a leaf's output, and at an inner node the mean output of the training rows
    that passed it. `roots` int32 `(trees,)`.
    """

    feature: IntArray
    threshold: DoubleArray
    left: IntArray
    right: IntArray
    value: DoubleArray
    roots: IntArray


def tree_scores(ranker: TreeRanker, inputs: FloatArray) -> DoubleArray:
    """Sum of the trees' outputs, float64 `(rows,)`."""
    out = np.zeros(inputs.shape[0])
    _scores(
        ranker.feature, ranker.threshold, ranker.left, ranker.right, ranker.value, ranker.roots,
        np.ascontiguousarray(inputs, np.float32), out,
    )  # fmt: skip
    return out


def tree_contributions(ranker: TreeRanker, inputs: FloatArray) -> DoubleArray:
    """What each input moved the score by, float64 `(rows, inputs + 1)`; the last is the base.

    Each split on a row's path moves the expected output; the move belongs to the split's feature
    (Saabas 2014). A row sums to its score. Shapley values (TreeSHAP) also share a move among the
    features that interact; they cost some 200 times as much.
    """
    out = np.zeros((inputs.shape[0], inputs.shape[1] + 1))
    _contributions(
        ranker.feature, ranker.threshold, ranker.left, ranker.right, ranker.value, ranker.roots,
        np.ascontiguousarray(inputs, np.float32), out,
    )  # fmt: skip
    return out


BLOCK = 512
"""Rows that pass one tree together: trees stay in the cache."""


@njit(cache=True, nogil=True)
def _scores(
    feature: Any, threshold: Any, left: Any, right: Any, value: Any, roots: Any, inputs: Any,
    out: Any,
) -> None:  # fmt: skip
    for start in range(0, inputs.shape[0], BLOCK):
        for root in roots:
            for row in range(start, min(start + BLOCK, inputs.shape[0])):
                node = root
                while feature[node] >= 0:
                    low = inputs[row, feature[node]] <= threshold[node]
                    node = left[node] if low else right[node]
                out[row] += value[node]


@njit(cache=True, nogil=True)
def _contributions(
    feature: Any, threshold: Any, left: Any, right: Any, value: Any, roots: Any, inputs: Any,
    out: Any,
) -> None:  # fmt: skip
    for row in range(inputs.shape[0]):
        for root in roots:
            node = root
            out[row, -1] += value[root]
            while feature[node] >= 0:
                split = feature[node]
                low = inputs[row, split] <= threshold[node]
                chosen = left[node] if low else right[node]
                out[row, split] += value[chosen] - value[node]
                node = chosen
