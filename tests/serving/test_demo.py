"""The demo page's endpoints: for listeners of the sandbox only, and nowhere in production."""

import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

import pytest

from seda.database.regions import Region
from seda.settings import REPOSITORY, Settings
from serving.realtime.origins import allowed_origins
from tests.serving.serving_world import Api, World, names, open_api

PATHS = ("/demo", "/demo/page.js", "/demo/listeners", "/demo/tokens", f"/demo/listeners/{uuid4()}")
PAGE = REPOSITORY / "serving/demo/page"
# dist/socket.io.esm.min.js of the npm package socket.io-client 4.8.4
OFFICIAL = "771c3872e7d9bf81020615fda67ef0fd2aa61fcaf1990100714a46fa2c39f8a1"


def _settings(world: World, **changed: Any) -> Settings:
    return world.settings.model_copy(update=changed)


@pytest.mark.parametrize("env", ["local", "sandbox", "qa"])
async def test_the_page_is_there_in_every_environment_but_production(
    world: World, env: str
) -> None:
    async with open_api(world, settings=_settings(world, env=env)) as api:
        page = await api.get("/demo")
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert page.headers["x-content-type-options"] == "nosniff"


async def test_production_has_none_of_it(world: World) -> None:
    async with open_api(world, settings=_settings(world, env="production")) as api:
        for path in PATHS:
            answers = [await api.get(path), await api.client.post(path, json={})]
            assert [each.status_code for each in answers] == [404, 404]
            assert answers[0].json()["code"] == "unknown_route"
        production = (await api.get("/openapi.json")).json()
    async with open_api(world) as api:
        assert (await api.get("/openapi.json")).json() == production
    assert not [path for path in production["paths"] if path.startswith("/demo")]


async def test_every_file_that_the_page_names_is_served(api: Api) -> None:
    html = (await api.get("/demo")).text
    wanted = set(re.findall(r"(?:href|src)=\"(demo/[^\"]+)\"", html))
    for script in PAGE.glob("*.js"):
        wanted |= {f"demo/{name}" for name in re.findall(r'from "\./([^"]+)"', script.read_text())}
    assert {"demo/page.css", "demo/page.js", "demo/socket.io.esm.min.js"} <= wanted
    for path in wanted:
        assert (await api.get(f"/{path}")).status_code == 200, path
    assert (await api.get("/demo/page.js")).headers["content-type"].startswith("text/javascript")
    for path in ("socket.io.LICENSE", "..%2fsandbox.py", "nothing.js", "%00.js", "x" * 900):
        assert (await api.get(f"/demo/{path}")).status_code == 404


def test_the_client_is_the_official_one_with_its_licence() -> None:
    client = (PAGE / "socket.io.esm.min.js").read_bytes()
    assert sha256(client).hexdigest() == OFFICIAL
    assert b"Released under the MIT License" in client[:200]
    assert "The MIT License" in (PAGE / "socket.io.LICENSE").read_text()


async def test_who_can_be_chosen_was_made_by_a_seed_and_has_a_feed_and_friends(
    api: Api, world: World
) -> None:
    ada, ben = world.person("Ada", sandboxed=True), world.person("Ben", sandboxed=True)
    eve = world.person("Eve", Region.EU, sandboxed=True)
    fay = world.person("Fay", Region.EU, sandboxed=True)
    signed_up, lonely = world.person("Sue"), world.person("Lou", sandboxed=True)
    world.befriend(ada, ben, signed_up)
    world.befriend(eve, fay)
    rooms = world.entities("room", 2)
    for each in (ada, eve, signed_up, lonely):  # Ben has no feed
        world.publish(each, rooms)
    world.enter(rooms[0], ben)

    answer = (await api.get("/demo/listeners")).json()
    assert answer["realtime_port"] == world.settings.realtime_port
    chosen = [(each["name"], each["region"], each["friends"]) for each in answer["listeners"]]
    assert chosen == [("Ada", "global", 1), ("Eve", "eu", 1)]
    assert answer["listeners"][0]["friends_in_rooms"] == 1


