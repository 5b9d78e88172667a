"""What happened since a list was published moves its items at once, and every page keeps its word.

Who may be seen is in `test_presence`; the arithmetic in `tests/feedback/test_live_order`.
"""

from datetime import timedelta

from seda.database.regions import Region
from tests.serving.serving_world import World, names


def _news(world: World, type: str, count: int, every: int = 3) -> list:
    """Entities of which each `every`th is new."""
    return [
        world.entity(type, f"{type} {number}", is_new=number % every == 0)
        for number in range(1, count + 1)
    ]


async def test_a_room_with_friends_rises_and_says_why(api, world: World) -> None:
    ada, alex, ben = (world.person(name) for name in ("Ada", "Alex", "Ben"))
    rooms = world.entities("room", 12)
    world.publish(ada, rooms)
    world.befriend(ada, alex, ben)
    world.enter(rooms[7], alex)
    page = await api.page("/recommendations/rooms", ada)
    assert names(page).index("room 8") == 4  # half of eight places
    assert page["items"][4]["social"]["text"] == "Alex is here — join them"
    world.enter(rooms[7], ben)
    assert names(await api.page("/recommendations/rooms", ada)).index("room 8") == 2
    world.sql("update seda.room_presence set last_seen_at = now() - interval '6 hours'")
    assert names(await api.page("/recommendations/rooms", ada)) == [room.name for room in rooms]


async def test_a_friend_who_hides_moves_nothing_not_a_byte(api, world: World) -> None:
    ada, alex, hidden = world.person("Ada"), world.person("Alex"), world.person("H", hidden=True)
    rooms = world.entities("room", 12)
    world.publish(ada, rooms)
    world.befriend(ada, alex, hidden)
    world.enter(rooms[7], alex)
    world.sql("update seda.room_presence set last_seen_at = now() - interval '6 hours'")

    async def bodies() -> list[bytes]:
        world.sql("delete from seda.impression_pages")
        return [(await api.get(path, ada)).content for path in ("/feed", "/recommendations/rooms")]

    before = await bodies()
    for room in rooms:
        world.enter(room, hidden)
        assert await bodies() == before
    world.sql("delete from seda.room_presence where user_id = %s", hidden.id)
    assert await bodies() == before


async def test_hidden_friends_who_are_counted_still_move_nothing(api, world: World) -> None:
    ada, alex = world.person("Ada"), world.person("Alex")
    hidden = [world.person(f"hidden {n}", hidden=True) for n in range(3)]
    rooms = world.entities("room", 12)
    world.publish(ada, rooms)
    world.befriend(ada, alex, *hidden)
    world.enter(rooms[7], alex)
    alone = names(await api.page("/recommendations/rooms", ada))
    world.sql("delete from seda.impression_pages")
    world.enter(rooms[7], *hidden)
    page = await api.page("/recommendations/rooms", ada)
    assert names(page) == alone
    assert page["items"][alone.index("room 8")]["social"]["count"] == 4


async def test_a_listen_lifts_its_genre_and_a_skip_sinks_at_once(api, world: World) -> None:
    ada = world.person("Ada", Region.EU)
    artists = [
        world.entity("artist", f"artist {n}", genre="techno" if n in (5, 9) else "jazz")
        for n in range(1, 11)
    ]
    elsewhere = world.entity("room", "a room", genre="techno")
    world.publish(ada, artists)
    world.does(ada, "listen_30s", elsewhere)
    world.does(ada, "track_skip", artists[0])
    for nonsense in ("", "not an id", "0" * 36, str(ada.id)):
        world.does(ada, "listen_30s", nonsense)
    page = await api.page("/recommendations/artists", ada)
    assert names(page)[:5] == ["artist 2", "artist 5", "artist 3", "artist 4", "artist 1"]
    assert names(page).index("artist 9") == 6
    assert page["items"][1]["reasons"] == [
        {"kind": "listened", "text": "You just listened to techno"},
        {"kind": "fits_taste", "text": "Because it fits"},
    ]
    assert all(
        reason["kind"] != "listened"
        for item in page["items"]
        if item["name"] not in ("artist 5", "artist 9")
        for reason in item["reasons"]
    )
    world.sql(
        "update seda.fact_events set created_at = now() - interval '25 hours'", region=Region.EU
    )
    world.sql("delete from seda.impression_pages", region=Region.EU)
    assert names(await api.page("/recommendations/artists", ada)) == [a.name for a in artists]


async def test_nobody_elses_events_or_showings_move_a_list(api, world: World) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    artists = world.entities("artist", 10)
    for listener in (ada, ben):
        world.publish(listener, artists)
    for _ in range(3):
        await api.page("/recommendations/artists", ben, limit=3)
    world.does(ben, "track_skip", artists[0])
    assert names(await api.page("/recommendations/artists", ada)) == [a.name for a in artists]


async def test_what_was_shown_in_vain_gives_way_by_a_few_places(api, world: World) -> None:
    ada = world.person("Ada")
    artists = world.entities("artist", 12)
    world.publish(ada, artists)
    pages = []
    for _ in range(30):
        pages.append(names(await api.page("/recommendations/artists", ada, limit=3)))
        world.sql("update seda.impression_pages set shown_at = shown_at - interval '11 minutes'")
    assert pages[0] == pages[1] == ["artist 1", "artist 2", "artist 3"]
    assert pages[2] == ["artist 1", "artist 2", "artist 4"]  # two showings weigh two places
    assert {name for page in pages for name in page} <= {f"artist {n}" for n in range(1, 9)}
    assert pages[-1] == pages[0]  # at most five places: everything near the top is as tired


