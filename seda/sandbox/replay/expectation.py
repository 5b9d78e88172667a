"""Who must hear of what: from the friend graph alone, without asking the service or its SQL."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from seda.sandbox.replay.figures import Difference
from seda.sandbox.replay.schedule import Schedule


@dataclass(frozen=True, eq=False)
class Graph:
    """People as positions; `friends` and `blocks` int32 `(rows, 2)`: who, and whom; `hidden` bool.

    A row is one direction, as in the table. `hidden` are those who hide their presence.
    """

    friends: NDArray[np.int32]
    blocks: NDArray[np.int32]
    hidden: NDArray[np.bool_]


def hearing(graph: Graph, viewers: NDArray[np.int32]) -> sparse.csr_array:
    """`(viewers, people)` of 0 and 1: whose moves each viewer is told of.

    Friends both ways, no block either way, and somebody who does not hide.
    """
    people = len(graph.hidden)
    friends, blocks = _matrix(graph.friends, people), _matrix(graph.blocks, people)
    mutual = friends.multiply(friends.T)
    blocked = (blocks + blocks.T).astype(bool)
    heard = sparse.csr_array(mutual - mutual.multiply(blocked))
    visible = heard.multiply((~graph.hidden)[None, :])
    return sparse.csr_array(sparse.csr_array(visible)[viewers])


def expected_changes(heard: sparse.csr_array, schedule: Schedule, rooms: int) -> sparse.csr_array:
    """`(viewers, rooms)`: how many moves each viewer hears of, by room."""
    people = heard.shape[1]
    return sparse.csr_array(heard @ count_by_cell(schedule.actors, schedule.rooms, people, rooms))


def count_by_cell(
    rows: NDArray[np.int32],
    columns: NDArray[np.int32],
    height: int,
    width: int,
    counts: NDArray[np.int64] | None = None,
) -> sparse.csr_array:
    """`(height, width)`: how often each cell occurs, or the sum of its counts."""
    ones = np.ones(len(rows), np.int64) if counts is None else counts
    return sparse.csr_array((ones, (rows, columns)), shape=(height, width))


def compare(expected: sparse.csr_array, delivered: sparse.csr_array) -> Difference:
    """Cell by cell: what one viewer heard too often does not make up for another's loss."""
    over = sparse.csr_array(delivered - expected)
    return Difference(
        expected=int(expected.sum()),
        delivered=int(delivered.sum()),
        lost=int(-over.data[over.data < 0].sum()),
        duplicated=int(over.data[over.data > 0].sum()),
    )


def _matrix(pairs: NDArray[np.int32], people: int) -> sparse.csr_array:
    ones = np.ones(len(pairs), np.int64)
    return sparse.csr_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(people, people))