async def test_a_token_speaks_for_a_listener_of_the_sandbox_for_a_quarter_of_an_hour(
    world: World,
) -> None:
    ada = world.person("Ada", Region.EU, sandboxed=True)
    world.publish(ada, world.entities("room", 2))
    now = datetime.now(UTC)
    async with open_api(world, clock=lambda: now) as api:
        answer = (await api.client.post("/demo/tokens", json={"user_id": str(ada.id)})).json()
        assert answer["expires_in"] == 900
        headers = {"Authorization": f"Bearer {answer['token']}"}
        feed = await api.client.get("/feed", headers=headers)
        assert names(feed.json()) == ["room 1", "room 2"]
        now += timedelta(minutes=17)  # a minute of leeway is over too
        assert (await api.client.get("/feed", headers=headers)).status_code == 401


async def test_nobody_else_is_spoken_for(api: Api, world: World) -> None:
    signed_up = world.person("Sue")
    gone = world.person("Gil", sandboxed=True, deleted=True)
    for id in (signed_up.id, gone.id, uuid4()):
        for answer in (
            await api.client.post("/demo/tokens", json={"user_id": str(id)}),
            await api.get(f"/demo/listeners/{id}/friends"),
        ):
            assert answer.status_code == 404
            assert answer.json()["code"] == "unknown_listener"
    for body in ({}, {"user_id": "x"}, {"user_id": str(gone.id), "role": "admin"}, []):
        assert (await api.client.post("/demo/tokens", json=body)).status_code == 422
    assert (await api.get("/demo/listeners/x/friends")).status_code == 422
    form = await api.client.post("/demo/tokens", data={"user_id": str(gone.id)})
    assert form.status_code in (415, 422)


async def test_where_an_identity_provider_mints_tokens_the_page_says_so(world: World) -> None:
    ada = world.person("Ada", sandboxed=True)
    settings = _settings(world, jwks_url="http://127.0.0.1:1/jwks")
    async with open_api(world, settings=settings) as api:
        answer = await api.client.post("/demo/tokens", json={"user_id": str(ada.id)})
    assert answer.status_code == 409
    assert "SEDA_JWKS_URL is set" in answer.json()["detail"]


async def test_friends_are_those_whom_the_listener_hears_of(api: Api, world: World) -> None:
    ada, ben, cleo = (world.person(name, sandboxed=True) for name in ("Ada", "Ben", "Cleo"))
    dora = world.person("Dora", sandboxed=True, hidden=True)
    blocked, signed_up = world.person("Bob", sandboxed=True), world.person("Sue")
    world.befriend(ada, cleo, ben, dora, blocked, signed_up)
    world.befriend(blocked, ada, kind="block")
    room = world.entity("room", "electronic")
    world.enter(room, cleo, dora)
    answer = (await api.get(f"/demo/listeners/{ada.id}/friends")).json()["friends"]
    here = [{"id": str(room.id), "name": "electronic"}]
    assert [(each["name"], each["hides_presence"], each["rooms"]) for each in answer] == [
        ("Cleo", False, here),
        ("Ben", False, []),
        ("Dora", True, here),
    ]


ORIGINS = {
    "http://127.0.0.1:8000": True,
    "http://127.0.0.1:8001": True,
    "http://127.0.0.1:9999": False,
    "http://127.0.0.1": False,
    "http://seda.example:8000": False,
    "http://127.0.0.1:x": False,
    "null": False,
    None: False,
}


@pytest.mark.parametrize("origin", ORIGINS)
def test_only_the_api_s_page_may_connect_from_another_origin(origin: str | None) -> None:
    allowed = allowed_origins(Settings(_env_file=None, api_port=8000))
    assert allowed is not None
    assert allowed(origin, {"HTTP_HOST": "127.0.0.1:8001"}) is ORIGINS[origin]


def test_production_lets_no_other_origin_connect() -> None:
    assert allowed_origins(Settings(_env_file=None, env="production")) is None
