"""Presence over Socket.IO: real clients, a real server, and the rows behind an acknowledgement."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import socketio

from seda.database.regions import Region
from tests.serving.realtime_world import Client, Service, running
from tests.serving.serving_world import Entity, Listener, World


@pytest.fixture
async def service(world: World) -> AsyncIterator[Service]:
    async with running(world) as service:
        yield service


PRESENT = "select connections from seda.room_presence"
EVENTS = "select kind from seda.social_events order by id"


async def test_a_join_is_committed_before_it_is_acknowledged(
    service: Service, world: World
) -> None:
    ada, room = world.person("Ada"), world.entity("room", "electronic")
    client = await service.client(ada)
    event_id = uuid4()
    assert await client.ask("join", room, event_id) == {"ok": True, "event_id": str(event_id)}
    assert world.sql("select room_id, user_id from seda.room_presence") == [(room.id, ada.id)]
    assert world.sql(
        "select event_id, user_id, kind, entity_type, entity_id from seda.social_events"
    ) == [(event_id, ada.id, "join", "room", room.id)]
    assert world.sql("select event_id, user_id from seda.event_receipts") == [(event_id, ada.id)]
    assert (await client.ask("leave", room))["ok"] is True
    assert world.sql(PRESENT) == []
    assert world.sql(EVENTS) == [("join",), ("leave",)]


async def test_an_intent_happens_once_and_its_id_stands_for_nothing_else(
    service: Service, world: World
) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    room, other = world.entities("room", 2)
    client, bens = await service.client(ada), await service.client(ben)
    event_id = uuid4()
    answers = await asyncio.gather(*(client.ask("join", room, event_id) for _ in range(5)))
    assert answers == [{"ok": True, "event_id": str(event_id)}] * 5
    for sender, kind, where in (
        (client, "leave", room), (client, "join", other), (bens, "join", room),
    ):  # fmt: skip
        answer = await sender.ask(kind, where, event_id)
        assert answer["ok"] is False
        assert (answer["problem"]["status"], answer["problem"]["code"]) == (409, "event_id_reused")
    assert world.sql(PRESENT) == [(1,)]
    assert world.sql(EVENTS) == [("join",)]


async def test_a_repeated_join_moves_a_new_connection_in(service: Service, world: World) -> None:
    ada, room = world.person("Ada"), world.entity("room", "electronic")
    first = await service.client(ada)
    event_id = uuid4()
    await first.ask("join", room, event_id)
    await first.io.disconnect()
    await service.until(PRESENT, [])
    second = await service.client(ada)
    assert (await second.ask("join", room, event_id))["ok"] is True
    assert world.sql(PRESENT) == [(1,)]
    assert world.sql(EVENTS) == [("join",), ("leave",)]


@pytest.mark.parametrize("data", [None, "x", [], {}, {"event_id": "x", "room_id": "y"}, 7])
async def test_a_malformed_intent_is_a_problem(service: Service, world: World, data: Any) -> None:
    client = await service.client(world.person("Ada"))
    answer = await client.send("join", data)
    assert (answer["ok"], answer["problem"]["code"]) == (False, "invalid_intent")


async def test_an_unknown_room_leaves_no_receipt(service: Service, world: World) -> None:
    client = await service.client(world.person("Ada"))
    answer = await client.ask("join", Entity("room", uuid4(), "nowhere"))
    assert (answer["ok"], answer["problem"]["code"]) == (False, "unknown_room")
    assert world.sql("select 1 from seda.event_receipts") == []


async def test_presence_ends_with_the_last_connection(service: Service, world: World) -> None:
    ada, room = world.person("Ada"), world.entity("room", "electronic")
    phone, laptop = await service.client(ada), await service.client(ada)
    for client in (phone, laptop):
        await client.ask("join", room)
        await client.ask("join", room)  # again: this connection is inside already
    assert world.sql(PRESENT) == [(2,)]
    await phone.io.disconnect()
    await service.until(PRESENT, [(1,)])
    await laptop.io.disconnect()
    await service.until(PRESENT, [])
    await service.until("select kind from seda.social_events where kind = 'leave'", [("leave",)])


async def test_only_the_actors_visible_friends_are_told(service: Service, world: World) -> None:
    ada, alex = world.person("Ada"), world.person("Alex")
    room = world.entity("room", "electronic")
    stranger, follower = world.person("Stranger"), world.person("Follower")
    blocked, blocking = world.person("Blocked"), world.person("Blocking")
    world.befriend(alex, ada, blocked, blocking)
    world.befriend(follower, alex, kind="follow")
    world.befriend(alex, blocked, kind="block")
    world.befriend(blocking, alex, kind="block")
    others = [await service.client(each) for each in (stranger, follower, blocked, blocking)]
    watching, acting = await service.client(ada), await service.client(alex)
    await acting.ask("join", room)
    message = await watching.message()
    assert message["rooms"] == [
        {
            "room_id": str(room.id),
            "text": "Alex is here — join them",
            "count": 1,
            "avatars": [{"name": "Alex", "avatar_url": "https://cdn.example/Alex.jpg"}],
            "overflow": 0,
            "changes": 1,
        }
    ]
    assert timedelta(0) < datetime.now(UTC) - datetime.fromisoformat(message["since"])
    await acting.io.disconnect()
    assert (await watching.room())["count"] == 0
    assert [client.messages.qsize() for client in (*others, acting)] == [0] * 5


async def test_who_hides_presence_tells_nobody(service: Service, world: World) -> None:
    ada, alex = world.person("Ada"), world.person("Alex")
    shy = world.person("Shy", hidden=True)
    room = world.entity("room", "electronic")
    world.befriend(ada, alex, shy)
    watching = await service.client(ada)
    hidden, visible = await service.client(shy), await service.client(alex)
    assert (await hidden.ask("join", room))["ok"] is True
    assert (await hidden.ask("leave", room))["ok"] is True
    await visible.ask("join", room)  # messages go out in order: this one is the first
    message = await watching.room()
    assert [face["name"] for face in message["avatars"]] == ["Alex"]
    assert watching.messages.empty()


async def test_eu_listeners_live_in_the_eu_database(service: Service, world: World) -> None:
    eva, emil = world.person("Eva", Region.EU), world.person("Emil", Region.EU)
    room = world.entity("room", "electronic")
    world.befriend(eva, emil)
    watching, acting = await service.client(eva), await service.client(emil)
    await acting.ask("join", room)
    assert (await watching.room())["count"] == 1
    assert world.sql(PRESENT) == []
    assert world.sql(PRESENT, region=Region.EU) == [(1,)]


async def test_the_service_takes_its_connections_out_when_it_stops(world: World) -> None:
    room = world.entity("room", "electronic")
    async with running(world) as service:
        client = await service.client(world.person("Ada"))
        await client.ask("join", room)
        service.clients.clear()  # still connected when the service stops
    assert world.sql(PRESENT) == []
    assert world.sql(EVENTS) == [("join",), ("leave",)]


async def test_a_connection_needs_a_good_token_a_session_and_a_listener(
    service: Service, world: World
) -> None:
    ada, gone = world.person("Ada"), world.person("Gone", deleted=True)
    expired = world.token(ada, datetime.now(UTC) - timedelta(hours=2))
    unknown = Listener(uuid4(), uuid4(), Region.GLOBAL, "Unknown")
    for auth in (
        None, "x", {}, {"token": world.token(ada)}, {"session_id": "s"},
        {"token": world.token(ada), "session_id": ""},
        {"token": "x", "session_id": "s"},
        {"token": expired, "session_id": "s"},
        {"token": world.token(unknown), "session_id": "s"},
        {"token": world.token(gone), "session_id": "s"},
    ):  # fmt: skip
        with pytest.raises(socketio.exceptions.ConnectionError):
            await Client(service.url).connect(auth)


async def test_who_also_joined_over_http_stays_when_the_connection_goes(
    service: Service, world: World
) -> None:
    ada, room = world.person("Ada"), world.entity("room", "electronic")
    client = await service.client(ada)
    await client.ask("join", room)
    world.sql("update seda.room_presence set held_until = now() + interval '1 minute'")
    await client.io.disconnect()
    state = "select connections, held_until is not null from seda.room_presence"
    await service.until(state, [(0, True)])
    again = await service.client(ada)
    await again.ask("join", room)
    await service.until(PRESENT, [(1,)])


@pytest.mark.parametrize("region", list(Region))
async def test_a_join_over_http_that_was_never_left_ends(world: World, region: Region) -> None:
    ada, ben = world.person("Ada", region), world.person("Ben", region)
    room = world.entity("room", "electronic")
    world.enter(room, ada, ben)
    world.sql(
        "update seda.room_presence set connections = (user_id = %s)::int, "
        "held_until = now() - interval '1 second'",
        ben.id,
        region=region,
    )
    async with running(world) as service:
        rest = "select user_id, held_until from seda.room_presence"
        await service.until(rest, [(ben.id, None)], region)
