"""Toasts over the socket: who is told, in which session, and who is not any more."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from seda.database.regions import Region
from seda.notifications.arrivals import Arrival, load_candidates
from tests.serving.realtime_world import PATIENCE, Client, running
from tests.serving.serving_world import World

SENT = "select session_id, reason from seda.notification_log where decision = 'sent' order by 1"


async def toast(client: Client) -> dict:
    return await asyncio.wait_for(client.toasts.get(), PATIENCE)


async def test_the_first_friend_is_a_toast_and_the_next_one_is_too_soon(world: World) -> None:
    ada, alex, ben = (world.person(name) for name in ("Ada", "Alex", "Ben"))
    world.befriend(ada, alex, ben)
    room, other = world.entities("room", 2)
    async with running(world) as service:
        watching, stranger = await service.client(ada, "s1"), await service.client(ben)
        await (await service.client(alex)).ask("join", room)
        told = await toast(watching)
        assert datetime.now(UTC) - datetime.fromisoformat(told.pop("at")) < timedelta(minutes=1)
        assert len(told.pop("id")) == 36
        assert told == {
            "room_id": str(room.id),
            "moment": "first_friend",
            "text": "Alex is here — join them",
            "count": 1,
            "avatars": [{"name": "Alex", "avatar_url": "https://cdn.example/Alex.jpg"}],
            "overflow": 0,
        }
        await stranger.ask("join", other)
        await service.until(
            f"select decision, reason from seda.notification_log where entity_id = '{other.id}'",
            [("suppressed", "too_soon")],
        )
        assert watching.toasts.empty()
        assert stranger.toasts.empty()
    assert world.sql(SENT) == [("s1", "first_friend")]


@pytest.mark.parametrize(
    "row",
    [
        "connections = 0, held_until = now() + interval '1 minute', departure = 'said'",
        "connections = 0, held_until = now() + interval '1 minute', departure = 'lost'",
        "connections = 0, held_until = now() - interval '1 second'",
    ],
)
async def test_who_lingers_or_has_lapsed_makes_no_toast(world: World, row: str) -> None:
    ada, alex = world.person("Ada"), world.person("Alex")
    world.befriend(ada, alex)
    room = world.entity("room", "electronic")
    world.enter(room, alex)
    connection = await asyncpg.connect(world.databases[Region.GLOBAL].url)
    try:
        arrivals = [Arrival(alex.id, room.id)]
        assert len(await load_candidates(connection, arrivals, [ada.id])) == 1
        world.sql(f"update seda.room_presence set {row}")
        assert await load_candidates(connection, arrivals, [ada.id]) == []
    finally:
        await connection.close()


@pytest.mark.parametrize("idle_minutes", [29, 31])
async def test_a_session_ends_after_half_an_idle_hour(world: World, idle_minutes: int) -> None:
    ada = world.person("Ada")
    friends = [world.person(f"friend {n}") for n in range(4)]
    world.befriend(ada, *friends)
    rooms = world.entities("room", 4)
    start, passed = datetime.now(UTC), timedelta(0)
    async with running(world, clock=lambda: start + passed) as service:
        watching = await service.client(ada, "s1")
        acting = [await service.client(friend) for friend in friends]
        for n in range(3):
            await acting[n].ask("join", rooms[n])
            await toast(watching)
            passed += timedelta(minutes=11)
            await watching.io.call("presence:heartbeat", timeout=PATIENCE)
        passed += timedelta(minutes=idle_minutes)
        await watching.io.call("presence:heartbeat", timeout=PATIENCE)
        await acting[3].ask("join", rooms[3])
        if idle_minutes > 30:
            assert (await toast(watching))["room_id"] == str(rooms[3].id)
            assert world.sql(SENT)[-1][0] == "s1~2"
        else:
            await service.until(
                "select reason from seda.notification_log where decision = 'suppressed'",
                [("session_cap",)],
            )
