"""Whose presence a card shows, counts, and keeps to itself (SOC-4)."""

from seda.database.regions import Region
from tests.serving.serving_world import Listener, World


async def _social(api, viewer: Listener) -> dict:
    page = await api.page("/recommendations/rooms", viewer)
    return page["items"][0]["social"]


async def test_one_friend_is_named_and_more_are_counted(api, world: World) -> None:
    ada, alex = world.person("Ada"), world.person("Alex")
    room = world.entity("room", "electronic")
    world.publish(ada, [room])
    world.befriend(ada, alex)
    world.enter(room, alex)
    assert await _social(api, ada) == {
        "text": "Alex is here — join them",
        "count": 1,
        "avatars": [{"name": "Alex", "avatar_url": "https://cdn.example/Alex.jpg"}],
        "overflow": 0,
    }
    more = [world.person(f"friend {n}") for n in range(5)]
    world.befriend(ada, *more)
    world.enter(room, *more)
    social = await _social(api, ada)
    assert social["text"] == "6 of your friends are in #electronic right now"
    assert [each["name"] for each in social["avatars"]] == [
        "Alex", "friend 0", "friend 1", "friend 2",
    ]  # fmt: skip
    assert (social["count"], social["overflow"]) == (6, 2)


async def test_fall_back_lists_show_friends_too(api, world: World) -> None:
    ada, alex = world.person("Ada", Region.EU), world.person("Alex", Region.EU)
    room = world.entity("room", "electronic")
    world.genre_list("*", [room])
    world.befriend(ada, alex)
    world.enter(room, alex)
    assert (await _social(api, ada))["count"] == 1


async def test_strangers_followed_and_blocked_people_are_not_friends(api, world: World) -> None:
    ada = world.person("Ada")
    room = world.entity("room", "electronic")
    world.publish(ada, [room])
    stranger, followed = world.person("Stranger"), world.person("Followed")
    blocked, blocking = world.person("Blocked"), world.person("Blocking")
    gone = world.person("Gone", deleted=True)
    world.befriend(ada, followed, kind="follow")
    world.befriend(ada, blocked, blocking, gone)
    world.befriend(ada, blocked, kind="block")
    world.befriend(blocking, ada, kind="block")
    world.enter(room, stranger, followed, blocked, blocking, gone, ada)
    assert (await _social(api, ada))["count"] == 0


async def test_hidden_friends_count_only_beside_a_visible_one_and_in_a_crowd(
    api, world: World
) -> None:
    ada, alex = world.person("Ada"), world.person("Alex")
    room = world.entity("room", "electronic")
    world.publish(ada, [room])
    hidden = [world.person(f"hidden {n}", hidden=True) for n in range(3)]
    world.befriend(ada, alex, *hidden[:2])
    world.enter(room, *hidden)
    assert (await _social(api, ada))["count"] == 0  # nobody visible
    world.enter(room, alex)
    assert (await _social(api, ada))["count"] == 1  # only two friends hide
    world.befriend(ada, hidden[2])
    social = await _social(api, ada)
    assert (social["count"], social["overflow"]) == (4, 3)
    assert [each["name"] for each in social["avatars"]] == ["Alex"]
    world.sql("delete from seda.room_presence where user_id = %s", alex.id)
    assert (await _social(api, ada))["count"] == 0  # three hide, and nobody is visible


async def test_an_unreadable_setting_hides_and_breaks_nobodys_feed(api, world: World) -> None:
    ada, alex = world.person("Ada"), world.person("Alex")
    room = world.entity("room", "electronic")
    world.publish(ada, [room])
    world.befriend(ada, alex)
    world.enter(room, alex)
    for setting in ('"maybe"', "[]", "null", "1"):
        world.sql(
            "update seda.users set privacy_settings = %s where id = %s",
            f'{{"hide_presence": {setting}}}',
            alex.id,
        )
        page = await api.page("/recommendations/rooms", ada)
        assert page["source"] == "personal"
        assert page["items"][0]["social"]["count"] == 0


def test_a_person_reads_presence_only_through_the_function(world: World) -> None:
    ada, alex = world.person("Ada"), world.person("Alex")
    room = world.entity("room", "electronic")
    world.befriend(ada, alex)
    world.enter(room, alex)
    with world.as_person(ada) as connection:
        assert connection.execute("select * from seda.room_presence").fetchall() == []
        rows = connection.execute(
            "select room_id, friend_count from seda.friends_presence(array[%s])", [room.id]
        ).fetchall()
    assert rows == [(room.id, 1)]
