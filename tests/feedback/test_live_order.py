"""Live order is bounded and deterministic, loses and repeats nothing, and keeps the quota."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seda.feedback.live_order import (
    MOST_BY_LISTENING,
    MOST_BY_PRESENCE,
    MOST_BY_SHOWINGS,
    MOST_BY_SKIPS,
    ListFacts,
    OwnEvent,
    base_order,
    base_places,
    liked_genres,
    movements,
    next_page,
    presence_lift,
)

_lists = st.lists(st.booleans(), max_size=60)
_places = st.dictionaries(st.integers(0, 59), st.floats(-20, 20), max_size=20)
_hidden = st.sets(st.integers(0, 59), max_size=20)
_kinds = st.sampled_from(["rec_click", "listen_30s", "room_join", "track_skip", "rec_dismiss"])
_events = st.lists(
    st.builds(
        OwnEvent, _kinds, st.sampled_from([None, "", "techno", "jazz"]), st.floats(-60, 200_000)
    ),
    max_size=30,
)


def _pages(is_new, rounds, size):
    """All pages to the end; each round has its own hidden items and movements."""
    served, seen, page = 0, [], 0
    while page < 200:
        hidden, places = rounds[min(page, len(rounds) - 1)]
        chosen, more = next_page(is_new, served=served, hidden=hidden, places=places, size=size)
        yield chosen, served, hidden
        assert not set(chosen) & hidden
        assert not set(chosen) & set(seen)
        seen += chosen
        for place in chosen:
            served |= 1 << place
        page += 1
        if not more:
            return


@given(_lists, st.lists(st.tuples(_hidden, _places), min_size=1, max_size=5), st.integers(1, 25))
def test_whatever_moves_between_pages_each_item_is_served_once(is_new, rounds, size) -> None:
    shown = [place for chosen, _, _ in _pages(is_new, rounds, size) for place in chosen]
    assert len(shown) == len(set(shown))
    always_hidden = set.intersection(*(hidden for hidden, _ in rounds))
    last_hidden = rounds[-1][0] if len(rounds) == 1 else None
    if last_hidden is not None:
        assert set(shown) == set(range(len(is_new))) - last_hidden
    assert not set(shown) & always_hidden


@given(_lists, st.lists(st.tuples(_hidden, _places), min_size=1, max_size=5), st.integers(1, 25))
def test_the_quota_holds_at_every_prefix_while_new_ones_are_left(is_new, rounds, size) -> None:
    shown: list[int] = []
    for chosen, _, hidden in _pages(is_new, rounds, size):
        for number, place in enumerate(chosen):
            before = shown + chosen[: number + 1]
            left = [
                p for p, new in enumerate(is_new) if new and p not in hidden and p not in before
            ]
            assert sum(is_new[p] for p in before) >= 3 * len(before) // 10 or not left
            assert place in range(len(is_new))
        if len(chosen) >= 10:
            left = [
                p for p, new in enumerate(is_new)
                if new and p not in hidden and p not in shown + chosen
            ]  # fmt: skip
            assert sum(is_new[p] for p in chosen) >= -(-3 * len(chosen) // 10) or not left
        shown += chosen


def test_three_lists_that_keep_the_quota_do_not_keep_it_mixed_but_the_page_does() -> None:
    each = [number % 10 in (3, 6, 9) for number in range(20)]  # ⌊0.3·i⌋ at every prefix
    mixed = [each[position] for _, position in base_order((20, 20, 20))]
    assert sum(mixed[:9]) == 0
    page, _ = next_page(mixed, served=0, hidden=(), places={}, size=30)
    for prefix in range(1, 31):
        assert sum(mixed[place] for place in page[:prefix]) >= 3 * prefix // 10


@given(st.lists(st.integers(0, 12), max_size=4))
def test_base_places_are_the_base_order_the_other_way_round(lengths) -> None:
    order, places = base_order(tuple(lengths)), base_places(tuple(lengths))
    assert [len(each) for each in places] == lengths
    for each, of_list in enumerate(places):
        assert [order[place] for place in of_list] == [(each, n) for n in range(lengths[each])]


def test_without_anything_live_the_order_is_as_published() -> None:
    is_new = [number % 3 == 0 for number in range(30)]
    assert next_page(is_new, served=0, hidden=(), places={}, size=20) == (list(range(20)), True)


@given(st.dictionaries(st.integers(0, 9), st.lists(st.floats(0, 1e6), max_size=9)), _events,
       st.dictionaries(st.integers(0, 9), st.integers(1, 50)))  # fmt: skip
def test_each_movement_is_bounded_and_has_a_sentence(friends, events, shown) -> None:
    facts = ListFacts(["techno", "jazz", ""] * 3 + ["techno"], shown,
                      [number % 11 if number % 11 < 10 else None for number in range(len(events))],
                      friends)  # fmt: skip
    moved = movements(facts, events, liked_genres(events))
    assert moved == movements(facts, events, liked_genres(events))
    for each in moved.values():
        by_kind = {movement.kind: movement for movement in each}
        assert len(by_kind) == len(each)
        for movement in each:
            assert movement.text
            low, high = {
                "friends_here": (0, MOST_BY_PRESENCE), "listened": (0, MOST_BY_LISTENING),
                "skipped": (-MOST_BY_SKIPS, 0), "shown": (-MOST_BY_SHOWINGS, 0),
            }[movement.kind]  # fmt: skip
            assert low <= movement.places <= high


def test_presence_saturates_and_fades() -> None:
    assert presence_lift([]) == 0
    assert presence_lift([0]) == pytest.approx(4)
    assert presence_lift([0, 0]) == pytest.approx(6)
    assert presence_lift([0] * 50) <= MOST_BY_PRESENCE
    assert presence_lift([600]) < presence_lift([60]) < presence_lift([0])
    assert presence_lift([-5]) == presence_lift([0])


def _moved(events, touched=(None,), genres=("techno", "techno", "jazz"), shown=None):
    facts = ListFacts(genres, shown or {}, touched)
    return {
        position: [(each.kind, round(each.places, 2), each.text) for each in found]
        for position, found in movements(facts, events, liked_genres(events)).items()
    }


def test_a_listen_lifts_its_genre_but_not_itself_and_says_so() -> None:
    listen = OwnEvent("listen_30s", "techno", 0)
    assert _moved([listen], [0]) == {1: [("listened", 3.0, "You just listened to techno")]}
    later = OwnEvent("listen_30s", "techno", 12 * 3600)
    assert _moved([later]) == {
        place: [("listened", 1.5, "You listened to techno lately")] for place in (0, 1)
    }
    assert _moved([OwnEvent("listen_30s", "techno", 23 * 3600)]) == {}  # too little to move
    assert _moved([OwnEvent("rec_click", None, 0)]) == {}


def test_a_skip_lowers_the_item_and_nothing_else() -> None:
    skip = OwnEvent("track_skip", "techno", 0)
    assert _moved([skip], [1]) == {1: [("skipped", -4.0, "You skipped this")]}
    assert _moved([skip] * 5, [1] * 5)[1][0][1] == -MOST_BY_SKIPS


def test_showings_count_until_the_item_is_answered() -> None:
    assert _moved([], shown={0: 1, 1: 9}) == {
        0: [("shown", -1.0, "Shown once in the last 24 hours, and not opened")],
        1: [("shown", -5.0, "Shown 9 times in the last 24 hours, and not opened")],
    }
    click = OwnEvent("rec_click", "jazz", 0)
    assert _moved([click], [0], shown={0: 3}) == {
        2: [("listened", 2.0, "You just opened something in jazz")]
    }
