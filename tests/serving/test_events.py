"""Events: judged one by one, taken once, committed before they are acknowledged."""

import asyncio
import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from seda.database.regions import Region
from tests.serving.serving_world import Api, Entity, Listener, World, open_api


def event(entity: Entity, type: str = "rec_click", **members: Any) -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "type": type,
        "entity_type": entity.type,
        "entity_id": str(entity.id),
        "occurred_at": datetime.now(UTC).isoformat(),
        "props": {},
        **members,
    }


async def post(api: Api, who: Listener, *events: Any) -> httpx.Response:
    return await api.call("POST", "/events", who, json={"events": list(events)})


async def statuses(api: Api, who: Listener, *events: Any) -> list[str]:
    response = await post(api, who, *events)
    assert response.status_code == 200, response.text
    return [each["status"] for each in response.json()["results"]]


@pytest.mark.parametrize("region", list(Region))
async def test_feedback_and_social_events_go_to_their_tables(
    api: Api, world: World, region: Region
) -> None:
    ada = world.person("Ada", region)
    artist, room = world.entity("artist", "Autechre"), world.entity("room", "electronic")
    feedback = [
        event(room if type == "room_join" else artist, type, props={"surface": "feed"})
        for type in ("rec_click", "listen_30s", "track_skip", "rec_dismiss", "room_join")
    ]
    social = [
        event(room if type in ("join", "leave") else artist, type, props={"surface": "feed"})
        for type in ("join", "leave", "vote", "follow", "listen")
    ]
    response = await post(api, ada, *feedback, *social)
    assert response.json()["results"] == [
        {"id": each["id"], "status": "accepted", "reason": None} for each in [*feedback, *social]
    ]
    rows = world.sql(
        "select event_id::text, event_type, props, user_id, created_at from seda.fact_events "
        "order by id",
        region=region,
    )
    assert rows == [
        (
            each["id"],
            each["type"],
            {"surface": "feed", "entity_type": each["entity_type"], "entity_id": each["entity_id"]},
            ada.id,
            datetime.fromisoformat(each["occurred_at"]),
        )
        for each in feedback
    ]
    rows = world.sql(
        "select event_id::text, kind, entity_id::text, props, user_id from seda.social_events "
        "order by id",
        region=region,
    )
    assert rows == [
        (each["id"], each["type"], each["entity_id"], {"surface": "feed"}, ada.id)
        for each in social
    ]


async def test_an_event_happens_once_and_its_id_stands_for_nothing_else(
    api: Api, world: World
) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    artist = world.entity("artist", "Autechre")
    one, other = event(artist), event(artist, "listen")
    assert await statuses(api, ada, one, one, other) == ["accepted", "duplicate", "accepted"]
    assert await statuses(api, ada, one, other) == ["duplicate", "duplicate"]
    changed = {**one, "props": {"surface": "search"}}
    fresh = event(artist)
    response = await post(api, ada, changed, fresh, {**fresh, "type": "track_skip"})
    results = response.json()["results"]
    assert [each["status"] for each in results] == ["rejected", "accepted", "rejected"]
    assert "id stands for another event" in results[0]["reason"]
    assert await statuses(api, ben, one) == ["rejected"]
    assert world.sql("select count(*) from seda.fact_events") == [(2,)]
    assert world.sql("select count(*) from seda.social_events") == [(1,)]


async def test_equal_instants_and_orders_of_members_are_the_same_body(
    api: Api, world: World
) -> None:
    ada = world.person("Ada")
    artist = world.entity("artist", "Autechre")
    now = datetime.now(UTC).replace(microsecond=0)
    one = event(artist, occurred_at=f"{now:%Y-%m-%dT%H:%M:%S}Z", props={"a": 1, "b": 2})
    same = {**one, "occurred_at": now.isoformat(), "props": {"b": 2, "a": 1}}
    assert await statuses(api, ada, one, same) == ["accepted", "duplicate"]


