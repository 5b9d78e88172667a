"""What a feed is: its shape, order, pages, sources, and what it must never show."""

from datetime import UTC, datetime, timedelta

import pytest

from seda.database.regions import Region
from serving.documentation import FeedPage
from tests.serving.serving_world import World, names, open_api


async def test_a_feed_interleaves_the_types_and_has_the_agreed_shape(api, world: World) -> None:
    ada = world.person("Ada")
    rooms, playlists = world.entities("room", 3), world.entities("playlist", 1)
    generation = world.publish(ada, rooms, playlists, world.entities("artist", 2))
    response = await api.get("/feed", ada)
    page = response.json()
    assert response.headers["content-type"] == "application/json"
    assert names(page) == ["room 1", "playlist 1", "artist 1", "room 2", "artist 2", "room 3"]
    assert page["source"] == "personal"
    assert page["generation"] == generation
    assert page["next_cursor"] is None
    assert [item["rank"] for item in page["items"]] == [1, 2, 3, 4, 5, 6]
    assert set(page["items"][0]) == {
        "id", "entity_type", "entity_id", "name", "rank", "score", "reasons", "is_new",
        "model_version", "social",
    }  # fmt: skip
    assert page["items"][0]["social"] == {"text": "", "count": 0, "avatars": [], "overflow": 0}
    FeedPage.model_validate(page)


async def test_one_type_is_its_own_list(api, world: World) -> None:
    ada = world.person("Ada")
    world.publish(ada, world.entities("room", 2), world.entities("artist", 2))
    assert names(await api.page("/recommendations/artists", ada)) == ["artist 1", "artist 2"]
    assert names(await api.page("/recommendations/rooms", ada)) == ["room 1", "room 2"]
    assert (await api.get("/recommendations/songs", ada)).status_code == 422


async def test_pages_neither_repeat_nor_skip_while_generations_are_published(
    api, world: World
) -> None:
    ada = world.person("Ada")
    lists = [world.entities(type, 5) for type in ("room", "playlist", "artist")]
    world.publish(ada, *lists)
    whole = names(await api.page("/feed", ada))
    page = await api.page("/feed", ada, limit=4)
    seen, ranks = names(page), [item["rank"] for item in page["items"]]
    while page["next_cursor"]:
        newest = world.publish(ada, *[list(reversed(each)) for each in lists])
        page = await api.page("/feed", ada, limit=4, cursor=page["next_cursor"])
        assert page["generation"] < newest
        seen += names(page)
        ranks += [item["rank"] for item in page["items"]]
    assert seen == whole
    assert ranks == list(range(1, 16))
    assert names(await api.page("/feed", ada))[0] == "room 5"


async def test_a_dismissal_between_two_pages_opens_no_gap(api, world: World) -> None:
    ada = world.person("Ada")
    artists = world.entities("artist", 6)
    world.publish(ada, artists)
    page = await api.page("/recommendations/artists", ada, limit=2)
    world.suppress(ada, artists[0])
    world.suppress(ada, artists[2])
    page = await api.page("/recommendations/artists", ada, limit=2, cursor=page["next_cursor"])
    assert names(page) == ["artist 4", "artist 5"]


async def test_a_suppressed_entity_is_gone_on_the_next_request(api, world: World) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    artists = world.entities("artist", 4)
    for listener in (ada, ben):
        world.publish(listener, artists)
    world.genre_list("*", artists)
    await api.page("/feed", ada)
    world.suppress(ada, artists[1], timedelta(hours=24))
    world.suppress(ada, artists[2])
    world.suppress(ada, artists[3], timedelta(seconds=-1))
    assert names(await api.page("/feed", ada)) == ["artist 1", "artist 4"]
    assert len(names(await api.page("/feed", ben))) == 4
    world.sql("delete from seda.generation_pointer")
    assert names(await api.page("/feed", ada)) == ["artist 1", "artist 4"]


async def test_expired_lists_are_served_as_stale(api, world: World) -> None:
    ada = world.person("Ada", genres=("techno",))
    world.publish(ada, world.entities("artist", 3), lifetime=timedelta(seconds=-1))
    page = await api.page("/feed", ada, limit=2)
    assert page["source"] == "stale"
    assert (await api.page("/feed", ada, cursor=page["next_cursor"]))["source"] == "stale"


@pytest.mark.parametrize("region", list(Region))
async def test_nobodys_rows_mean_genre_lists_and_then_what_trends(
    api, world: World, region: Region
) -> None:
    techno, jazz, all_over = (
        [world.entity("artist", f"{genre} {n}") for n in (1, 2)]
        for genre in ("techno", "jazz", "*")
    )
    world.genre_list("techno", techno)
    world.genre_list("jazz", [techno[0], jazz[0]])
    world.genre_list("*", all_over)
    liking = world.person("Ada", region, genres=("jazz", "techno"))
    page = await api.page("/feed", liking, limit=2)
    assert page["source"] == "genre"
    assert page["generation"] is None
    assert names(page) == ["techno 1", "jazz 1"]
    assert page["items"][0]["reasons"] == [{"kind": "trending_in", "text": "Trending in jazz"}]
    assert page["items"][0]["is_new"] is True
    assert page["items"][0]["model_version"] == "genre-top"
    rest = await api.page("/feed", liking, limit=2, cursor=page["next_cursor"])
    assert names(rest) == ["techno 2"]
    assert rest["items"][0]["rank"] == 3
    stranger = world.person("Ben", region, genres=("polka",))
    page = await api.page("/feed", stranger)
    assert page["source"] == "trending"
    assert names(page) == ["* 1", "* 2"]
    assert page["items"][0]["reasons"][0]["text"] == "Trending everywhere"
    FeedPage.model_validate(page)