async def test_a_page_that_is_read_again_soon_was_shown_once(api, world: World) -> None:
    ada = world.person("Ada")
    world.publish(ada, world.entities("artist", 12))
    pages = [await api.page("/recommendations/artists", ada, limit=3) for _ in range(8)]
    assert {tuple(names(page)) for page in pages} == {("artist 1", "artist 2", "artist 3")}
    assert world.sql("select count(*) from seda.impressions") == [(24,)]


async def test_pages_lose_and_repeat_nothing_while_everything_moves(api, world: World) -> None:
    ada, alex = world.person("Ada"), world.person("Alex")
    lists = [_news(world, type, 20) for type in ("room", "playlist", "artist")]
    everything = {entity.name for each in lists for entity in each}
    world.publish(ada, *lists)
    world.befriend(ada, alex)
    page = await api.page("/feed", ada, limit=7)
    first_generation, seen, ranks = page["generation"], names(page), []
    for step in range(1, 30):
        if page["next_cursor"] is None:
            break
        world.enter(lists[0][-step], alex)
        world.does(ada, "track_skip", lists[1][step])
        world.does(ada, "rec_click", lists[2][step])
        await api.page("/feed", ada)  # another device: what it is shown counts, and repeats nothing
        if step < 4:
            world.publish(ada, *[list(reversed(each)) for each in lists])
        page = await api.page("/feed", ada, limit=7, cursor=page["next_cursor"])
        assert page["generation"] == first_generation
        seen += names(page)
        ranks += [item["rank"] for item in page["items"]]
    assert sorted(seen) == sorted(everything)
    assert ranks == list(range(8, 61))


async def test_the_quota_holds_in_the_mixed_feed_after_moves_and_dismissals(
    api, world: World
) -> None:
    ada, alex = world.person("Ada"), world.person("Alex")
    lists = [_news(world, type, 20, every=4) for type in ("room", "playlist", "artist")]
    world.publish(ada, *lists)
    world.befriend(ada, alex)
    for room in lists[0][:3]:
        world.enter(room, alex)
    for entity in (lists[0][3], lists[1][3], lists[1][7]):  # new ones
        world.suppress(ada, entity)
    new: list[bool] = []
    cursor = None
    for _ in range(2):
        page = await api.page("/feed", ada, limit=15, **({"cursor": cursor} if cursor else {}))
        new += [item["is_new"] for item in page["items"]]
        assert sum(item["is_new"] for item in page["items"]) >= 5
        cursor = page["next_cursor"]
    for prefix in range(1, 31):
        assert sum(new[:prefix]) >= 3 * prefix // 10


async def test_a_dismissal_taken_back_between_pages_leaves_no_gap(api, world: World) -> None:
    ada = world.person("Ada")
    artists = world.entities("artist", 6)
    world.publish(ada, artists)
    world.suppress(ada, artists[0])
    page = await api.page("/recommendations/artists", ada, limit=2)
    assert names(page) == ["artist 2", "artist 3"]
    world.sql("delete from seda.suppressions")
    page = await api.page("/recommendations/artists", ada, limit=2, cursor=page["next_cursor"])
    assert names(page) == ["artist 1", "artist 4"]


async def test_a_fall_back_list_that_is_refreshed_between_pages_repeats_nothing(
    api, world: World
) -> None:
    ada = world.person("Ada", genres=("dub",))
    artists = world.entities("artist", 7)
    world.genre_list("dub", artists)
    page = await api.page("/feed", ada, limit=3)
    seen = names(page)
    while page["next_cursor"]:
        world.sql("update seda.genre_top_entities set rank = 8 - rank")
        page = await api.page("/feed", ada, limit=3, cursor=page["next_cursor"])
        seen += names(page)
    assert sorted(seen) == sorted(artist.name for artist in artists)


async def test_a_generation_from_before_the_order_columns_is_served(api, world: World) -> None:
    ada = world.person("Ada")
    artists = _news(world, "artist", 6, every=6)
    world.publish(ada, artists)
    world.sql("update seda.mv_user_top_candidates set is_new = null, genres = null")
    world.does(ada, "listen_30s", artists[0], timedelta(minutes=5))
    page = await api.page("/feed", ada)
    assert [item["is_new"] for item in page["items"]].index(True) == 3  # ⌊0.3 · 4⌋ = 1


async def test_each_type_comes_from_the_generation_that_is_served_of_it(api, world: World) -> None:
    ada = world.person("Ada")
    room, old, new = (
        world.entity("room", "electronic"),
        world.entity("artist", "Autechre"),
        world.entity("artist", "Boards"),
    )
    first = world.publish(ada, [room], [old])
    world.publish(ada, [new])
    assert names(await api.page("/feed", ada)) == ["electronic", "Boards"]
    world.sql("update seda.generation_pointer set generation = %s", first)
    assert names(await api.page("/feed", ada)) == ["electronic", "Autechre"]
