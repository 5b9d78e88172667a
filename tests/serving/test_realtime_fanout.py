"""Whom a change reaches, how often, and what it says: windows, friends, hidden presence."""

import asyncio
import random
from datetime import UTC, datetime
from uuid import UUID, uuid4

import orjson
import pytest

from serving.presence import viewer_block
from serving.realtime.circles import CIRCLES, PRESENT, Board, Circle, Circles
from tests.serving.realtime_world import PATIENCE, Client, running
from tests.serving.serving_world import Entity, Listener, World, open_api
from tests.serving.test_events import event


async def told(client: Client, room: Entity, changes: int) -> dict:
    """The room's newest block, once so many changes were told."""
    heard, newest = 0, {}
    while heard < changes:
        for each in (await client.message())["rooms"]:
            if each["room_id"] == str(room.id):
                heard, newest = heard + each["changes"], each
    assert heard == changes
    return newest


async def test_many_changes_are_one_message_per_window_and_every_one_is_counted(
    world: World,
) -> None:
    ada = world.person("Ada")
    friends = [world.person(f"friend {n}") for n in range(12)]
    world.befriend(ada, *friends)
    room, other = world.entities("room", 2)
    async with running(world, presence_window_ms=500) as service:
        watching = await service.client(ada)
        acting = await asyncio.gather(*(service.client(friend) for friend in friends))
        await acting[0].ask("join", room)
        first = await watching.message()
        assert [each["changes"] for each in first["rooms"]] == [1]  # at once
        await asyncio.gather(*(each.ask("join", room) for each in acting[1:]))
        await asyncio.gather(*(each.ask("join", other) for each in acting[:3]))
        later = await watching.message()
        by_room = {each["room_id"]: each for each in later["rooms"]}
        assert by_room[str(room.id)]["changes"] == 11
        assert by_room[str(room.id)]["count"] == 12
        assert by_room[str(room.id)]["overflow"] == 8
        assert len(by_room[str(room.id)]["avatars"]) == 4
        assert by_room[str(other.id)]["changes"] == 3
        assert datetime.fromisoformat(later["since"]) > datetime.fromisoformat(first["since"])
        assert watching.messages.empty()


async def test_a_leave_and_a_join_soon_after_are_neither(world: World) -> None:
    ada, alex = world.person("Ada"), world.person("Alex")
    world.befriend(ada, alex)
    room, other = world.entities("room", 2)
    async with running(world, presence_linger_ms=400) as service:
        watching, acting = await service.client(ada), await service.client(alex)
        await acting.ask("join", room)
        assert (await watching.room())["count"] == 1
        await acting.ask("leave", room)
        await acting.ask("join", room)
        await acting.io.disconnect()
        again = await service.client(alex)
        await again.ask("join", room)
        await again.ask("join", other)
        assert (await watching.room())["room_id"] == str(other.id)  # nothing came before it
        await again.io.disconnect()
        left = await watching.message()
        while len(left["rooms"]) < 2:
            left["rooms"] += (await watching.message())["rooms"]
        assert {(each["count"], each["changes"]) for each in left["rooms"]} == {(0, 1)}
        # What was said is an event once; the lost connection's leaves are events since they lapsed.
        kinds = world.sql("select kind, count(*) from seda.social_events group by 1 order by 1")
        assert kinds == [("join", 4), ("leave", 3)]
        assert world.sql(
            "select count(*) from seda.social_events e full join seda.event_receipts r "
            "using (event_id) where e.event_id is null or r.event_id is null"
        ) == [(0,)]


async def test_a_join_over_http_reaches_connected_friends(world: World) -> None:
    ada, alex = world.person("Ada"), world.person("Alex")
    world.befriend(ada, alex)
    room = world.entity("room", "electronic")
    async with running(world) as service, open_api(world) as api:
        watching = await service.client(ada)
        accepted = datetime.now(UTC)
        body = {"events": [event(room, "join")]}
        assert (await api.call("POST", "/events", alex, json=body)).status_code == 200
        message = await watching.message()
        assert message["rooms"][0]["text"] == "Alex is here — join them"
        assert accepted <= datetime.fromisoformat(message["since"]) <= datetime.now(UTC)
        body = {"events": [event(room, "leave")]}
        await api.call("POST", "/events", alex, json=body)
        assert (await watching.room())["count"] == 0


