"""Who must hear of whom, against a count by hand of any graph."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from seda.sandbox.replay.expectation import (
    Graph,
    compare,
    count_by_cell,
    expected_changes,
    hearing,
)
from seda.sandbox.replay.figures import Difference
from seda.sandbox.replay.schedule import Plan, Scenario, make_schedule

PEOPLE = 8
pairs = st.sets(
    st.tuples(st.integers(0, PEOPLE - 1), st.integers(0, PEOPLE - 1)).filter(
        lambda pair: pair[0] != pair[1]
    )
)


def rows(pairs: set[tuple[int, int]]) -> np.ndarray:
    return np.array(sorted(pairs), np.int32).reshape(-1, 2)


@given(pairs, pairs, st.lists(st.booleans(), min_size=PEOPLE, max_size=PEOPLE), st.integers(0, 9))
@settings(max_examples=100, deadline=None)
def test_friends_both_ways_no_block_either_way_and_nobody_who_hides(
    friends: set[tuple[int, int]], blocks: set[tuple[int, int]], hidden: list[bool], seed: int
) -> None:
    viewers = np.array([5, 0, 3], np.int32)
    graph = Graph(rows(friends), rows(blocks), np.array(hidden))
    schedule = make_schedule(Plan(Scenario.STEADY, 20, 2, 20, seed), PEOPLE, 4)
    found = expected_changes(hearing(graph, viewers), schedule, 4).toarray()
    by_hand: Counter[tuple[int, int]] = Counter()
    for actor, room in zip(schedule.actors.tolist(), schedule.rooms.tolist(), strict=True):
        for place, viewer in enumerate(viewers.tolist()):
            ways = {(viewer, actor), (actor, viewer)}
            if ways <= friends and not ways & blocks and not hidden[actor]:
                by_hand[place, room] += 1
    assert {cell: found[cell] for cell in zip(*found.nonzero(), strict=True)} == by_hand


def test_losses_and_duplicates_do_not_make_up_for_each_other() -> None:
    rows, columns = np.array([0, 0, 1], np.int32), np.array([0, 1, 1], np.int32)
    expected = count_by_cell(rows, columns, 2, 2, np.array([4, 2, 1]))
    delivered = count_by_cell(rows, columns, 2, 2, np.array([3, 2, 3]))
    assert compare(expected, delivered) == Difference(7, 8, lost=1, duplicated=2)
    assert compare(expected, expected) == Difference(7, 7, lost=0, duplicated=0)


def test_what_was_not_meant_for_a_viewer_is_a_duplicate() -> None:
    empty = count_by_cell(np.zeros(0, np.int32), np.zeros(0, np.int32), 2, 2)
    stray = count_by_cell(np.array([1], np.int32), np.array([0], np.int32), 2, 2)
    assert compare(empty, stray) == Difference(0, 1, lost=0, duplicated=1)
