"""Every error is a problem detail with its request's id, and OpenAPI says so."""

from uuid import uuid4

import httpx
import jsonschema_rs
from pydantic import SecretStr

from seda.database.regions import Databases, Region
from seda.settings import Settings
from serving.documentation import FEED_EXAMPLE, FeedPage, Problem
from serving.problems import ProblemError
from tests.serving.processes import api_process
from tests.serving.serving_world import World, names, open_api


async def test_every_error_is_a_problem_with_its_requests_id(api, world: World) -> None:
    ada = world.person("Ada")
    for path, query, status, code in [
        ("/nowhere", {}, 404, "unknown_route"),
        ("/feed/", {}, 404, "unknown_route"),
        ("/feed", {"limit": 0}, 422, "invalid_request"),
        ("/feed", {"limit": 51}, 422, "invalid_request"),
        ("/feed", {"limit": "many"}, 422, "invalid_request"),
        ("/feed", {"cursor": "x"}, 400, "bad_cursor"),
    ]:
        response = await api.get(path, ada, **query)
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"
        problem = Problem.model_validate(response.json())
        assert (problem.status, problem.code) == (status, code)
        assert problem.request_id == response.headers["x-request-id"]
        assert response.headers["cache-control"] == "no-store"
    assert (await api.get("/feed", ada)).headers["cache-control"] == "no-store"
    posted = await api.client.post("/feed")
    assert (posted.status_code, posted.headers["allow"]) == (405, "GET")
    assert posted.json()["code"] == "method_not_allowed"


async def test_a_given_request_id_is_kept_when_it_is_harmless(api) -> None:
    kept = await api.client.get("/healthz", headers={"X-Request-ID": "trace-1.a_B"})
    assert kept.headers["x-request-id"] == "trace-1.a_B"
    for bad in ("a b", "x" * 65, "<script>"):
        response = await api.client.get("/healthz", headers={"X-Request-ID": bad})
        assert response.headers["x-request-id"] != bad


