"""Reads while a canary runs: each person their arm's lists, and the way back with the next read."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from seda.experiments.canaries import close_promoted, promote_canary, roll_back
from seda.experiments.evidence import load_evidence
from tests.serving.canary_world import (
    CANARY_VERSION,
    CONTROL_VERSION,
    SHARE,
    Canary,
    running_canary,
)
from tests.serving.ranked_world import RankedWorld
from tests.serving.serving_world import Api, Entity, World, names

ROOMS = 8


@pytest.fixture
def rooms(world: World) -> list[Entity]:
    return world.entities("room", ROOMS)


@pytest.fixture
def canary(world: World, rooms: list[Entity]) -> Iterator[Canary]:
    with running_canary(world, rooms) as canary:
        yield canary


def back(canary: Canary) -> None:
    with canary.database.transaction() as connection:
        roll_back(connection, actor="test", reason="worse", now=datetime.now(UTC))


def versions(page) -> set[str]:
    return {item["model_version"] for item in page["items"]}


async def test_until_it_is_ranked_everybody_reads_the_controls_lists(api: Api, canary) -> None:
    for listener in (canary.ada, canary.ben):
        page = await api.page("/feed", listener)
        assert (page["source"], versions(page)) == ("personal", {CONTROL_VERSION})


async def test_each_person_reads_their_arms_list_and_the_cards_tell_it(
    api: Api, canary, rooms
) -> None:
    generation = canary.publish(canary.ada, rooms[::-1])
    ada, ben = [await api.page("/feed", each) for each in (canary.ada, canary.ben)]
    assert names(ada) == [room.name for room in rooms[::-1]]
    assert names(ben) == [room.name for room in rooms]
    assert (versions(ada), versions(ben)) == ({CANARY_VERSION}, {CONTROL_VERSION})
    shown = canary.world.sql(
        "select user_id, arm, model_version, generation = %s from seda.impression_pages", generation
    )
    assert set(shown) == {
        (canary.ada.id, "canary", CANARY_VERSION, True),
        (canary.ben.id, "control", CONTROL_VERSION, False),
    }


async def test_requests_are_counted_for_the_arm_whose_lists_they_read(
    api: Api, canary, rooms
) -> None:
    canary.publish(canary.ada, rooms[::-1])
    for _ in range(3):
        await api.page("/feed", canary.ada)
    await api.page("/recommendations/rooms", canary.ben)
    await api.get("/feed")  # nobody's
    canary.world.sql(
        "alter table seda.impression_pages add constraint broken "
        "check (cardinality(positions) < 0) not valid"
    )
    try:
        failed = await api.get("/feed", canary.ada)
    finally:
        canary.world.sql("alter table seda.impression_pages drop constraint broken")
    assert failed.status_code == 503
    text = (await api.get("/metrics")).text
    counted = {
        (sample.labels["arm"], sample.labels["region"], sample.labels["status"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "seda_http_requests_total" and sample.labels["route"] != "/metrics"
    }
    assert counted == {
        ("canary", "global", "2xx"): 3, ("canary", "global", "5xx"): 1,
        ("control", "global", "2xx"): 1, ("", "", "4xx"): 1,
    }  # fmt: skip
    assert str(canary.ada.id) not in text


async def test_a_rollback_is_in_force_with_the_next_read_and_cursors_go_on(
    api: Api, canary, rooms
) -> None:
    generation = canary.publish(canary.ada, rooms[::-1])
    first = await api.page("/feed", canary.ada, limit=3)
    back(canary)
    assert names(await api.page("/feed", canary.ada)) == [room.name for room in rooms]
    rest = await api.page("/feed", canary.ada, limit=20, cursor=first["next_cursor"])
    assert names(first) + names(rest) == [room.name for room in rooms[::-1]]
    assert rest["generation"] == generation
    state = canary.world.sql("select stage from seda.model_registry where version = %s",
                             CANARY_VERSION)  # fmt: skip
    assert state == [("shadow",)]
    assert canary.world.sql(
        "select actor, details ->> 'reason' from seda.audit_log "
        "where action = 'canary_rolled_back' and subject = %s",
        canary.experiment.name,
    ) == [("test", "worse")]


async def test_an_explanation_is_of_the_list_that_the_person_is_served(
    api: Api, canary, rooms
) -> None:
    canary.publish(canary.ada, rooms[::-1])
    # Newer than the canary's, and not what is served.
    canary.world.publish(canary.ada, rooms, model_version=CONTROL_VERSION)
    ((id,),) = canary.world.sql(
        "select distinct id from seda.recommendations where user_id = %s and entity_id = %s",
        canary.ada.id, rooms[0].id,
    )  # fmt: skip
    told = await api.page(f"/recommendations/{id}/explanation", canary.ada)
    assert (told["model_version"], told["rank"]) == (CANARY_VERSION, ROOMS)
    back(canary)
    told = await api.page(f"/recommendations/{id}/explanation", canary.ada)
    assert (told["model_version"], told["rank"]) == (CONTROL_VERSION, 1)


async def test_after_a_promotion_its_people_keep_their_lists_until_all_have_them(
    api: Api, canary, rooms
) -> None:
    canary.publish(canary.ada, rooms[::-1])
    with canary.database.transaction() as connection:
        promote_canary(connection, actor="test", reason="better", now=datetime.now(UTC))
    assert versions(await api.page("/feed", canary.ada)) == {CANARY_VERSION}
    for listener in (canary.ada, canary.ben):  # the night
        canary.world.publish(listener, rooms[::-1], model_version=CANARY_VERSION)
    with canary.database.transaction() as connection:
        assert close_promoted(connection, now=datetime.now(UTC))
        assert not close_promoted(connection, now=datetime.now(UTC))
    for listener in (canary.ada, canary.ben):
        assert versions(await api.page("/feed", listener)) == {CANARY_VERSION}
    assert canary.world.sql("select from seda.generation_pointer where arm <> 'control'") == []


async def test_what_was_shown_and_answered_is_summed_up_by_arm(api: Api, canary, rooms) -> None:
    # Before there were lists of the canary: counts for nobody.
    await api.page("/recommendations/rooms", canary.ada)
    for listener in (canary.ada, canary.ben):
        canary.publish(listener, rooms[::-1])  # Ben's shard: his list is one that he may not have
    canary.world.publish(canary.ben, rooms, model_version=CONTROL_VERSION)
    for listener in (canary.ada, canary.ben):
        await api.page("/feed", listener, limit=5)
    for kind, room in (("rec_click", 7), ("listen_30s", 7), ("track_skip", 6), ("rec_click", 0)):
        canary.world.does(canary.ada, kind, rooms[room])
    canary.world.does(canary.ben, "rec_dismiss", rooms[1])
    with canary.database.transaction() as connection:
        found = load_evidence(connection, canary.experiment.name, SHARE, until=datetime.now(UTC))
    ada, ben = found.canary, found.control
    assert (ada.people, ada.impressions, ben.people, ben.impressions) == (1, 5, 1, 5)
    # Room 0 was clicked and not shown to her.
    assert [(float(each.y), float(each.x)) for each in ada.sums.values()] == [
        (1, 5), (1, 2), (1, 2), (0, 5),
    ]  # fmt: skip
    assert [float(each.y) for each in ben.sums.values()] == [0, 0, 0, 1]
    assert found.leaks == 1


def test_real_time_rankings_stand_on_the_list_of_the_persons_arm(world: World) -> None:
    ranked = RankedWorld(world, rooms=20)
    with running_canary(world, ranked.rooms[:3]) as canary:
        ours = ranked.publish(canary.ada, listed=20)
        world.sql("update seda.generations set arm = 'canary', experiment = %s "
                  "where generation = %s", canary.experiment.name, ours)  # fmt: skip
        world.sql("update seda.generation_pointer set generation = %s where arm = 'canary'", ours)
        theirs = ranked.publish(canary.ada, canary.ben, listed=20)
        friend = world.person("Cem")
        world.befriend(friend, canary.ada, canary.ben)
        ranked.event(friend, "join", ranked.rooms[10])
        assert ranked.rerank().written == 2
        standing = dict(world.sql("select user_id, generation from seda.realtime_rankings"))
        assert standing == {canary.ada.id: ours, canary.ben.id: theirs}
        back(canary)
        ranked.rerank()  # what stood on the canary's list is made again on what is served now
        standing = dict(world.sql("select user_id, generation from seda.realtime_rankings"))
        assert ours not in standing.values()
        assert canary.ada.id in standing
