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
    child, depths = _stepping(ranker.feature, ranker.left, ranker.right, ranker.roots)
    order = np.argsort(child[0], kind="stable")
    _scores(
        (np.maximum(ranker.feature, 0) * BLOCK)[order].astype(np.uint32), _below(ranker)[order],
        child[1][order].astype(np.uint32), depths, ranker.value[order],
        child[0][ranker.roots].astype(np.uint32), np.asfortranarray(inputs, np.float32), out,
    )  # fmt: skip
    return out


def _below(ranker: TreeRanker) -> FloatArray:
    """Thresholds in single precision that part single-precision inputs in the same way; a leaf's
    is infinite."""
    single = ranker.threshold.astype(np.float32)
    above = single.astype(np.float64) > ranker.threshold
    single[above] = np.nextafter(single[above], np.float32(-np.inf))
    return np.where(ranker.feature >= 0, single, np.float32(np.inf)).astype(np.float32)


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
def _stepping(feature: Any, left: Any, right: Any, roots: Any) -> Any:
    """Nodes renumbered so that a right child follows its left sibling: `(2, nodes)` of the new
    number and of the first child's (a leaf's is its own); and each tree's depth."""
    numbers = np.empty((2, feature.shape[0]), np.int32)
    depths = np.zeros(roots.shape[0], np.int32)
    queue = np.empty(feature.shape[0], np.int32)
    levels = np.empty(feature.shape[0], np.int32)
    count = 0
    for tree in range(roots.shape[0]):
        head, tail = count, count + 1
        queue[head], levels[head] = roots[tree], 0
        while head < tail:
            node = queue[head]
            numbers[0, node] = numbers[1, node] = head
            depths[tree] = max(depths[tree], levels[head])
            if feature[node] >= 0:
                numbers[1, node] = tail
                queue[tail], queue[tail + 1] = left[node], right[node]
                levels[tail] = levels[tail + 1] = levels[head] + 1
                tail += 2
            head += 1
        count = tail
    return numbers, depths


@njit(cache=True, nogil=True)
def _scores(
    offset: Any, threshold: Any, child: Any, depths: Any, value: Any, roots: Any, inputs: Any,
    out: Any,
) -> None:  # fmt: skip
    """All rows of a block take a step at a time, without a branch: rows overlap in the pipeline."""
    nodes = np.empty(BLOCK, np.uint32)  # unsigned: no index is from the end
    columns = np.empty(inputs.shape[1] * BLOCK, np.float32)
    for start in range(0, inputs.shape[0], BLOCK):
        rows = min(BLOCK, inputs.shape[0] - start)
        for column in range(inputs.shape[1]):
            for row in range(rows):
                columns[column * BLOCK + row] = inputs[start + row, column]
        for tree in range(roots.shape[0]):
            nodes[:rows] = roots[tree]
            for _ in range(depths[tree]):
                for row in range(rows):
                    node = nodes[row]
                    beyond = columns[offset[node] + np.uint32(row)] > threshold[node]
                    nodes[row] = child[node] + np.uint32(beyond)
            for row in range(rows):
                out[start + row] += value[nodes[row]]


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
