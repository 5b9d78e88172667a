"""A friend's hidden presence, switched on and off: no byte of a feed or of a message tells (SOC-4).

Where fewer than three friends hide, or nobody visible is there, who hides is not counted: the feed
and the messages are those of a world in which they are elsewhere.
"""

from typing import Any

import orjson
import pytest

from tests.serving.realtime_world import Client, running
from tests.serving.serving_world import Api, Entity, Listener, World

HIDE = "update seda.users set privacy_settings = %s where id = %s"
HIDDEN, SHOWN = '{"hide_presence": true}', '{"hide_presence": false}'


class Evening:
    """Ada watches three rooms; her friends come and go."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ada = world.person("Ada")
        self.alex, self.bea = world.person("Alex"), world.person("Bea")
        self.shy = world.person("Shy")
        self.rooms = world.entities("room", 3)
        world.befriend(self.ada, self.alex, self.bea, self.shy)
        world.publish(self.ada, self.rooms)

    def switch(self, setting: str) -> None:
        self.world.sql(HIDE, setting, self.shy.id)

    async def feed(self, api: Api) -> bytes:
        """The rooms as they are sent, but for what names this one request."""
        page = await api.get("/recommendations/rooms", self.ada)
        assert page.status_code == 200
        document = orjson.loads(page.content)
        return orjson.dumps([(item["entity_id"], item["social"]) for item in document["items"]])


async def _rooms(client: Client, changes: int) -> list[bytes]:
    """What the next messages say of rooms, until so many changes were told."""
    said: list[bytes] = []
    while changes > 0:
        for room in (await client.message())["rooms"]:
            changes -= room["changes"]
            said.append(orjson.dumps(room))
    assert changes == 0
    return said


async def _evening(world: World, room: int | None) -> list[bytes]:
    """What Ada hears while Alex and Bea come to the second room, and Shy, who hides, to a room."""
    world.clear()
    evening = Evening(world)
    evening.switch(HIDDEN)
    techno = evening.rooms[1]
    async with running(world, presence_linger_ms=0) as service:
        watching = await service.client(evening.ada)
        alex, bea, shy = [
            await service.client(each) for each in (evening.alex, evening.bea, evening.shy)
        ]
        said = []
        for friend, kind in ((alex, "join"), (bea, "join"), (alex, "leave"), (bea, "leave")):
            if room is not None:
                assert (await shy.ask(kind, evening.rooms[room]))["ok"]
            assert (await friend.ask(kind, techno))["ok"]
            said += await _rooms(watching, 1)
        assert watching.messages.empty()
    places = {str(each.id): str(place) for place, each in enumerate(evening.rooms)}
    return [_placed(each, places) for each in said]


def _placed(said: bytes, places: dict[str, str]) -> bytes:
    """With the room's number in place of its id, which each world makes anew."""
    document: dict[str, Any] = orjson.loads(said)
    document["room_id"] = places[document["room_id"]]
    return orjson.dumps(document)


@pytest.mark.parametrize("room", [0, 1])
async def test_messages_are_those_of_an_evening_without_them(world: World, room: int) -> None:
    with_them = await _evening(world, room)
    assert with_them == await _evening(world, None)
    assert [orjson.loads(each)["count"] for each in with_them] == [1, 2, 1, 0]


@pytest.mark.parametrize("beside_a_visible_friend", [True, False])
async def test_switching_on_off_and_on_again_comes_back_to_the_same_bytes(
    api: Api, world: World, beside_a_visible_friend: bool
) -> None:
    evening = Evening(world)
    where: Entity = evening.rooms[2]
    here: list[Listener] = [evening.alex] if beside_a_visible_friend else []
    world.enter(where, *here)
    evening.switch(HIDDEN)
    without = await evening.feed(api)
    world.enter(where, evening.shy)
    assert await evening.feed(api) == without
    evening.switch(SHOWN)
    shown = await evening.feed(api)
    assert shown != without
    assert orjson.loads(shown)[0][0] == str(where.id)
    evening.switch(HIDDEN)
    assert await evening.feed(api) == without


async def test_a_connected_viewer_sees_them_vanish_and_then_no_trace(world: World) -> None:
    evening = Evening(world)
    techno = evening.rooms[1]
    async with running(world, presence_linger_ms=0) as service:
        watching = await service.client(evening.ada)
        alex, shy = await service.client(evening.alex), await service.client(evening.shy)
        await alex.ask("join", techno)
        (alone,) = await _rooms(watching, 1)
        await shy.ask("join", techno)
        await _rooms(watching, 1)
        evening.switch(HIDDEN)
        (told,) = (await watching.message())["rooms"]
        assert told["changes"] == 0  # nobody moved
        assert {**told, "changes": 1} == orjson.loads(alone)
        await shy.ask("leave", techno)
        await shy.ask("join", techno)
        await alex.ask("leave", techno)
        (last,) = await _rooms(watching, 1)
        assert orjson.loads(last)["count"] == 0
        assert watching.messages.empty()
