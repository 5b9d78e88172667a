"""Every page that is served is on record, once, as it was served; nobody can write another's."""

import asyncio
import os
import re
import signal
import subprocess
import sys

import psycopg
import pytest

from seda.database.regions import Region, api_login_url
from serving.documentation import Problem
from serving.impressions import _RECORD
from serving.lists import _PERSONAL
from tests.serving.list_rows import EXPLORING
from tests.serving.serving_world import World
from tests.serving.test_processes import _answer, _free_port, _start


def _recorded(world: World, columns: str, region: Region = Region.GLOBAL) -> list[tuple]:
    return world.sql(
        f"select {columns} from seda.impressions order by shown_at, position", region=region
    )


@pytest.mark.parametrize("region", list(Region))
async def test_a_page_is_recorded_as_it_was_served(api, world: World, region: Region) -> None:
    ada = world.person("Ada", region)
    rooms, artists = world.entities("room", 2), world.entities("artist", 4)
    generation = world.publish(ada, rooms, artists)
    response = await api.client.get(
        "/feed", headers={**world.headers(ada), "X-Request-ID": "trace-7"}, params={"limit": 4}
    )
    page = response.json()
    rows = _recorded(
        world,
        "recommendation_id::text, entity_type, entity_id::text, position, user_id, generation, "
        "surface, model_version, arm, request_id",
        region,
    )
    shared = (ada.id, generation, "feed", "test-1", "control", "trace-7")
    assert rows == [
        (item["id"], item["entity_type"], item["entity_id"], item["rank"], *shared)
        for item in page["items"]
    ]
    await api.page("/feed", ada, limit=4, cursor=page["next_cursor"])
    assert [row[0] for row in _recorded(world, "position", region)] == [1, 2, 3, 4, 5, 6]


async def test_features_and_propensity_are_those_of_the_generation_shown(api, world: World) -> None:
    ada = world.person("Ada")
    artists = world.entities("artist", 4)
    first = world.publish(ada, artists)
    page = await api.page("/recommendations/artists", ada, limit=2)
    world.publish(ada, artists[2:], model_version="test-2")
    await api.page("/recommendations/artists", ada, limit=2, cursor=page["next_cursor"])
    rows = _recorded(
        world, "position, generation, model_version, features[1], features[2], propensity, surface"
    )
    assert [row[:3] for row in rows] == [(n, first, "test-1") for n in (1, 2, 3, 4)]
    assert [round(row[3], 2) for row in rows] == [1, 2, 3, 4]
    assert [round(row[4], 2) for row in rows] == [1.01, 2.01, 3.01, 4.01]
    assert [row[5] for row in rows] == [
        0.125 if place == EXPLORING else 1 for place in (1, 2, 3, 4)
    ]
    assert {row[6] for row in rows} == {"artists"}


async def test_novelty_and_friends_on_a_card_are_recorded_with_it(api, world: World) -> None:
    ada, alex = world.person("Ada"), world.person("Alex")
    rooms = [world.entity("room", f"room {n}", is_new=n % 2 == 0) for n in (1, 2, 3)]
    world.publish(ada, rooms, world.entities("artist", 2))
    world.befriend(ada, alex)
    world.enter(rooms[1], alex)
    page = await api.page("/feed", ada)
    shown = {item["id"]: (item["is_new"], item["social"]["count"] > 0) for item in page["items"]}
    assert sorted(shown.values()) == [(False, False)] * 4 + [(True, True)]
    rows = _recorded(world, "recommendation_id::text, is_new, with_friends")
    assert {id: flags for id, *flags in rows} == {id: list(flags) for id, flags in shown.items()}
    ((without,),) = world.sql(
        "select with_friends from seda.impression_pages where entity_type = 'artist'"
    )
    assert without is None


async def test_a_fall_back_page_is_recorded_without_features(api, world: World) -> None:
    ada = world.person("Ada")
    world.genre_list("*", world.entities("room", 2))
    page = await api.page("/feed", ada)
    rows = _recorded(
        world, "recommendation_id::text, generation, features, propensity, model_version, is_new"
    )
    assert rows == [(item["id"], None, None, 1, "trending", None) for item in page["items"]]


async def test_an_empty_page_records_nothing(api, world: World) -> None:
    await api.page("/feed", world.person("Ada"))
    assert _recorded(world, "page_id") == []


async def test_concurrent_pages_share_commits_and_none_is_lost(api, world: World) -> None:
    people = [world.person(f"person {n}") for n in range(6)]
    artists = world.entities("artist", 5)
    for listener in people:
        world.publish(listener, artists)
    await asyncio.gather(*(api.page("/feed", listener) for listener in people for _ in range(5)))
    counts = world.sql("select user_id, count(*) from seda.impressions group by user_id")
    assert sorted(counts) == sorted((listener.id, 25) for listener in people)
    ((commits,),) = world.sql("select count(distinct xmin::text) from seda.impression_pages")
    assert commits < 30


