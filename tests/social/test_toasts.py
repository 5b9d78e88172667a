"""A toast is for a moment, seldom, of visible friends only, and merging loses nobody."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seda.social.copy import Face
from seda.social.toasts import (
    APART,
    TOASTS_PER_SESSION,
    Candidate,
    Drop,
    DropReason,
    Friend,
    History,
    Merge,
    Moment,
    Preferences,
    Send,
    decide,
    moment_of,
    still_there,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ROOM = UUID(int=100)
ANYTHING = Preferences()


def friend(number: int) -> Friend:
    return Friend(UUID(int=number), Face(f"F{number}", None))


def candidate(present: int, *came: int, room: UUID = ROOM, hidden: int = 0) -> Candidate:
    """Friends 1 … `present` are there, in this order; `came` are the numbers of those who came."""
    friends = tuple(friend(number) for number in range(1, present + 1))
    return Candidate(room, "electronic", friends, frozenset(UUID(int=n) for n in came), hidden)


def moment(decision) -> Moment:
    assert isinstance(decision, Send | Merge)
    return decision.toast.moment


def reason(decision) -> DropReason:
    assert isinstance(decision, Drop)
    return decision.reason


def test_the_first_friend_is_told_by_name() -> None:
    decision = decide(candidate(1, 1), History(), ANYTHING, NOW)
    assert moment(decision) is Moment.FIRST_FRIEND
    assert decision.toast.block().text == "F1 is here — join them"


@pytest.mark.parametrize(
    ("present", "came", "expected"),
    [
        (1, [1], Moment.FIRST_FRIEND),
        (2, [2], None),
        (3, [3], Moment.THREE_FRIENDS),
        (3, [2], None),
        (4, [4], None),
        (4, [1, 2, 3, 4], Moment.THREE_FRIENDS),
        (12, [9, 10, 11], Moment.TEN_FRIENDS),
        (2, [1], Moment.FIRST_FRIEND),  # the second came before anybody told of the first
    ],
)
def test_a_moment_is_the_first_the_third_and_the_tenth_friend(present, came, expected) -> None:
    assert moment_of(candidate(present, *came)) is expected


def test_many_friends_are_counted_with_four_faces() -> None:
    block = decide(candidate(10, 10), History(), ANYTHING, NOW).toast.block()
    assert block.text == "10 of your friends are in #electronic right now"
    assert (len(block.avatars), block.overflow) == (4, 6)


def test_each_reason_not_to_tell() -> None:
    first = candidate(1, 1)
    told = History(told=frozenset({(ROOM, Moment.THREE_FRIENDS)}))
    recently = NOW - APART + timedelta(microseconds=1)
    cases = {
        DropReason.TOASTS_OFF: (first, History(), Preferences(toasts_enabled=False)),
        DropReason.ROOM_SUPPRESSED: (first, History(), Preferences(suppressed=frozenset({ROOM}))),
        DropReason.NOBODY_CAME: (candidate(1), History(), ANYTHING),
        DropReason.NO_MOMENT: (candidate(2, 2), History(), ANYTHING),
        DropReason.ALREADY_TOLD: (first, told, ANYTHING),
        DropReason.SESSION_CAP: (first, History(sent=TOASTS_PER_SESSION), ANYTHING),
        DropReason.TOO_SOON: (first, History(1, recently), ANYTHING),
    }
    assert set(cases) == set(DropReason)
    for expected, (subject, history, preferences) in cases.items():
        assert reason(decide(subject, history, preferences, NOW)) is expected


def test_ten_minutes_later_the_next_one_is_told() -> None:
    assert isinstance(decide(candidate(1, 1), History(1, NOW - APART), ANYTHING, NOW), Send)


def test_a_greater_moment_of_the_same_room_is_told_and_a_smaller_one_is_not() -> None:
    history = History(1, NOW - APART, frozenset({(ROOM, Moment.FIRST_FRIEND)}))
    assert moment(decide(candidate(3, 3), history, ANYTHING, NOW)) is Moment.THREE_FRIENDS
    assert reason(decide(candidate(1, 1), history, ANYTHING, NOW)) is DropReason.ALREADY_TOLD


def test_what_comes_while_a_toast_waits_is_merged_into_it() -> None:
    first = decide(candidate(1, 1), History(), ANYTHING, NOW)
    history = History().after(first, NOW)
    merged = decide(candidate(3, 2, 3), history, ANYTHING, NOW)
    assert isinstance(merged, Merge)
    assert merged.toast.moment is Moment.THREE_FRIENDS
    assert merged.toast.block().count == 3
    assert history.after(merged, NOW).sent == 1


def test_who_left_before_it_goes_out_is_not_told_of() -> None:
    toast = decide(candidate(3, 3), History(), ANYTHING, NOW).toast
    left = still_there(toast, [UUID(int=1), UUID(int=3)])
    assert left.block().text == "2 of your friends are in #electronic right now"
    assert still_there(toast, [UUID(int=1), UUID(int=2)]) is None
    assert still_there(toast, []) is None


numbers = st.integers(1, 12)
candidates = st.builds(
    lambda present, came, room, hidden: candidate(
        present, *[n for n in came if n <= present], room=UUID(int=100 + room), hidden=hidden
    ),
    st.integers(0, 12),
    st.sets(numbers),
    st.integers(0, 2),
    st.integers(0, 3),
)
steps = st.lists(
    st.tuples(st.integers(0, 900), candidates, st.sampled_from(["here", "out"])), max_size=40
)


@given(steps)
def test_never_over_the_cap_never_closer_than_ten_minutes_and_deterministic(steps) -> None:
    history, now, sent = History(), NOW, []
    for seconds, subject, then in steps:
        now += timedelta(seconds=seconds)
        decision = decide(subject, history, ANYTHING, now)
        assert decision == decide(subject, history, ANYTHING, now)
        history = history.after(decision, now)
        if isinstance(decision, Send):
            sent.append(now)
        if then == "out":
            history = replace(history, pending=None)
    assert len(sent) <= TOASTS_PER_SESSION
    assert history.sent == len(sent)
    assert all(later - earlier >= APART for earlier, later in pairwise(sent))


@given(st.lists(candidates, min_size=1, max_size=10), st.randoms(use_true_random=False))
def test_merging_loses_nobody(several, random) -> None:
    history, expected, hidden = History(), set(), 0
    for subject in several:
        friends = list(subject.present)
        random.shuffle(friends)  # two processes may have read in another order
        subject = replace(subject, present=tuple(friends), room_id=ROOM)
        decision = decide(subject, history, ANYTHING, NOW)
        history = history.after(decision, NOW)
        if not isinstance(decision, Drop):
            expected |= set(subject.present)
            hidden = max(hidden, subject.hidden)
    if history.pending is None:
        assert expected == set()
        return
    merged = history.pending.candidate
    assert set(merged.present) == expected
    assert len(merged.present) == len(expected)
    assert history.pending.block().count == len(expected) + hidden
    assert (
        len(history.pending.block().avatars) + history.pending.block().overflow
        == len(expected) + hidden
    )


@given(candidates, st.integers(0, 50), st.booleans())
def test_a_friend_who_hides_never_moves_a_toast(subject, hidden, pending) -> None:
    history = History()
    if pending:
        history = history.after(decide(candidate(1, 1), history, ANYTHING, NOW), NOW)
    shown = decide(replace(subject, hidden=0), history, ANYTHING, NOW)
    also = decide(replace(subject, hidden=hidden), history, ANYTHING, NOW)
    assert type(shown) is type(also)
    if isinstance(shown, Drop):
        assert shown == also
    else:
        assert shown.toast.moment is also.toast.moment
        assert shown.toast.candidate.present == also.toast.candidate.present
