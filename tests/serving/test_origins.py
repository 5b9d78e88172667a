"""Pages of other origins: browsers let those in that are named, and they can read every answer."""

import httpx
import pytest

from seda.settings import Settings
from serving.realtime.origins import allowed_origins
from tests.serving.serving_world import World, open_api

APP = "https://app.example"


def _preflight(origin: str, method: str = "PUT", headers: str = "authorization") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }


def _lets(response: httpx.Response) -> str | None:
    return response.headers.get("access-control-allow-origin")


async def test_a_named_origin_may_ask_and_read_whatever_is_answered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = world.person("Ada")
    world.publish(ada, world.entities("room", 1))
    options = {"web_origins": f"https://other.example, {APP}/", "rate_limit_person": 5}
    async with open_api(world, settings=world.settings.model_copy(update=options)) as api:
        may = await api.client.options("/preferences", headers=_preflight(APP))
        assert (may.status_code, _lets(may)) == (200, APP)
        assert "PUT" in may.headers["access-control-allow-methods"]
        assert "authorization" in may.headers["access-control-allow-headers"].lower()
        from_app = {"Origin": APP}
        said = [
            await api.call("GET", "/feed", ada, headers=from_app),
            await api.call("GET", "/feed", headers=from_app),
            await api.call("GET", "/nowhere", headers=from_app),
            await api.call("GET", "/feed?cursor=x", ada, headers=from_app),
            *[await api.call("GET", "/suppressions", ada, headers=from_app) for _ in range(4)],
        ]
        assert [each.status_code for each in said] == [200, 401, 404, 400, 200, 200, 200, 429]
        monkeypatch.setattr("serving.feed.answer", None)  # a mistake of ours
        said.append(await api.call("GET", "/feed", headers=from_app | world.headers(ada)))
        for each in said:
            assert (_lets(each), "Origin" in each.headers["vary"]) == (APP, True)
        readable = said[-2].headers["access-control-expose-headers"].lower()
        assert "retry-after" in readable
        assert "x-request-id" in readable


async def test_any_other_origin_is_refused_by_a_problem(world: World) -> None:
    options = {"web_origins": APP}
    async with open_api(world, settings=world.settings.model_copy(update=options)) as api:
        for refused in (
            _preflight("https://evil.example"),
            _preflight("null"),
            _preflight(APP, method="PATCH"),
            _preflight(APP, headers="x-anything"),
        ):
            may = await api.client.options("/feed", headers=refused)
            assert (may.status_code, may.json()["code"]) == (400, "cross_origin_refused")
            assert may.headers["content-type"] == "application/problem+json"
            assert _lets(may) is None
        health = await api.client.get("/healthz", headers={"Origin": "https://evil.example"})
        assert _lets(health) is None


async def test_no_origin_is_let_in_unless_it_is_named(api) -> None:
    may = await api.client.options("/feed", headers=_preflight(APP))
    assert (may.status_code, may.json()["code"]) == (405, "method_not_allowed")
    assert _lets(await api.client.get("/healthz", headers={"Origin": APP})) is None


def test_the_real_time_service_lets_the_same_origins_connect() -> None:
    settings = Settings(_env_file=None, env="production", web_origins=APP)
    allowed = allowed_origins(settings)
    assert allowed is not None
    behind = {"HTTP_HOST": "live.example:8001"}
    assert allowed(APP, behind)
    assert allowed("https://live.example:8001", behind)  # its own
    for origin in ("https://live.example:8000", "https://evil.example", "null", None):
        assert not allowed(origin, behind)
