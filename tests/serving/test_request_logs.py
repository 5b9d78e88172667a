"""What a real process logs and counts of requests: routes, statuses and times, nobody's data."""

import httpx
import orjson
from prometheus_client.parser import text_string_to_metric_families

from seda.database.regions import Region
from tests.serving.processes import api_process
from tests.serving.serving_world import World

CANARY = "canary.of.many@example.org"


async def test_the_log_of_a_process_holds_no_canary(world: World, tmp_path) -> None:
    ada, eva, new = world.person("Ada"), world.person("Eva", Region.EU), world.person("New")
    world.publish(ada, world.entities("room", 8))
    world.publish(eva, world.entities("room", 8))
    token = world.token(ada)
    signed_in = {"Authorization": f"Bearer {token}"}
    broken = "alter table seda.{} rename to {}"
    with api_process(world, tmp_path) as api:
        async with httpx.AsyncClient(base_url=api.url) as client:
            page = (await client.get("/feed?limit=2", headers=signed_in)).json()
            cursor = page["next_cursor"]
            entity = page["items"][0]["id"]
            for path in (
                f"/feed?cursor={cursor}",
                f"/feed?cursor={CANARY}",
                f"/feed?limit={CANARY}",
                f"/{CANARY}",
                f"/recommendations/{CANARY}",
                f"/recommendations/{entity}/explanation",
                f"/feed?access_token={token}",
            ):
                await client.get(path, headers=signed_in | {"X-Name": CANARY})
                await client.post(path, headers=signed_in, json={"email": CANARY})
            await client.get("/feed", headers={"Authorization": f"Bearer {CANARY}"})
            await client.get("/feed", headers=world.headers(eva))
            # And when statements fail, with a traceback.
            world.sql(broken.format("region_directory", "mislaid"))
            try:
                failed = await client.get("/feed", headers=world.headers(new))
            finally:
                world.sql(broken.format("mislaid", "region_directory"))
            assert failed.status_code == 500
        api.stop()
        log = api.log.read_text()
    for canary in (CANARY, "canary", token, str(ada.sub), str(ada.id), cursor, entity, "127.0.0.1"):
        assert canary not in log, canary
    lines = [orjson.loads(line) for line in log.splitlines()]
    told = [line for line in lines if line["event"] == "request" and line["route"] != "/readyz"]
    assert {line["route"] for line in told} >= {"/feed", "/recommendations/{kind}", "unknown"}
    assert {line["region"] for line in told} == {"global", "eu", None}
    assert {line["status"] for line in told} >= {200, 400, 401, 404, 405, 422, 500}
    assert {*told[0]} == {
        "time", "level", "logger", "event", "method", "route", "status", "ms", "request_id",
        "region",
    }  # fmt: skip
    (failure,) = [line for line in lines if line["event"] == "a request failed"]
    assert failure["request_id"] == failed.headers["x-request-id"]
    assert failure["exceptions"][0]["sqlstate"] == "42P01"


async def test_requests_are_counted_by_route_and_class_of_status(api, world: World) -> None:
    ada = world.person("Ada")
    await api.get("/feed", ada)
    await api.get("/feed")
    for number in range(30):
        await api.get(f"/nobody/{number}", ada)
        await api.client.request(f"VERB{number}", "/feed")
    text = (await api.get("/metrics")).text
    families = {each.name: each for each in text_string_to_metric_families(text)}
    labels = ("method", "route", "status", "arm", "region")
    counted = {
        tuple(sample.labels[name] for name in labels): sample.value
        for sample in families["seda_http_requests"].samples
        if sample.name.endswith("_total")
    }
    assert counted["GET", "/feed", "2xx", "control", "global"] == 1
    assert counted["GET", "/feed", "4xx", "", ""] == 1
    assert counted["GET", "unknown", "4xx", "", ""] == 30
    assert counted["OTHER", "/feed", "4xx", "", ""] == 30
    assert len(counted) == 4  # the labels are bounded, whatever is asked
    edges = {s.labels.get("le") for s in families["seda_http_request_seconds"].samples}
    assert {"0.12", "0.25", "0.35", "0.4"} <= edges
    assert families["seda_http_requests_in_flight"].samples[0].value == 1  # this one
    samples = families["seda_database_connections"].samples
    connections = {(each.labels["region"], each.labels["state"]) for each in samples}
    assert connections == {(r, s) for r in ("global", "eu") for s in ("used", "idle")}
