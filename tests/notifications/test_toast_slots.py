"""Toasts across processes: the database holds the caps, and every decision is in the log."""

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from uuid import UUID

import asyncpg
import psycopg
import pytest

from seda.database.regions import Region
from seda.notifications.arrivals import Arrival, load_candidates
from seda.notifications.toast_slots import Session, announce, claim
from seda.social.copy import Face
from seda.social.toasts import APART, TOASTS_PER_SESSION, Candidate, Friend, Moment
from tests.serving.serving_world import Entity, Listener, World

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
# (deciders, events of each, events that one call decides)
PROFILES = {"small": (8, 300, 5), "full": (32, 10_000, 50)}
DECIDERS, EVENTS, BATCH = PROFILES[os.environ.get("SEDA_TEST_PROFILE", "small")]


@asynccontextmanager
async def service(world: World) -> AsyncIterator[asyncpg.Connection]:
    """A connection as a real-time process has it."""
    url = world.databases[Region.GLOBAL].url
    connection = await asyncpg.connect(url, server_settings={"role": "service_role"})
    try:
        yield connection
    finally:
        await connection.close()


async def told(world: World, *candidates: tuple[Session, Candidate], now: datetime = NOW) -> list:
    """What may go out, as (session id, text)."""
    async with service(world) as connection, connection.transaction():
        found = await announce(connection, candidates, now)
    return [(each.session.session_id, each.toast.block().text) for each in found]


def log(world: World) -> list[tuple]:
    return world.sql(
        "select decision, reason, session_id, entity_id from seda.notification_log "
        "where channel = 'toast' order by decided_at, session_id, decision desc, reason"
    )


def candidate(room: Entity, present: int, came: int | None = None) -> Candidate:
    """Friends 1 … `present`, of whom the last, or number `came`, came."""
    friends = tuple(Friend(UUID(int=n), Face(f"F{n}", None)) for n in range(1, present + 1))
    return Candidate(room.id, room.name, friends, frozenset({UUID(int=came or present)}))


async def test_a_moment_is_told_once_and_logged(world: World) -> None:
    ada, room = world.person("Ada"), world.entity("room", "techno")
    phone = Session(ada.id, "phone")
    assert await told(world, (phone, candidate(room, 1))) == [("phone", "F1 is here — join them")]
    assert await told(world, (phone, candidate(room, 1))) == []
    later = NOW + APART
    assert await told(world, (phone, candidate(room, 2)), now=later) == []
    assert await told(world, (phone, candidate(room, 3)), now=later) == [
        ("phone", "3 of your friends are in #techno right now")
    ]
    assert sorted(log(world)) == sorted(
        [
            ("sent", "first_friend", "phone", room.id),
            ("suppressed", "already_told", "phone", room.id),
            ("suppressed", "no_moment", "phone", room.id),
            ("sent", "three_friends", "phone", room.id),
        ]
    )


async def test_one_call_merges_what_came_together(world: World) -> None:
    ada, room = world.person("Ada"), world.entity("room", "techno")
    phone = Session(ada.id, "phone")
    several = [(phone, candidate(room, present)) for present in (1, 2, 3)]
    assert await told(world, *several) == [("phone", "3 of your friends are in #techno right now")]
    assert [(decision, reason) for decision, reason, *_ in log(world)] == [
        ("sent", "three_friends"),
        ("merged", "three_friends"),
        ("merged", "three_friends"),
    ]


async def test_a_person_with_two_sessions_is_told_in_one(world: World) -> None:
    ada, room = world.person("Ada"), world.entity("room", "techno")
    both = [(Session(ada.id, name), candidate(room, 1)) for name in ("phone", "web")]
    assert await told(world, *both) == [("phone", "F1 is here — join them")]
    assert [each[:3] for each in log(world)] == [
        ("sent", "first_friend", "phone"),
        ("suppressed", "too_soon", "web"),
    ]


async def test_preferences_dismissals_and_strangers(world: World) -> None:
    ada, ben, room = world.person("Ada"), world.person("Ben"), world.entity("room", "techno")
    world.sql(
        "insert into seda.notification_preferences (user_id, toasts_enabled) values (%s, false)",
        ada.id,
    )
    world.suppress(ben, room)
    gone = world.person("Cy", deleted=True)
    people = [(Session(each.id, "s"), candidate(room, 1)) for each in (ada, ben, gone)]
    assert await told(world, *people) == []
    assert sorted(reason for _, reason, *_ in log(world)) == ["room_suppressed", "toasts_off"]


async def test_who_is_quicker_has_the_slot_and_the_other_is_logged(world: World) -> None:
    ada, room = world.person("Ada"), world.entity("room", "techno")
    async with service(world) as one, service(world) as other:
        first = one.transaction()
        await first.start()
        assert await announce(one, [(Session(ada.id, "web"), candidate(room, 1))], NOW)
        async with other.transaction():
            # It decides on what is committed, and then waits for the row.
            waiting = asyncio.create_task(
                announce(other, [(Session(ada.id, "phone"), candidate(room, 1))], NOW)
            )
            await asyncio.sleep(0.05)
            await first.commit()
            assert await waiting == ()
    assert [each[:3] for each in log(world)] == [
        ("suppressed", "too_soon", "phone"),
        ("sent", "first_friend", "web"),
    ]


