"""Presence as rules: counted by connection, lingering, spaced by windows."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from seda.social.presence import IDLE, Attendance, Change, Standing, Windows

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
LINGER = timedelta(seconds=2)
WINDOW = timedelta(milliseconds=250)
ROOM, OTHER = UUID(int=1), UUID(int=2)
ADA, BEN = UUID(int=11), UUID(int=12)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


STEPS = st.lists(
    st.tuples(st.sampled_from([1, 1, -1, 2, -2, 0]), st.sampled_from([0.1, 0.5, 1.9, 2.1, 5.0])),
    max_size=30,
)


@given(STEPS)
def test_friends_hear_of_comings_and_leavings_in_turn(steps: list[tuple[int, float]]) -> None:
    standing, told, now = Standing(), [], 0.0
    for by, seconds in steps:
        now += seconds
        if by:
            standing, changes = standing.shifted(by, at(now), LINGER)
        else:
            standing, changes = standing.released(at(now))
        told += changes
        assert standing.connections >= 0
        assert standing.present(at(now)) == (told[-1:] == [Change.CAME])
    assert told == [Change.CAME, Change.LEFT] * (len(told) // 2) + [Change.CAME] * (len(told) % 2)
    standing, changes = standing.shifted(-standing.connections, at(now), LINGER)
    _, last = standing.released(at(now) + LINGER)
    assert [*told, *changes, *last].count(Change.CAME) == [*told, *changes, *last].count(
        Change.LEFT
    )


@given(st.floats(0, 1.999), st.integers(1, 3))
def test_who_comes_back_while_the_leave_lingers_never_left(pause: float, connections: int) -> None:
    inside, came = Standing().shifted(connections, at(0), LINGER)
    assert came == (Change.CAME,)
    away, left = inside.shifted(-connections, at(1), LINGER)
    assert left == ()
    assert away.present(at(1 + pause))
    back, again = away.shifted(1, at(1 + pause), LINGER)
    assert again == ()
    assert back.released(at(60)) == (Standing(1), ())


def test_a_leave_that_nobody_noticed_comes_before_the_next_join() -> None:
    away, _ = Standing(1).shifted(-1, at(0), LINGER)
    assert away.shifted(1, at(3), LINGER)[1] == (Change.LEFT, Change.CAME)
    assert Standing(1).shifted(-1, at(0), timedelta(0)) == (Standing(), (Change.LEFT,))


def test_who_is_held_by_a_join_over_http_stays_without_connections() -> None:
    held = Standing(1, at(1800))
    after, told = held.shifted(-1, at(10), LINGER)
    assert (after, told) == (Standing(0, at(1800)), ())
    assert after.released(at(1800)) == (Standing(), (Change.LEFT,))


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["enter", "quit", "disconnect"]),
        st.integers(0, 4),
        st.sampled_from([ROOM, OTHER]),
    ),
    max_size=40,
)


@given(MOVES)
def test_holds_are_the_connections_that_are_inside(moves: list[tuple[str, int, UUID]]) -> None:
    attendance: Attendance[int] = Attendance()
    inside: set[tuple[int, UUID]] = set()
    for kind, connection, room in moves:
        if connection not in attendance:
            attendance.connect(connection, ADA if connection < 2 else BEN, START)
        if kind == "disconnect":
            rooms = attendance.disconnect(connection)
            assert rooms == {r for c, r in inside if c == connection}
            inside = {(c, r) for c, r in inside if c != connection}
        elif kind == "enter":
            attendance.enter(connection, room)
            inside.add((connection, room))
        else:
            attendance.quit(connection, room)
            inside.discard((connection, room))
        assert attendance.inside(connection, room) == ((connection, room) in inside)
    expected: dict[tuple[UUID, UUID], int] = {}
    for connection, room in inside:
        key = (ADA if connection < 2 else BEN), room
        expected[key] = expected.get(key, 0) + 1
    assert attendance.holds() == expected


def test_only_signs_of_life_keep_a_connection_in_its_rooms() -> None:
    attendance: Attendance[str] = Attendance()
    for connection in ("quiet", "lively", "outside"):
        attendance.connect(connection, ADA, START)
    attendance.enter("quiet", ROOM)
    attendance.enter("lively", ROOM)
    attendance.beat("lively", at(60))
    attendance.beat("gone", at(60))
    assert attendance.idle(START + IDLE) == [("quiet", frozenset({ROOM}))]
    assert [each[0] for each in attendance.alive_since(START)] == ["lively"]


NOTES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(1, 120)), min_size=1, max_size=80
)


@given(NOTES)
def test_windows_space_messages_and_lose_nothing(notes: list[tuple[int, int, int]]) -> None:
    windows: Windows[int] = Windows(WINDOW)
    told_at: dict[int, list[datetime]] = {}
    noted: dict[tuple[int, UUID], int] = {}
    told: dict[tuple[int, UUID], int] = {}
    oldest: dict[int, datetime] = {}
    now = START

    def tell() -> None:
        for receiver in windows.due(now):
            pending = windows.take(receiver, now)
            assert pending.since == oldest.pop(receiver)
            for room, changes in pending.rooms.items():
                told[receiver, room] = told.get((receiver, room), 0) + changes
            told_at.setdefault(receiver, []).append(now)

    for receiver, room, pause in notes:
        now += timedelta(milliseconds=pause)
        idle = receiver not in told_at or now - told_at[receiver][-1] >= WINDOW
        windows.note(receiver, UUID(int=room), now)
        key = receiver, UUID(int=room)
        noted[key] = noted.get(key, 0) + 1
        oldest.setdefault(receiver, now)
        tell()
        assert not idle or told_at[receiver][-1] == now  # the leading edge
    while (due := windows.next_due()) is not None:
        assert due >= now or windows.due(now)
        now = max(now, due)
        tell()
    assert told == noted
    assert not len(windows)
    for times in told_at.values():
        assert all(b - a >= WINDOW for a, b in pairwise(times))


def test_a_receiver_who_is_gone_is_told_nothing() -> None:
    windows: Windows[str] = Windows(WINDOW)
    windows.note("ada", ROOM, START)
    windows.note("ada", ROOM, at(-1), 0)
    windows.note("ben", ROOM, START)
    windows.forget("ada")
    assert windows.due(START) == ["ben"]
    assert windows.take("ben", START).rooms == {ROOM: 1}
    assert windows.next_due() is None
