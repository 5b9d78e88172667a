"""The live order of published lists: what happened since moves their items by a few places.

Pure and plain Python, for lists of a hundred or two on every request. A *base place* counts the
published lists from 0, types interleaved by place; it never changes within a generation, so a set
of base places says exactly what was served. Movements are bounded, in places of that order.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate

from seda.recommender.attention import ATTENTION, STALE_AFTER

RECENT_SECONDS = 24 * 3600.0
"""Events and showings older than this move nothing."""
JUST_SECONDS = 3600.0
MOST_BY_PRESENCE = 8.0
MOST_BY_LISTENING = 6.0
MOST_BY_SKIPS = 8.0
MOST_BY_SHOWINGS = 5.0
LEAST = 0.5
"""A lift by one's own events, or beyond what an order owes to friends already, that is smaller than
this is none: it would move nothing."""

_GAINS = {"rec_click": 2.0, "listen_30s": 3.0, "room_join": 3.0}
_LOSSES = {"track_skip": 4.0, "rec_dismiss": 4.0}
_BY_SHOWING = 1.0
_SENTENCES = {
    "rec_click": ("You just opened something in {}", "You opened something in {} lately"),
    "listen_30s": ("You just listened to {}", "You listened to {} lately"),
    "room_join": ("You just joined a {} room", "You joined a {} room lately"),
}


@dataclass(frozen=True, slots=True)
class OwnEvent:
    """What the person did: a type of `fact_events`, the main genre of what it was done to."""

    kind: str
    genre: str | None
    seconds_ago: float


@dataclass(frozen=True, slots=True)
class ListFacts:
    """What is known now of the items of one list; positions count that list from 0.

    `genres` are main genres, "" for none, and may be empty; `shown` counts the showings of
    the last 24 hours; `touched` a position (or None) per event; `friends` the seconds since each
    friend who shows their presence was seen there; `included`, by position, what the list's own
    order owes to friends: places, and their presence then, in (0, 1).
    """

    genres: Sequence[str] = ()
    shown: Mapping[int, int] = field(default_factory=dict)
    touched: Sequence[int | None] = ()
    friends: Mapping[int, Sequence[float]] = field(default_factory=dict)
    included: Mapping[int, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Movement:
    """Why an item stands higher (positive) or lower than published, in places; `text` is a
    sentence that the person may read."""

    kind: str
    places: float
    text: str


def _friends_here(lift: float) -> Movement:
    if lift > 0:
        return Movement("friends_here", lift, "Friends are here now")
    return Movement("friends_left", lift, "Friends who were here have left")


def presence_lift(seconds_ago: Iterable[float]) -> float:
    """`8 · (1 − Π(1 − a_f))` over the visible friends present, whose attention a decays."""
    nobody = 1.0
    for seconds in seconds_ago:
        nobody *= 1 - ATTENTION * math.exp(-max(seconds, 0.0) / STALE_AFTER)
    return MOST_BY_PRESENCE * (1 - nobody)


def movements(
    facts: ListFacts, events: Sequence[OwnEvent], liked: Mapping[str, Movement]
) -> dict[int, tuple[Movement, ...]]:
    """What moves each item of one list, by its position; items that nothing moves are not there.

    `liked` is what `liked_genres` makes of the events, once for all lists of the person.
    An item that the person opened, listened to or joined has been answered: its own showings no
    longer count against it, and it is what shares its genre that rises.
    """
    moved: dict[int, list[Movement]] = {}
    for position, lift in _presence_lifts(facts):
        moved[position] = [_friends_here(lift)]
    answered = _move_by_events(facts, events, liked, moved)
    for position, times in facts.shown.items():
        if position in answered:
            continue
        moved.setdefault(position, []).append(_shown_in_vain(times))
    return {position: tuple(each) for position, each in moved.items()}


def _presence_lifts(facts: ListFacts) -> Iterable[tuple[int, float]]:
    """What presence moves, beside what the list's own order owes to friends already.

    Of the two the larger counts, never their sum; and what the order owes counts in the measure in
    which the friends are still there, so that an item whose friends have left goes back.
    """
    for position, seconds in facts.friends.items():
        if position not in facts.included and (lift := presence_lift(seconds)) > 0:
            yield position, lift
    for position, (owed, presence) in facts.included.items():
        lift = presence_lift(facts.friends.get(position, ()))
        still = min(1.0, lift / (MOST_BY_PRESENCE * presence))
        more = max(lift, owed * still) - owed
        if abs(more) >= LEAST:
            yield position, more


@lru_cache(maxsize=256)
def _shown_in_vain(times: int) -> Movement:
    loss = min(MOST_BY_SHOWINGS, _BY_SHOWING * times)
    often = "once" if times == 1 else f"{times} times"
    return Movement("shown", -loss, f"Shown {often} in the last 24 hours, and not opened")


def _move_by_events(
    facts: ListFacts,
    events: Sequence[OwnEvent],
    liked: Mapping[str, Movement],
    moved: dict[int, list[Movement]],
) -> set[int]:
    """Add what events move; returns the positions that the person answered."""
    answered: set[int] = set()
    skips: dict[int, float] = {}
    for event, position in zip(events, facts.touched, strict=False):
        if position is None:
            continue
        if event.kind in _GAINS:
            answered.add(position)
        else:
            loss = _LOSSES.get(event.kind, 0.0) * _fade(event)
            skips[position] = min(MOST_BY_SKIPS, skips.get(position, 0.0) + loss)
    for position, loss in skips.items():
        if loss > 0:
            moved.setdefault(position, []).append(Movement("skipped", -loss, "You skipped this"))
    if liked:
        for position, genre in enumerate(facts.genres):
            if genre in liked and position not in answered:
                moved.setdefault(position, []).append(liked[genre])
    return answered


def liked_genres(events: Iterable[OwnEvent]) -> dict[str, Movement]:
    """The lift of each genre; its sentence is that of the event that counts most."""
    found: dict[str, list[OwnEvent]] = {}
    for event in events:
        if event.genre and event.kind in _GAINS:
            found.setdefault(event.genre, []).append(event)
    lifts = {}
    for genre, theirs in found.items():
        lift = min(MOST_BY_LISTENING, sum(_gain(event) for event in theirs))
        if lift >= LEAST:
            most = max(theirs, key=_gain)
            lately = most.seconds_ago > JUST_SECONDS
            lifts[genre] = Movement("listened", lift, _SENTENCES[most.kind][lately].format(genre))
    return lifts


def _gain(event: OwnEvent) -> float:
    return _GAINS[event.kind] * _fade(event)


def _fade(event: OwnEvent) -> float:
    return min(1.0, max(0.0, 1 - event.seconds_ago / RECENT_SECONDS))


@lru_cache(maxsize=1024)
def base_order(lengths: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """By base place, the (list, position) of each item: all first places, then all second ones."""
    return tuple(
        (each, position)
        for position in range(max(lengths, default=0))
        for each, length in enumerate(lengths)
        if position < length
    )


@lru_cache(maxsize=1024)
def base_places(lengths: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """By list and position, the base place of each item: `base_order` the other way round."""
    places: list[list[int]] = [[] for _ in lengths]
    for place, (each, _) in enumerate(base_order(lengths)):
        places[each].append(place)
    return tuple(map(tuple, places))


def next_page(
    is_new: Sequence[bool],
    *,
    served: int,
    hidden: Collection[int],
    places: Mapping[int, float],
    size: int,
) -> tuple[list[int], bool]:
    """The base places of the next page in order, at most `size`, and whether more are left.

    Args:
        is_new: By base place, whether the item is new to the person.
        served: Bit p is set if earlier pages held base place p.
        hidden: Base places that may not be shown.
        places: By base place, the sum of its movements.
        size: Items wanted.

    At every prefix i of all that is served at least ⌊0.3·i⌋ items are new, and in a page of
    n ≥ 10 at least ⌈0.3·n⌉, for as long as new ones are left (REC-4).
    """
    left = [place for place in range(len(is_new)) if place not in hidden]
    if served:
        left = [place for place in left if not served >> place & 1]
    if places:
        # Stable, and in order of place: equal keys stay so.
        keys = [place - places.get(place, 0.0) for place in left]
        left = [left[n] for n in sorted(range(len(left)), key=keys.__getitem__)]
    return _within_quota(left, is_new, served, min(size, len(left))), len(left) > size


def _within_quota(left: list[int], is_new: Sequence[bool], served: int, size: int) -> list[int]:
    """The best `size` of `left`, new ones drawn forward where the quota would break."""
    before = served.bit_count()
    new_before = served and sum(new for place, new in enumerate(is_new) if served >> place & 1)
    page_quota = -(-3 * size // 10) if size >= 10 else 0
    best_first = left[:size]
    counts = list(accumulate([is_new[place] for place in best_first], initial=new_before))
    if counts[-1] - new_before >= page_quota and all(
        count >= 3 * place // 10 for place, count in enumerate(counts[1:], before + 1)
    ):
        return best_first
    chosen: list[int] = []
    drawn: set[int] = set()
    others = iter(left)
    fresh = iter([place for place in left if is_new[place]])
    best = next(others, None)
    new = 0
    while len(chosen) < size and best is not None:
        done = len(chosen)
        due = (
            new_before + new < 3 * (before + done + 1) // 10 or page_quota - new >= size - done
        ) and not is_new[best]
        # What was drawn forward is passed over when its own turn comes.
        forward = next((place for place in fresh if place not in drawn), None) if due else None
        place = best if forward is None else forward
        drawn.add(place)
        chosen.append(place)
        new += is_new[place]
        while best is not None and best in drawn:
            best = next(others, None)
    return chosen