async def _post_as_python_spells_it(api: Api, who: Listener, *events: Any) -> httpx.Response:
    """With NaN and infinities, which are no JSON, though many parsers take them."""
    body, headers = json.dumps({"events": events}), {"Content-Type": "application/json"}
    return await api.call("POST", "/events", who, content=body, headers=headers)


async def test_an_id_comes_back_as_it_was_sent(api: Api, world: World) -> None:
    ada = world.person("Ada")
    artist = world.entity("artist", "Autechre")
    spelled = [str(uuid4()).upper(), f"urn:uuid:{uuid4()}", uuid4().hex]
    sent = [event(artist, id=id) for id in spelled]
    for status in ("accepted", "duplicate"):
        results = (await post(api, ada, *sent)).json()["results"]
        assert [(each["id"], each["status"]) for each in results] == [
            (id, status) for id in spelled
        ]


async def test_text_that_only_looks_like_a_nul_is_kept(api: Api, world: World) -> None:
    ada = world.person("Ada")
    artist = world.entity("artist", "Autechre")
    props = {"path": r"C:\u0000", "none": None}
    assert await statuses(api, ada, event(artist, props=props)) == ["accepted"]
    ((kept,),) = world.sql("select props from seda.fact_events")
    assert kept.items() >= props.items()


async def test_a_bad_event_is_rejected_by_itself(api: Api, world: World) -> None:
    ada = world.person("Ada")
    artist = world.entity("artist", "Autechre")
    deleted = world.entity("room", "closed")
    world.sql("update seda.rooms set deleted_at = now() where id = %s", deleted.id)
    now = datetime.now(UTC)
    bad = {
        "future": event(artist, occurred_at=(now + timedelta(seconds=65)).isoformat()),
        "more than 7 days": event(artist, occurred_at=(now - timedelta(days=8)).isoformat()),
        "timezone": event(artist, occurred_at="2026-11-20T12:00:00"),
        "no such entity": event(Entity("artist", uuid4(), "")),
        "no such entity.": event(deleted),
        "type": event(artist, "dance"),
        "about a room": event(artist, "join"),
        "members": event(artist, colour="blue"),
        "2048 bytes": event(artist, props={"text": "x" * 2048}),
        "NUL": event(artist, props={"deep": [{"text": "a\x00b"}]}),
        "cannot be stored": event(artist, props={"number": 2**70}),
        "NaN": event(artist, props={"deep": [{"number": math.nan}]}),
        "without end": event(artist, props={"number": -math.inf}),
        "props": event(artist, props=[1]),
        "id": event(artist, id="7"),
        "event": 12,
        "entity_type": event(artist, entity_type="song"),
    }
    good = event(artist)
    response = await _post_as_python_spells_it(api, ada, *bad.values(), good)
    *rejected, accepted = response.json()["results"]
    assert [each["status"] for each in rejected] == ["rejected"] * len(bad)
    for reason, result in zip(bad, rejected, strict=True):
        assert reason.lower() in result["reason"].lower(), result
    assert accepted["status"] == "accepted"
    assert world.sql("select event_id::text from seda.event_receipts") == [(good["id"],)]
    # What was rejected can be sent again with the same id, once it is right.
    assert await statuses(api, ada, {**bad["future"], "occurred_at": now.isoformat()}) == [
        "accepted"
    ]


