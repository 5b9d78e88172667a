"""What a seed makes of a plan: who moves where and when."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seda.sandbox.replay.schedule import Plan, Scenario, Schedule, make_schedule, one_room_each

plans = st.builds(
    Plan,
    scenario=st.sampled_from(Scenario),
    rate=st.floats(1, 400),
    seconds=st.floats(0.1, 7),
    burst=st.floats(1, 900),
    seed=st.integers(0, 2**32),
)


def walk(schedule: Schedule) -> dict[int, list[tuple[int, bool]]]:
    """Each person's moves."""
    moves: dict[int, list[tuple[int, bool]]] = {}
    for actor, room, joins in zip(
        schedule.actors.tolist(), schedule.rooms.tolist(), schedule.joins.tolist(), strict=True
    ):
        moves.setdefault(actor, []).append((room, joins))
    return moves


@given(plans, st.integers(2, 300), st.integers(2, 40))
@settings(max_examples=60, deadline=None)
def test_everybody_comes_and_goes_room_by_room(plan: Plan, people: int, rooms: int) -> None:
    schedule = make_schedule(plan, people, rooms)
    assert (np.diff(schedule.at) >= 0).all()
    assert (schedule.at[: schedule.closing] <= plan.seconds).all()
    assert not schedule.joins[schedule.closing :].any()
    assert not schedule.repeated[schedule.closing :].any()
    for moves in walk(schedule).values():
        assert [joins for _, joins in moves] == [True, False] * (len(moves) // 2)
        visits = [room for room, joins in moves if joins]
        assert visits == [room for room, joins in moves if not joins]
        assert all(one != other for one, other in pairwise(visits))
        assert all(0 <= room < rooms for room in visits)


def test_a_seed_says_everything() -> None:
    plan = Plan(Scenario.STEADY, 200, 3, 2000, seed=7)
    one, same = make_schedule(plan, 90, 20), make_schedule(plan, 90, 20)
    other = make_schedule(Plan(Scenario.STEADY, 200, 3, 2000, seed=8), 90, 20)
    for name in ("at", "actors", "rooms", "joins", "repeated"):
        assert np.array_equal(getattr(one, name), getattr(same, name))
    assert not np.array_equal(one.actors, other.actors)


def test_the_rate_is_kept_and_a_burst_fills_one_second_of_five() -> None:
    steady = make_schedule(Plan(Scenario.STEADY, 100, 10, 1000, 7), 300, 20)
    burst = make_schedule(Plan(Scenario.BURST, 100, 10, 1000, 7), 300, 20)

    def by_second(schedule: Schedule) -> list[int]:
        counted = Counter(np.floor(schedule.at[: schedule.closing]).astype(int).tolist())
        return [counted[second] for second in range(10)]

    assert by_second(steady) == [100] * 10
    assert by_second(burst) == [100, 100, 100, 100, 1000] * 2


def test_a_concert_is_one_room_that_everybody_enters_once() -> None:
    schedule = make_schedule(Plan(Scenario.CONCERT, 100, 5, 1000, 7), 300, 20)
    assert set(schedule.rooms.tolist()) == {0}
    assert schedule.closing == 300
    assert sorted(schedule.actors[:300].tolist()) == list(range(300))


@pytest.mark.parametrize("people", [2, 50])
def test_one_room_each_tells_who_moved(people: int) -> None:
    schedule = one_room_each(people, 10.0)
    assert np.array_equal(schedule.actors, schedule.rooms)
    assert all(len(moves) == 2 for moves in walk(schedule).values())