async def test_an_unexpected_error_tells_nothing_but_its_request_id(
    api, world: World, monkeypatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret internals")

    monkeypatch.setattr("serving.feed.personal_lists", broken)
    response = await api.get("/feed", world.person("Ada"))
    assert response.status_code == 500
    assert response.headers["x-request-id"] == response.json()["request_id"]
    assert "secret" not in response.text


def test_extensions_cannot_hide_the_standards_members() -> None:
    assert ProblemError(409, "conflict", "No.", type="x", more=1).document() == {
        "type": "/problems/conflict",
        "title": "Conflict",
        "status": 409,
        "code": "conflict",
        "detail": "No.",
        "more": 1,
    }


async def test_openapi_declares_the_problems_and_its_examples_are_true(api) -> None:
    schema = (await api.client.get("/openapi.json")).json()
    FeedPage.model_validate(FEED_EXAMPLE)
    assert set(schema["paths"]) == {
        "/feed", "/recommendations/{kind}", "/recommendations/{id}/dismissals",
        "/recommendations/{id}/explanation", "/suppressions",
        "/suppressions/{id}", "/events", "/onboarding", "/preferences", "/devices",
        "/devices/{token}", "/healthz", "/readyz", "/metrics",
        "/links", "/links/{provider}", "/links/{provider}/callback", "/links/{provider}/sync",
        "/links/apple/session-import", "/privacy/export-data", "/privacy/delete-imports",
        "/privacy/jobs/{job_id}", "/privacy/exports/{token}",
    }  # fmt: skip
    for operation in [each for path in schema["paths"].values() for each in path.values()]:
        responses = operation["responses"]
        assert {"400", "401", "404", "410", "422", "503"} <= set(responses)
        for status, response in responses.items():
            if int(status) >= 400:
                content = response["content"]["application/problem+json"]
                assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
                Problem.model_validate(content["example"])
            elif status != "204" and "application/zip" not in response["content"]:
                assert any("example" in each for each in response["content"].values())
        if "requestBody" in operation:
            assert "example" in operation["requestBody"]["content"]["application/json"]
    assert "HTTPValidationError" not in schema["components"]["schemas"]
    feed = schema["paths"]["/feed"]["get"]
    assert feed["responses"]["200"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/FeedPage"
    }
    assert feed["security"] == [{"HTTPBearer": []}]


async def test_health_and_readiness_tell_the_truth(api, world: World) -> None:
    assert (await api.client.get("/healthz")).json() == {"status": "ok"}
    ready = await api.client.get("/readyz")
    assert ready.json() == {"status": "ready", "databases": {"global": "ready", "eu": "ready"}}
    world.sql("revoke select on seda.generation_pointer from authenticated", region=Region.EU)
    try:
        response = await api.client.get("/readyz")
    finally:
        world.sql("grant select on seda.generation_pointer to authenticated", region=Region.EU)
    assert response.status_code == 503
    databases = response.json()["databases"]
    assert databases["global"] == "ready"
    assert databases["eu"] != "ready"
    with world.databases[Region.GLOBAL].connect() as blocker:
        blocker.execute("lock table seda.suppressions in access exclusive mode")
        slow = await api.client.get("/readyz")
    assert slow.status_code == 503
    assert "global" in slow.json()["detail"]


async def test_health_can_be_asked_for_by_its_head_alone(world: World, tmp_path) -> None:
    with api_process(world, tmp_path) as running:
        for path in ("/healthz", "/readyz"):
            answer = httpx.head(f"{running.url}{path}")
            assert (answer.status_code, answer.content) == (200, b"")
            assert int(answer.headers["content-length"]) > 0


async def test_nobody_waits_for_another_regions_database(world: World) -> None:
    """The directory is in the global database; who lives elsewhere is served without it."""
    settings = world.settings.model_copy(
        update={"database_url": SecretStr("postgresql://seda@127.0.0.1:9/seda")}
    )
    ada, eva = world.person("Ada"), world.person("Eva", Region.EU)
    gone = world.person("Gone", Region.EU, deleted=True)
    world.publish(eva, world.entities("room", 1))
    async with open_api(world, settings=settings, databases=Databases(settings)) as api:
        assert names(await api.page("/feed", eva)) == ["room 1"]
        assert (await api.get("/preferences", eva)).status_code == 200
        for away in (ada, gone):
            assert (await api.get("/feed", away)).status_code == 503


async def test_the_api_starts_while_a_database_is_down_and_says_so(world: World) -> None:
    url = world.databases[Region.GLOBAL].url
    settings = Settings(
        _env_file=None,
        home=world.settings.home,
        database_url=SecretStr(url),
        eu_database_url=SecretStr("postgresql://seda@127.0.0.1:9/seda"),
    )
    ada, eva = world.person("Ada"), world.person("Eva", Region.EU)
    world.publish(ada, world.entities("room", 1))
    world.sql(
        "insert into seda.region_directory (auth_user_id, user_id, region) "
        "values (%s, %s, 'eu') on conflict do nothing",
        str(eva.sub),
        eva.id,
    )
    async with open_api(world, settings=settings, databases=Databases(settings)) as api:
        assert (await api.client.get("/healthz")).status_code == 200
        ready = await api.client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["databases"]["eu"].startswith("unreachable")
        assert names(await api.page("/feed", ada)) == ["room 1"]
        down = await api.get("/feed", eva)
        assert (down.status_code, down.json()["code"]) == (503, "database_unavailable")
        assert int(down.headers["retry-after"]) > 0


async def test_connections_that_the_server_closes_are_replaced(api, world: World) -> None:
    ada = world.person("Ada")
    world.publish(ada, world.entities("room", 1))
    for _ in range(3):
        await api.page("/feed", ada)
        world.sql(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where usename = 'seda_api' and datname = current_database()"
        )
        assert (await api.get("/feed", ada)).status_code in (200, 503)
        assert names(await api.page("/feed", ada)) == ["room 1"]


async def test_a_wrong_method_is_told_every_method_of_the_path(api, world: World) -> None:
    response = await api.call("PATCH", "/preferences")
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, PUT"
    response = await api.call("PUT", f"/recommendations/{uuid4()}/dismissals")
    assert response.headers["allow"] == "DELETE, POST"


async def test_every_documented_example_fits_its_schema(api) -> None:
    document = (await api.client.get("/openapi.json")).json()
    checked = 0
    for operation in [each for path in document["paths"].values() for each in path.values()]:
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for content in [each for body in bodies for each in body.get("content", {}).values()]:
            if "example" in content:
                schema = {**content.get("schema", {}), "components": document["components"]}
                jsonschema_rs.validate(schema, content["example"])
                checked += 1
    assert checked > 50
