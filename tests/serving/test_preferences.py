"""Preferences are one document; devices belong to who registered them last."""

from typing import Any

import pytest

from seda.database.regions import Region
from tests.serving.serving_world import Api, World, names

DOCUMENT = {
    "genres": ["techno", "jazz"],
    "languages": ["pt", "en"],
    "time_zone": "Europe/Lisbon",
    "hide_presence": True,
    "recommendations": False,
    "push_opt_in": True,
    "toasts_enabled": False,
    "quiet_hours": {"from": "22:00", "to": "07:30"},
}


@pytest.mark.parametrize("region", list(Region))
async def test_the_document_is_replaced_and_counts_at_once(
    api: Api, world: World, region: Region
) -> None:
    ada, ben = world.person("Ada", region), world.person("Ben", region)
    for genre in ("techno", "jazz"):
        world.genre_list(genre, [world.entity("artist", genre)])
    assert await api.page("/preferences", ada) == {
        "genres": [],
        "languages": [],
        "time_zone": "UTC",
        "hide_presence": False,
        "recommendations": True,
        "push_opt_in": False,
        "toasts_enabled": True,
        "quiet_hours": None,
    }
    world.sql("update seda.users set preferences = '{\"other\": 1}'", region=region)
    response = await api.call("PUT", "/preferences", ada, json=DOCUMENT)
    assert response.status_code == 200, response.text
    assert response.json() == DOCUMENT == await api.page("/preferences", ada)
    assert names(await api.page("/feed", ada)) == ["techno", "jazz"]
    ((preferences, privacy),) = world.sql(
        "select preferences, privacy_settings from seda.users where id = %s", ada.id, region=region
    )
    assert preferences == {"other": 1, "genres": ["techno", "jazz"], "languages": ["pt", "en"]}
    assert privacy == {"hide_presence": True, "recommendations": False}
    assert world.sql("select user_id from seda.notification_preferences", region=region) == [
        (ada.id,)
    ]
    assert (await api.page("/preferences", ben))["hide_presence"] is False
    later = {**DOCUMENT, "quiet_hours": None, "hide_presence": False}
    assert (await api.call("PUT", "/preferences", ada, json=later)).json() == later


async def test_hiding_presence_counts_on_a_friends_next_request(api: Api, world: World) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    room = world.entity("room", "electronic")
    world.befriend(ada, ben)
    world.publish(ada, [room])
    world.enter(room, ben)
    shown = (await api.page("/feed", ada))["items"][0]["social"]
    assert shown["count"] == 1
    hiding = {**DOCUMENT, "genres": []}
    assert (await api.call("PUT", "/preferences", ben, json=hiding)).status_code == 200
    assert (await api.page("/feed", ada))["items"][0]["social"]["count"] == 0


async def test_opting_out_ends_the_published_lists_too(api: Api, world: World) -> None:
    ada = world.person("Ada")
    world.publish(ada, world.entities("room", 3))
    first = await api.page("/feed", ada, limit=2)
    assert first["source"] == "personal"
    assert (await api.call("PUT", "/preferences", ada, json=DOCUMENT)).status_code == 422
    out = {**DOCUMENT, "genres": []}
    assert (await api.call("PUT", "/preferences", ada, json=out)).status_code == 200
    assert (await api.page("/feed", ada))["source"] == "trending"
    path = f"/feed?cursor={first['next_cursor']}"
    assert (await api.call("GET", path, ada)).status_code == 410
    assert await api.call("PUT", "/preferences", ada, json={**out, "recommendations": True})
    assert (await api.page("/feed", ada))["source"] == "personal"


async def test_a_malformed_setting_reads_as_the_cautious_one(api: Api, world: World) -> None:
    ada = world.person("Ada")
    world.sql(
        """update seda.users set preferences = '{"genres": "all", "languages": [1]}',
           privacy_settings = '{"hide_presence": "no", "recommendations": 0}'"""
    )
    document = await api.page("/preferences", ada)
    assert (document["genres"], document["languages"]) == ([], [])
    assert document["hide_presence"] is True
    assert document["recommendations"] is True


@pytest.mark.parametrize(
    "members",
    [
        {"genres": ["polka"]}, {"genres": None}, {"time_zone": "Mars"}, {"time_zone": "utc\x00"},
        {"languages": ["Portuguese"]}, {"hide_presence": "sometimes"}, {"colour": "blue"},
        {"quiet_hours": {"from": "22:00"}}, {"quiet_hours": {"from": "22:00:30", "to": "07:00"}},
        {"quiet_hours": {"from": "25:00", "to": "07:00"}}, {"role": "admin"},
        {"quiet_hours": {"from": "22:00Z", "to": "07:00Z"}},
    ],
)  # fmt: skip
async def test_a_bad_document_is_refused_whole(
    api: Api, world: World, members: dict[str, Any]
) -> None:
    ada = world.person("Ada")
    body = {**DOCUMENT, "genres": [], **members}
    assert (await api.call("PUT", "/preferences", ada, json=body)).status_code == 422
    partial = {"hide_presence": True}
    assert (await api.call("PUT", "/preferences", ada, json=partial)).status_code == 422
    assert (await api.page("/preferences", ada))["hide_presence"] is False


async def test_the_deleted_choose_nothing(api: Api, world: World) -> None:
    gone = world.person("Gone", deleted=True)
    assert (await api.get("/preferences", gone)).status_code == 410
    assert (await api.call("PUT", "/preferences", gone, json=DOCUMENT)).status_code == 410
    device = {"token": "device-token", "platform": "ios"}
    assert (await api.call("POST", "/devices", gone, json=device)).status_code == 410


async def test_a_device_belongs_to_who_registered_it_last(api: Api, world: World) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    device = {"token": "fcm:token-of-one-device", "platform": "ios"}
    path = f"/devices/{device['token']}"
    assert (await api.call("POST", "/devices", ada, json=device)).status_code == 201
    assert (await api.call("POST", "/devices", ada, json=device)).status_code == 200
    moved = await api.call("POST", "/devices", ben, json={**device, "platform": "android"})
    assert (moved.status_code, moved.json()) == (200, {"platform": "android"})
    assert world.sql("select user_id, platform from seda.device_tokens") == [(ben.id, "android")]
    assert (await api.call("DELETE", path, ada)).status_code == 404
    assert (await api.call("DELETE", path, ben)).status_code == 204
    assert (await api.call("DELETE", path, ben)).status_code == 404


@pytest.mark.parametrize(
    "members",
    [
        {"token": "short"}, {"token": "with space in it"}, {"token": "with-nul-\x00-in-it"},
        {"token": "x" * 1025}, {"platform": "fridge"}, {"user_id": "7"}, {"token": 12345678},
    ],
)  # fmt: skip
async def test_a_bad_device_is_refused(api: Api, world: World, members: dict[str, Any]) -> None:
    body = {"token": "fcm:token", "platform": "ios", **members}
    assert (await api.call("POST", "/devices", world.person("Ada"), json=body)).status_code == 422