async def test_a_page_that_cannot_be_recorded_is_not_shown(
    api, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    ada = world.person("Ada")
    world.publish(ada, world.entities("artist", 2))
    world.sql(
        "alter table seda.impression_pages add constraint broken "
        "check (cardinality(positions) < 0) not valid"
    )
    try:
        refused = await api.get("/feed", ada)
    finally:
        world.sql("alter table seda.impression_pages drop constraint broken")
    assert refused.status_code == 503
    assert Problem.model_validate(refused.json()).code == "database_unavailable"
    assert int(refused.headers["retry-after"]) > 0
    assert "impressions were not written: CheckViolationError" in caplog.text
    assert str(ada.id) not in caplog.text  # the database's own message has the whole row
    assert len((await api.page("/feed", ada))["items"]) == 2


async def test_one_page_that_cannot_be_recorded_costs_no_other_its_own(api, world: World) -> None:
    people = [world.person(f"person {n}") for n in range(4)]
    for listener in people:
        world.publish(listener, world.entities("artist", 2))
    world.sql(
        "alter table seda.impression_pages add constraint broken "
        f"check (user_id <> '{people[2].id}') not valid"
    )
    try:
        answers = await asyncio.gather(*(api.get("/feed", listener) for listener in people))
    finally:
        world.sql("alter table seda.impression_pages drop constraint broken")
    assert [answer.status_code for answer in answers] == [200, 200, 503, 200]
    assert len(_recorded(world, "page_id")) == 6


def test_only_the_apis_login_may_record(world: World) -> None:
    ada = world.person("Ada")
    call = (
        "select seda.record_pages(array[%s]::uuid[], '{feed}', '{x}', array[now()], "
        "'{artist}', array[null]::bigint[], '{v}', array['{1}'], array[array[%s]::text], "
        "array[array[%s]::text], array[null], array[null])"
    )
    for role in ("authenticated", "anon"):
        with (
            world.as_person(ada, role) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(call, [ada.id] * 3)
    url = api_login_url(world.databases[Region.GLOBAL], world.settings)
    with psycopg.connect(url) as connection:
        connection.execute(call, [ada.id] * 3)
    assert _recorded(world, "user_id") == [(ada.id,)]


_CLIENT = """
import json, sys, threading, urllib.request
url, tokens = sys.argv[1], sys.argv[2:]
lock = threading.Lock()
def ask(token):
    while True:
        request = urllib.request.Request(url, headers={"Authorization": "Bearer " + token})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                page, id = json.load(answer), answer.headers["x-request-id"]
        except Exception:
            return
        with lock:
            print(id, len(page["items"]), flush=True)
threads = [threading.Thread(target=ask, args=(token,)) for token in tokens]
for each in threads: each.start()
for each in threads: each.join()
"""


def test_a_killed_process_loses_no_page_that_a_client_received(world: World) -> None:
    people = [world.person(f"person {n}") for n in range(6)]
    artists = world.entities("artist", 20)
    for listener in people:
        world.publish(listener, artists)
    port = _free_port()
    process = _start(world, "serving.api", port)
    try:
        _answer(process, f"http://127.0.0.1:{port}/readyz")
        client = subprocess.Popen(
            [sys.executable, "-c", _CLIENT, f"http://127.0.0.1:{port}/feed",
             *(world.token(listener) for listener in people)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert client.stdout is not None
        received = [client.stdout.readline() for _ in range(100)]
        os.kill(process.pid, signal.SIGKILL)
        received += client.stdout.readlines()
        client.wait(30)
    finally:
        process.kill()
        process.communicate()
    pages = dict(line.split() for line in received)
    assert len(pages) >= 100
    recorded = dict(
        world.sql("select request_id, count(*)::text from seda.impressions group by request_id")
    )
    assert {id: recorded.get(id) for id in pages} == pages


def test_what_every_page_asks_of_the_database_is_planned_once(world: World) -> None:
    """Planned anew for each call it takes twice the time; who replaces a function says it again."""
    called = re.findall(r"seda\.(\w+)\(", _PERSONAL + _RECORD)
    kept = world.sql(
        "select proname from pg_proc where pronamespace = 'seda'::regnamespace "
        "and 'plan_cache_mode=force_generic_plan' = any (proconfig)"
    )
    assert {"live_lists", "record_pages"} == set(called)
    assert {(name,) for name in called} <= set(kept)
    assert ("friends_presence",) in kept