async def test_new_friends_are_told_and_who_hides_vanishes_at_once(world: World) -> None:
    ada, alex, ben = (world.person(name) for name in ("Ada", "Alex", "Ben"))
    world.befriend(ada, ben)
    room, *others = world.entities("room", 3)
    async with running(world) as service:
        watching, acting = await service.client(ada), await service.client(alex)
        bens = await service.client(ben)

        async def until_told(other: Entity) -> None:
            """Announcements come in order: what was before Ben's coming is known after it."""
            await bens.ask("join", other)
            assert (await watching.room())["room_id"] == str(other.id)

        await acting.ask("join", room)
        await until_told(others[0])
        world.befriend(ada, alex)
        block = await watching.room()
        assert (block["count"], block["changes"]) == (1, 0)
        hide = "update seda.users set privacy_settings = %s where id = %s"
        world.sql(hide, '{"hide_presence": true}', alex.id)
        assert (await watching.room())["count"] == 0
        await acting.ask("leave", room)
        await acting.ask("join", room)
        await until_told(others[1])  # the moves between were nobody's business
        world.sql(hide, "{}", alex.id)
        block = await watching.room()
        assert (block["count"], block["changes"]) == (1, 0)
        world.sql("delete from seda.friends where user_id = %s", alex.id)
        assert (await watching.room())["count"] == 0
        assert watching.messages.empty()


async def test_what_was_missed_is_told_when_the_database_is_heard_again(world: World) -> None:
    ada, alex = world.person("Ada"), world.person("Alex")
    world.befriend(ada, alex)
    room = world.entity("room", "electronic")
    async with running(world) as service:
        watching = await service.client(ada)
        world.sql(  # a row that nobody announced
            "insert into seda.room_presence (room_id, user_id) values (%s, %s)", room.id, alex.id
        )
        world.sql(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name = 'seda listen'"
        )
        block = await watching.room()
        assert (block["count"], block["changes"]) == (1, 1)


async def test_faces_are_shed_before_any_change_when_the_fan_out_is_behind(world: World) -> None:
    ada, alex = world.person("Ada"), world.person("Alex")
    world.befriend(ada, alex)
    room = world.entity("room", "electronic")
    async with running(world) as service:
        watching = await service.client(ada)
        world.sql(
            "select seda.announce_presence('+', array[%s], array[%s], "
            "array[now() - interval '5 s'])",
            alex.id,
            room.id,
        )
        block = await watching.room()
        assert (block["avatars"], block["count"], block["overflow"]) == ([], 1, 1)
        assert (block["text"], block["changes"]) == ("Alex is here — join them", 1)


async def test_votes_follows_and_listens_are_events_that_move_nobody(world: World) -> None:
    ada, artist = world.person("Ada"), world.entity("artist", "Autechre")
    async with running(world) as service:
        client = await service.client(ada)
        for kind in ("vote", "follow", "listen"):
            data = {"event_id": str(uuid4()), "entity_type": "artist", "entity_id": str(artist.id)}
            answer = await client.io.call(kind, data, timeout=PATIENCE)
            assert answer == {"ok": True, "event_id": data["event_id"]}
            assert await client.io.call(kind, data, timeout=PATIENCE) == answer
        unknown = {"event_id": str(uuid4()), "entity_type": "room", "entity_id": str(artist.id)}
        answer = await client.io.call("vote", unknown, timeout=PATIENCE)
        assert answer["problem"]["code"] == "unknown_room"
        answer = await client.io.call("vote", {**unknown, "entity_type": "song"}, timeout=PATIENCE)
        assert answer["problem"]["code"] == "invalid_intent"
        assert await client.io.call("presence:heartbeat", timeout=PATIENCE) == {"ok": True}
    kinds = world.sql("select kind from seda.social_events order by id")
    assert kinds == [("vote",), ("follow",), ("listen",)]
    assert world.sql("select 1 from seda.room_presence") == []


async def test_new_feeds_are_told_to_their_people_only(world: World) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    document = {"entity_types": ["room"], "reason": "presence", "at": "2026-11-20T12:00:00Z"}
    async with running(world) as service:
        adas, bens = await service.client(ada), await service.client(ben)
        payload = orjson.dumps({**document, "users": [ada.id, uuid4()]}).decode()
        for each in ("not json", "{}", payload):
            world.sql("select pg_notify('seda_feed_updated', %s)", each)
        assert await asyncio.wait_for(adas.feeds.get(), PATIENCE) == document
        assert bens.feeds.empty()


