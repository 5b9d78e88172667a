"""Who enters and leaves which room, and when: everything that a replay does, from its seed."""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

INSIDE_SHARE: Final = 3
"""At most one of so many people is in a room at a time, so that nobody comes back at once."""
VISIT_SECONDS: Final = 5.0
BURST_EVERY: Final = 5
"""A burst lasts the last of so many seconds."""
_ROOM_TAIL: Final = 0.8


class Scenario(StrEnum):
    """How the moves are spread over the time."""

    STEADY = "steady"
    BURST = "burst"
    CONCERT = "concert"


@dataclass(frozen=True)
class Plan:
    """What is asked for: moves a second, for so many seconds; `burst` is the rate of a burst.

    `repeats` is the share of moves that are sent a second time, with the same id.
    """

    scenario: Scenario
    rate: float
    seconds: float
    burst: float
    seed: int
    repeats: float = 0.01


@dataclass(frozen=True, eq=False)
class Schedule:
    """One entry per move, in order: `at` float64 seconds from the start, `actors` and `rooms` int32
    positions, `joins` and `repeated` bool. Moves from `closing` on only take people out again.
    """

    at: NDArray[np.float64]
    actors: NDArray[np.int32]
    rooms: NDArray[np.int32]
    joins: NDArray[np.bool_]
    repeated: NDArray[np.bool_]
    closing: int


def make_schedule(plan: Plan, people: int, rooms: int) -> Schedule:
    """The moves of `people` people among `rooms` rooms.

    Everybody starts outside, is in one room at a time, comes back to another room than the last,
    and is outside at the end.
    """
    rng = np.random.default_rng(plan.seed)
    at = _moments(plan)
    if plan.scenario is Scenario.CONCERT:
        at = at[:people]
        actors = rng.permutation(people)[: len(at)].astype(np.int32)
        chosen, joins = np.zeros(len(at), np.int32), np.ones(len(at), np.bool_)
    else:
        inside = max(1, min(people // INSIDE_SHARE, round(plan.rate * VISIT_SECONDS / 2)))
        actors, joins = _visits(rng.permutation(people).tolist(), len(at), inside)
        chosen = _rooms(rng, actors, joins, rooms)
    return _closed(rng, plan, at, actors, chosen, joins)


def one_room_each(people: int, rate: float) -> Schedule:
    """Everybody enters the room of their own number, and leaves it: a room tells who moved."""
    everybody = np.arange(people, dtype=np.int32)
    return Schedule(
        at=np.arange(2 * people) / rate,
        actors=np.concatenate([everybody, everybody]),
        rooms=np.concatenate([everybody, everybody]),
        joins=np.arange(2 * people) < people,
        repeated=np.zeros(2 * people, np.bool_),
        closing=2 * people,
    )


def _moments(plan: Plan) -> NDArray[np.float64]:
    """Evenly spaced within each second."""
    moments = []
    for second in range(int(np.ceil(plan.seconds))):
        bursting = plan.scenario is Scenario.BURST and second % BURST_EVERY == BURST_EVERY - 1
        rate = plan.burst if bursting else plan.rate
        length = min(1.0, plan.seconds - second)
        moments.append(second + np.arange(round(rate * length)) / rate)
    return np.concatenate(moments) if moments else np.zeros(0)


def _visits(
    people: list[int], count: int, most_inside: int
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """First in, first out: until so many are inside people join, then one leaves for each join."""
    outside, inside = deque(people), deque[int]()
    actors, joins = np.empty(count, np.int32), np.empty(count, np.bool_)
    joined = False
    for move in range(count):
        joined = len(inside) < most_inside if not joined else len(inside) < most_inside - 1
        came, went = (outside, inside) if joined else (inside, outside)
        actors[move], joins[move] = came[0], joined
        went.append(came.popleft())
    return actors, joins


def _rooms(
    rng: np.random.Generator,
    actors: NDArray[np.int32],
    joins: NDArray[np.bool_],
    rooms: int,
) -> NDArray[np.int32]:
    """A room for each visit, some much liked, never the one of the visit before."""
    weights = np.arange(1, rooms + 1) ** -_ROOM_TAIL
    drawn = rng.choice(rooms, len(actors), p=weights / weights.sum()).astype(np.int32)
    last: dict[int, int] = {}
    for move, (actor, joined) in enumerate(zip(actors.tolist(), joins.tolist(), strict=True)):
        if joined and last.get(actor) == drawn[move]:
            drawn[move] = (drawn[move] + 1) % rooms
        elif not joined:
            drawn[move] = last[actor]
        last[actor] = int(drawn[move])
    return drawn


def _closed(
    rng: np.random.Generator,
    plan: Plan,
    at: NDArray[np.float64],
    actors: NDArray[np.int32],
    rooms: NDArray[np.int32],
    joins: NDArray[np.bool_],
) -> Schedule:
    """With the leaves of whoever is still inside."""
    last = {actor: move for move, actor in enumerate(actors.tolist())}
    staying = np.array([move for move in sorted(last.values()) if joins[move]], np.int64)
    repeated = rng.random(len(at)) < plan.repeats
    return Schedule(
        at=np.concatenate([at, plan.seconds + np.arange(1, len(staying) + 1) / plan.rate]),
        actors=np.concatenate([actors, actors[staying]]),
        rooms=np.concatenate([rooms, rooms[staying]]),
        joins=np.concatenate([joins, np.zeros(len(staying), np.bool_)]),
        repeated=np.concatenate([repeated, np.zeros(len(staying), np.bool_)]),
        closing=len(at),
    )
