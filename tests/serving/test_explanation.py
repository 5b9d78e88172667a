"""An explanation says what the night computed, by name, and what moves the item now."""

from datetime import timedelta
from uuid import uuid4

import pytest

from seda.recommender.terms import CONTRIBUTIONS, FEATURES, INPUTS
from serving.explanation import EXPLANATION_EXAMPLE, Explanation
from tests.serving.serving_world import Listener, World


async def _explained(api, listener: Listener, id: str) -> dict:
    response = await api.get(f"/recommendations/{id}/explanation", listener)
    assert response.status_code == 200, response.text
    Explanation.model_validate(response.json())
    return response.json()


async def test_it_names_terms_features_and_versions(api, world: World) -> None:
    ada = world.person("Ada")
    generation = world.publish(ada, world.entities("artist", 3))
    item = (await api.page("/feed", ada))["items"][1]
    told = await _explained(api, ada, item["id"])
    assert (told["entity_id"], told["rank"], told["position"]) == (item["entity_id"], 2, 2)
    assert told["score"] == pytest.approx(item["score"])
    assert told["reasons"] == item["reasons"]
    assert (told["generation"], told["model_version"]) == (generation, "test-1")
    assert told["source"] == "recommendation"
    assert {each["term"] for each in told["contributions"]} == set(CONTRIBUTIONS)
    sizes = [abs(each["contribution"]) for each in told["contributions"]]
    assert sizes == sorted(sizes, reverse=True)
    assert told["contributions"][0] == {"term": "base", "contribution": pytest.approx(-1.0)}
    assert set(told["features"]) == set(FEATURES)
    assert told["features"][FEATURES[0]] is None
    assert told["signals"][INPUTS[1]] == pytest.approx(2.01)


async def test_it_tells_what_live_order_adds(api, world: World) -> None:
    ada, alex = world.person("Ada"), world.person("Alex")
    rooms = [world.entity("room", f"room {n}", genre="techno") for n in range(5)]
    world.publish(ada, rooms)
    page = await api.page("/feed", ada)
    ids = {item["name"]: item["id"] for item in page["items"]}
    world.befriend(ada, alex)
    world.enter(rooms[3], alex)
    world.does(ada, "room_join", rooms[0])
    told = await _explained(api, ada, ids["room 3"])
    assert [(each["kind"], round(each["places"])) for each in told["live"]] == [
        ("friends_here", 4), ("listened", 3), ("shown", -1),
    ]  # fmt: skip
    assert told["live"][1]["text"] == "You just joined a techno room"
    assert (await _explained(api, ada, ids["room 0"]))["live"] == []


async def test_another_persons_id_is_404(api, world: World) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    world.publish(ada, world.entities("artist", 1))
    world.publish(ben, world.entities("artist", 1))
    theirs = (await api.page("/feed", ben))["items"][0]["id"]
    for id in (theirs, str(uuid4())):
        response = await api.get(f"/recommendations/{id}/explanation", ada)
        assert (response.status_code, response.json()["code"]) == (404, "unknown_recommendation")
    assert (await api.get("/recommendations/x/explanation", ada)).status_code == 422


async def test_what_was_shown_is_explained_for_30_days_whatever_became_of_its_generation(
    api, world: World
) -> None:
    ada = world.person("Ada")
    first = world.publish(ada, world.entities("artist", 2))
    item = (await api.page("/feed", ada))["items"][0]
    world.publish(ada, world.entities("artist", 2))
    assert (await _explained(api, ada, item["id"]))["generation"] == first
    world.drop_generation(first)
    told = await _explained(api, ada, item["id"])
    assert (told["source"], told["generation"]) == ("impression", first)
    assert (told["model_version"], told["score"], told["contributions"]) == ("test-1", None, [])
    assert told["signals"][INPUTS[0]] == pytest.approx(1.0)
    world.sql("update seda.impression_pages set shown_at = shown_at - %s", timedelta(days=31))
    gone = await api.get(f"/recommendations/{item['id']}/explanation", ada)
    assert gone.status_code == 404


async def test_a_fall_back_item_is_explained_too(api, world: World) -> None:
    ada = world.person("Ada")
    world.genre_list("*", world.entities("artist", 1))
    item = (await api.page("/feed", ada))["items"][0]
    told = await _explained(api, ada, item["id"])
    assert told["reasons"] == item["reasons"]
    assert told["generation"] is None


async def test_a_generation_that_is_still_loading_explains_nothing(api, world: World) -> None:
    ada = world.person("Ada")
    world.publish(ada, world.entities("artist", 1))
    world.sql("update seda.generations set state = 'loading'")
    ((id,),) = world.sql("select id::text from seda.recommendations")
    assert (await api.get(f"/recommendations/{id}/explanation", ada)).status_code == 404


def test_the_example_in_the_document_is_true() -> None:
    Explanation.model_validate(EXPLANATION_EXAMPLE)