async def test_a_fall_back_list_leaves_out_ones_own_playlists(api, world: World) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    mine, other = world.entities("playlist", 2)
    world.sql("update seda.playlists set owner_user_id = %s where id = %s", ada.id, mine.id)
    world.genre_list("*", [mine, other])
    assert names(await api.page("/feed", ada)) == [other.name]
    assert names(await api.page("/feed", ben)) == [mine.name, other.name]


async def test_computed_top_genres_stand_in_for_chosen_ones(api, world: World) -> None:
    ada = world.person("Ada")
    world.genre_list("dub", world.entities("artist", 1))
    world.sql("insert into seda.user_profiles (user_id, top_genres) values (%s, '{dub}')", ada.id)
    assert (await api.page("/feed", ada))["source"] == "genre"


async def test_an_empty_world_gives_an_empty_feed(api, world: World) -> None:
    page = await api.page("/feed", world.person("Ada"))
    assert page == {"items": [], "next_cursor": None, "generation": None, "source": "trending"}


async def test_an_eu_listener_is_served_from_the_eu_database_alone(api, world: World) -> None:
    eva = world.person("Eva", Region.EU)
    world.publish(eva, world.entities("artist", 2))
    assert world.sql("select 1 from seda.users") == []
    assert names(await api.page("/feed", eva)) == ["artist 1", "artist 2"]


async def test_a_locked_or_broken_list_falls_back_instead_of_failing(api, world: World) -> None:
    ada = world.person("Ada")
    world.publish(ada, world.entities("artist", 2))
    world.genre_list("*", world.entities("room", 1))
    with world.databases[Region.GLOBAL].connect() as blocker:
        blocker.execute("lock table seda.mv_user_top_candidates in access exclusive mode")
        assert (await api.page("/feed", ada))["source"] == "trending"
    assert (await api.page("/feed", ada))["source"] == "personal"
    world.sql("alter table seda.mv_user_top_candidates rename to elsewhere")
    try:
        assert (await api.page("/feed", ada))["source"] == "trending"
    finally:
        world.sql("alter table seda.elsewhere rename to mv_user_top_candidates")


async def test_unknown_and_deleted_people_are_told_so(api, world: World) -> None:
    ada = world.person("Ada")
    world.sql("delete from seda.users")
    gone = await api.get("/feed", ada)
    assert (gone.status_code, gone.json()["code"]) == (404, "unknown_person")
    deleted = await api.get("/feed", world.person("Ben", deleted=True))
    assert (deleted.status_code, deleted.json()["code"]) == (410, "account_deleted")
    world.sql("delete from seda.region_directory")
    assert (await api.get("/feed", world.person("Eva"))).status_code == 200
    assert (await api.get("/feed", ada)).status_code == 404


async def test_a_cursor_is_good_for_one_person_one_endpoint_and_one_hour(world: World) -> None:
    offset = timedelta(0)
    ada, ben = world.person("Ada"), world.person("Ben")
    for listener in (ada, ben):
        world.publish(listener, world.entities("room", 3), world.entities("artist", 3))
    async with open_api(world, clock=lambda: datetime.now(UTC) + offset) as api:
        cursor = (await api.page("/feed", ada, limit=1))["next_cursor"]
        for bad in ("", "x", cursor[:-1], cursor[1:], "é" * 30, "a" * 5000):
            response = await api.get("/feed", ada, cursor=bad)
            assert (response.status_code, response.json()["code"]) == (400, "bad_cursor")
        assert (await api.get("/feed", ben, cursor=cursor)).status_code == 400
        assert (await api.get("/recommendations/rooms", ada, cursor=cursor)).status_code == 400
        offset = timedelta(minutes=59)
        assert (await api.get("/feed", ada, cursor=cursor)).status_code == 200
        offset = timedelta(minutes=61)
        headers = {"Authorization": f"Bearer {world.token(ada, datetime.now(UTC) + offset)}"}
        old = await api.client.get("/feed", params={"cursor": cursor}, headers=headers)
        assert (old.status_code, old.json()["code"]) == (410, "expired_cursor")


async def test_a_cursor_of_a_dropped_generation_is_410(api, world: World) -> None:
    ada = world.person("Ada")
    world.publish(ada, world.entities("room", 3))
    page = await api.page("/feed", ada, limit=1)
    world.publish(ada, world.entities("room", 3))
    world.drop_generation(page["generation"])
    dropped = await api.get("/feed", ada, cursor=page["next_cursor"])
    assert (dropped.status_code, dropped.json()["code"]) == (410, "expired_cursor")