async def test_text_that_no_database_stores_is_rejected_not_an_error(
    api: Api, world: World
) -> None:
    ada = world.person("Ada")
    artist = world.entity("artist", "Autechre")
    odd = [{"id": "\ud800"}, {"id": "a\x00"}, {"\ud800": 1}]
    body = json.dumps({"events": [*odd, event(artist, props={"text": "\udc00"})]})
    response = await api.call(
        "POST", "/events", ada, content=body, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 200
    assert {each["status"] for each in response.json()["results"]} == {"rejected"}


async def test_batches_are_bounded_and_shaped(api: Api, world: World) -> None:
    ada = world.person("Ada")
    artist = world.entity("artist", "Autechre")
    assert await statuses(api, ada) == []
    whole = await post(api, ada, *[event(artist) for _ in range(1000)])
    assert {each["status"] for each in whole.json()["results"]} == {"accepted"}
    too_many = await post(api, ada, *[event(artist) for _ in range(1001)])
    assert (too_many.status_code, too_many.json()["code"]) == (413, "too_many_events")
    for body in ({}, [], {"events": {}}, {"events": [], "more": 1}, None):
        assert (await api.call("POST", "/events", ada, json=body)).status_code == 422
    plain = {"content": "events", "headers": {"Content-Type": "text/plain"}}
    assert (await api.call("POST", "/events", ada, **plain)).status_code == 415
    assert (await api.call("POST", "/events", json={"events": []})).status_code == 401


async def test_two_copies_of_a_batch_at_once_are_taken_once(api: Api, world: World) -> None:
    ada = world.person("Ada")
    artist = world.entity("artist", "Autechre")
    batch = [event(artist, "listen") for _ in range(50)]
    outcomes = await asyncio.gather(*[statuses(api, ada, *order) for order in (
        batch, batch[::-1], batch, batch[::-1],
    )])  # fmt: skip
    everything = [status for each in outcomes for status in each]
    assert everything.count("accepted") == 50
    assert everything.count("duplicate") == 150
    assert world.sql("select count(*) from seda.social_events") == [(50,)]


async def test_join_and_leave_move_presence_once(api: Api, world: World) -> None:
    ada = world.person("Ada")
    room = world.entity("room", "electronic")
    present = "select user_id, connections from seda.room_presence"
    join = event(room, "join")
    assert await statuses(api, ada, join) == ["accepted"]
    assert world.sql(present) == [(ada.id, 0)]
    assert await statuses(api, ada, event(room, "join")) == ["accepted"]
    assert await statuses(api, ada, event(room, "leave")) == ["accepted"]
    assert world.sql(present) == []
    assert await statuses(api, ada, join) == ["duplicate"]
    assert world.sql(present) == []
    # Within a batch the last one counts; a leave from before the join changes nothing.
    late = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    assert (
        await statuses(
            api,
            ada,
            event(room, "leave"),
            event(room, "join"),
            event(room, "leave", occurred_at=late),
        )
        == ["accepted"] * 3
    )
    assert world.sql(present) == [(ada.id, 0)]


async def test_a_join_without_a_connection_runs_out(world: World) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    room, other = world.entities("room", 2)
    start = datetime.now(UTC)
    offset = timedelta(0)
    async with open_api(world, clock=lambda: start + offset) as api:

        async def join(who: Listener, into: Entity, at: datetime) -> None:
            body = {"events": [event(into, "join", occurred_at=at.isoformat())]}
            response = await api.call("POST", "/events", who, now=start + offset, json=body)
            assert response.json()["results"][0]["status"] == "accepted"

        await join(ada, room, start)
        await join(ada, other, start - timedelta(minutes=31))
        people = "select user_id from seda.room_presence"
        assert world.sql(people) == [(ada.id,)]
        offset = timedelta(minutes=31)
        await join(ben, other, start + offset)
        assert world.sql(people) == [(ben.id,)]


async def test_a_held_presence_and_connections_do_not_end_each_other(
    api: Api, world: World
) -> None:
    ada = world.person("Ada")
    room = world.entity("room", "electronic")
    state = "select connections, held_until is not null from seda.room_presence"
    world.enter(room, ada)
    assert await statuses(api, ada, event(room, "join")) == ["accepted"]
    assert world.sql(state) == [(1, True)]
    assert await statuses(api, ada, event(room, "leave")) == ["accepted"]
    assert world.sql(state) == [(1, False)]