def _random_world(world: World, chance: random.Random) -> tuple[list[Listener], list[Entity]]:
    """People who are friends, half friends, blocked, hidden, gone, and in rooms or on their way."""
    people = [
        world.person(f"p{n}", hidden=chance.random() < 0.4, deleted=chance.random() < 0.1)
        for n in range(14)
    ]
    rooms = world.entities("room", 3)
    insert = (
        "insert into seda.friends (user_id, friend_user_id, relationship_type) values (%s, %s, %s)"
    )
    for one in people:
        for other in people:
            if one is not other:
                if chance.random() < 0.8:
                    world.sql(insert, one.id, other.id, "friend")
                if chance.random() < 0.05:
                    world.sql(insert, one.id, other.id, "block")
                if chance.random() < 0.1:
                    world.sql(insert, one.id, other.id, "follow")
    for each in people:
        for room in rooms:
            if chance.random() < 0.5:
                world.sql(
                    "insert into seda.room_presence (room_id, user_id, connections, joined_at, "
                    "held_until) values (%s, %s, %s, now() - %s * interval '1 s', "
                    "now() + %s * interval '1 min')",
                    *(room.id, each.id, chance.randint(0, 1), chance.randint(0, 5)),
                    chance.choice([-1, 1]),
                )
    return people, rooms


@pytest.mark.parametrize("seed", range(3))
def test_a_message_says_what_the_cards_say(world: World, seed: int) -> None:
    people, rooms = _random_world(world, random.Random(seed))
    sql = [each.replace("$1", "%s") for each in (CIRCLES, PRESENT)]
    ids = [each.id for each in people]
    circles, board = Circles(), Board()
    circles.load([each.hex for each in ids], world.sql(sql[0], ids))
    list(board.replace(world.sql(sql[1], datetime.now(UTC))))
    compared = 0
    for viewer in people:
        with world.as_person(viewer) as connection:
            seen = connection.execute(
                "select room_id, friend_count, friends from seda.friends_presence(%s)",
                [[room.id for room in rooms]],
            ).fetchall()
        cards = {room_id: (count, friends) for room_id, count, friends in seen}
        for room in rooms:
            if viewer.name in {p.name for p in people} and cards.get(room.id):
                compared += 1
            expected = viewer_block(*cards.get(room.id, (None, None)), room.name)
            gone = world.sql(
                "select 1 from seda.users where id = %s and deleted_at is not null", viewer.id
            )
            if not gone:
                assert board.block(circles.of(viewer.id.hex), room.id.hex, room.name) == expected
    assert compared > 10


def test_a_hidden_friend_who_is_not_counted_changes_no_byte(world: World) -> None:
    ada, alex = world.person("Ada"), world.person("Alex")
    shy = [world.person(f"shy {n}", hidden=True) for n in range(2)]
    room = world.entity("room", "electronic")
    world.befriend(ada, alex, *shy)
    circles, board = Circles(), Board()
    circles.load([ada.id.hex], world.sql(CIRCLES.replace("$1", "%s"), [ada.id]))
    board.came(alex.id.hex, room.id.hex, datetime.now(UTC))
    before = orjson.dumps(board.block(circles.of(ada.id.hex), room.id.hex, room.name))
    assert b"Alex" in before
    for each in shy:
        board.came(each.id.hex, room.id.hex, datetime.now(UTC))
        assert not circles.watchers(each.id.hex)
    after = orjson.dumps(board.block(circles.of(ada.id.hex), room.id.hex, room.name))
    assert after == before


def test_circles_forget_who_is_gone_and_know_whom_a_change_concerns() -> None:
    circles = Circles()
    people = [UUID(int=n) for n in range(4)]
    ada, ben, alex = (each.hex for each in people[:3])
    rows = [
        (viewer, friend, "x", None, friend == people[3])
        for viewer in people[:2]
        for friend in people[2:]
    ]
    circles.load([ada, ben], rows)
    assert set(circles.watchers(alex)) == {ada, ben}
    assert circles.stale(f"~{people[3]}") == {ada, ben}
    assert circles.stale(f"={people[0]} ={people[2]} rubbish ") == {ada}
    assert circles.stale("*") == {ada, ben}
    circles.forget(ada)
    circles.load([ben], [])
    assert not circles.watchers(alex)
    assert circles.of(ben) == Circle({}, frozenset())
    assert ada not in circles