async def test_caps_hold_under_many_deciders_of_duplicate_events(world: World) -> None:
    people = [world.person(name) for name in ("Ada", "Ben", "Cy")]
    rooms = world.entities("room", 6)

    async def decider(seed: int) -> int:
        draw = random.Random(seed)
        sent = 0
        async with service(world) as connection:
            for _ in range(EVENTS // BATCH):
                # Clocks differ, and events come late: time goes back and forth over five hours.
                now = NOW + timedelta(seconds=draw.randrange(5 * 3600))
                events = [
                    (
                        Session(draw.choice(people).id, f"s{draw.randrange(2)}"),
                        candidate(draw.choice(rooms), draw.choice((1, 3, 10))),
                    )
                    for _ in range(BATCH)
                ]
                async with connection.transaction():
                    sent += len(await announce(connection, events, now))
        return sent

    emitted = sum(await asyncio.gather(*(decider(seed) for seed in range(DECIDERS))))
    rows = world.sql(
        "select user_id, session_id, decided_at from seda.notification_log "
        "where decision = 'sent' order by user_id, decided_at"
    )
    assert len(rows) == emitted > len(people)
    for _, of_person in groupby(rows, key=lambda row: row[0]):
        times = [decided_at for *_, decided_at in of_person]
        assert all(later - earlier >= APART for earlier, later in pairwise(times))
    by_session = sorted(rows, key=lambda row: row[:2])
    for _, of_session in groupby(by_session, key=lambda row: row[:2]):
        assert len(list(of_session)) <= TOASTS_PER_SESSION
    ((logged,),) = world.sql("select count(*) from seda.notification_log")
    assert logged == DECIDERS * (EVENTS // BATCH) * BATCH


async def test_the_claim_alone_holds_both_caps(world: World) -> None:
    ada = world.person("Ada")
    asked = [(0, "a"), (9, "b"), (10, "b"), (20, "a"), (30, "a"), (40, "a"), (40, "b"), (45, "c")]
    taken = []
    async with service(world) as connection:
        for minute, name in asked:
            now = NOW + timedelta(minutes=minute)
            taken.append(bool(await claim(connection, [Session(ada.id, name)], now)))
    assert taken == [True, False, True, True, True, False, True, False]


async def test_the_memory_of_sessions_is_bounded_and_keeps_the_newest(world: World) -> None:
    ada = world.person("Ada")
    world.sql(
        "insert into seda.toast_caps (user_id, last_sent_at, sessions) "
        "values (%s, %s, array(select n::bigint from generate_series(1, 432) n))",
        ada.id,
        NOW - timedelta(hours=1),
    )
    async with service(world) as connection:
        assert await claim(connection, [Session(ada.id, "new")], NOW)
    ((length, first, last),) = world.sql(
        "select cardinality(sessions), sessions[1], sessions[432] = hashtextextended('new', 0) "
        "from seda.toast_caps"
    )
    assert (length, first, last) == (432, 2, True)


async def candidates(
    world: World, room: Entity, came: list[Listener], *viewers: Listener
) -> dict[UUID, Candidate]:
    arrivals = [Arrival(each.id, room.id) for each in came]
    async with service(world) as connection:
        return dict(await load_candidates(connection, arrivals, [each.id for each in viewers]))


async def test_only_friends_hear_and_of_visible_friends_who_are_there(world: World) -> None:
    ada, ben, stranger = (world.person(name) for name in ("Ada", "Ben", "Sam"))
    cy, left = world.person("Cy", hidden=True), world.person("Lee")
    blocked = world.person("Bo")
    room = world.entity("room", "techno")
    world.befriend(ada, ben, cy, left, blocked)
    world.befriend(blocked, ada, kind="block")
    world.enter(room, ben, cy, blocked, stranger)
    found = await candidates(world, room, [ben, cy, left, blocked, stranger], ada, stranger)
    assert set(found) == {ada.id}
    assert [friend.face.name for friend in found[ada.id].present] == ["Ben"]
    assert found[ada.id].came == {ben.id}
    assert found[ada.id].hidden == 0
    # Who hides changes nothing by coming: nobody came.
    (unmoved,) = (await candidates(world, room, [cy], ada)).values()
    assert unmoved == replace(found[ada.id], came=frozenset())


@pytest.mark.parametrize(("hiding", "counted"), [(2, 0), (3, 3)])
async def test_hidden_friends_are_counted_from_three_on_and_never_move(
    world: World, hiding: int, counted: int
) -> None:
    ada, ben, room = world.person("Ada"), world.person("Ben"), world.entity("room", "techno")
    hidden = [world.person(f"H{n}", hidden=True) for n in range(hiding)]
    world.befriend(ada, ben, *hidden)
    world.enter(room, *hidden)
    assert await candidates(world, room, hidden, ada) == {}
    world.enter(room, ben)
    subject = (await candidates(world, room, [ben], ada))[ada.id]
    assert subject.hidden == counted
    expected = f"{1 + counted} of your friends are in #techno right now"
    (toast,) = await told(world, (Session(ada.id, "phone"), subject))
    assert toast[1] == (expected if counted else "Ben is here — join them")
    assert log(world)[0][1] == Moment.FIRST_FRIEND


async def test_nobody_but_the_service_reads_or_writes_a_cap_or_the_outbox(world: World) -> None:
    ada = world.person("Ada")
    for table in ("toast_caps", "push_caps", "push_outbox"):
        with (
            world.as_person(ada) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(f"select from seda.{table}")


def test_a_removed_person_leaves_no_cap(world: World) -> None:
    ada = world.person("Ada")
    world.sql("insert into seda.toast_caps (user_id, last_sent_at) values (%s, now())", ada.id)
    world.sql("delete from seda.users where id = %s", ada.id)
    assert json.dumps(world.sql("select * from seda.toast_caps")) == "[]"
