"""Dismissals: three kinds, gone on the next request, undone in ten seconds, reversed at will."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import pytest

from seda.database.regions import Region
from seda.publishing.cards import recommendation_id
from tests.serving.serving_world import Api, Entity, Listener, World, names, open_api


class Clock:
    """The API's clock, moved by a test."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(microsecond=123_456)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **time: float) -> None:
        self.now += timedelta(**time)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def api(world: World, clock: Clock) -> AsyncIterator[Api]:
    async with open_api(world, clock=clock) as api:
        yield api


def card_id(listener: Listener, entity: Entity) -> UUID:
    return UUID(bytes=recommendation_id(listener.id.bytes, entity.type, entity.id.bytes))


class Actions:
    """What a person does, at the clock's time."""

    def __init__(self, api: Api, clock: Clock) -> None:
        self.api, self.clock = api, clock

    async def dismiss(self, who: Listener, entity: Entity, kind: str) -> httpx.Response:
        path = f"/recommendations/{card_id(who, entity)}/dismissals"
        return await self.api.call("POST", path, who, now=self.clock.now, json={"kind": kind})

    async def undo(self, who: Listener, entity: Entity) -> httpx.Response:
        path = f"/recommendations/{card_id(who, entity)}/dismissals"
        return await self.api.call("DELETE", path, who, now=self.clock.now)

    async def suppressions(self, who: Listener, **query: object) -> dict:
        response = await self.api.call(
            "GET", "/suppressions", who, now=self.clock.now, params=query
        )
        assert response.status_code == 200, response.text
        return response.json()

    async def feed(self, who: Listener) -> list[str]:
        response = await self.api.call("GET", "/feed", who, now=self.clock.now)
        assert response.status_code == 200, response.text
        return names(response.json())


@pytest.fixture
def actions(api: Api, clock: Clock) -> Actions:
    return Actions(api, clock)


@pytest.mark.parametrize(
    ("kind", "duration"),
    [("dismiss", timedelta(hours=24)), ("not_interested", timedelta(days=30)), ("never", None)],
)
@pytest.mark.parametrize("region", list(Region))
async def test_each_kind_hides_at_once_and_for_its_own_time(
    world: World, actions: Actions, clock: Clock, region: Region, kind: str,
    duration: timedelta | None,
) -> None:  # fmt: skip
    ada = world.person("Ada", region)
    first, second = world.entities("artist", 2)
    world.publish(ada, [first, second])
    response = await actions.dismiss(ada, first, kind)
    assert response.status_code == 200
    until = response.json()["suppressed_until"]
    assert response.json()["kind"] == kind
    assert datetime.fromisoformat(response.json()["undo_until"]) == clock.now + timedelta(
        seconds=10
    )
    assert (until and datetime.fromisoformat(until)) == (duration and clock.now + duration)
    assert await actions.feed(ada) == [second.name]
    clock.now += (duration or timedelta(days=5000)) - timedelta(seconds=1)
    assert await actions.feed(ada) == [second.name]
    clock.advance(seconds=1)
    assert (first.name in await actions.feed(ada)) is (duration is not None)


async def test_a_repeated_dismissal_gets_the_same_answer_and_one_event(
    world: World, actions: Actions, clock: Clock
) -> None:
    ada = world.person("Ada")
    artist = world.entity("artist", "Autechre")
    world.publish(ada, [artist])
    first = await actions.dismiss(ada, artist, "not_interested")
    clock.advance(seconds=5)
    again = await actions.dismiss(ada, artist, "not_interested")
    weaker = await actions.dismiss(ada, artist, "dismiss")
    assert first.json() == again.json() == weaker.json()
    stronger = await actions.dismiss(ada, artist, "never")
    assert stronger.json()["kind"] == "never"
    assert stronger.json()["suppressed_until"] is None
    assert stronger.json()["undo_until"] > first.json()["undo_until"]
    events = world.sql(
        "select props ->> 'kind', props ->> 'entity_id' from seda.fact_events "
        "where event_type = 'rec_dismiss' order by id"
    )
    assert events == [("not_interested", str(artist.id)), ("never", str(artist.id))]


async def test_a_dismissal_that_ran_out_starts_anew(
    world: World, actions: Actions, clock: Clock
) -> None:
    ada = world.person("Ada")
    artist = world.entity("artist", "Autechre")
    world.publish(ada, [artist])
    await actions.dismiss(ada, artist, "not_interested")
    clock.advance(days=30)
    again = await actions.dismiss(ada, artist, "dismiss")
    assert again.json()["kind"] == "dismiss"
    until = datetime.fromisoformat(again.json()["suppressed_until"])
    assert until == clock.now + timedelta(hours=24)


async def test_undo_within_ten_seconds_and_not_afterwards(
    world: World, actions: Actions, clock: Clock
) -> None:
    ada = world.person("Ada")
    artist = world.entity("artist", "Autechre")
    world.publish(ada, [artist])
    nothing = await actions.undo(ada, artist)
    assert (nothing.status_code, nothing.json()["code"]) == (404, "nothing_to_undo")
    await actions.dismiss(ada, artist, "never")
    clock.advance(seconds=10)
    assert (await actions.undo(ada, artist)).status_code == 204
    assert await actions.feed(ada) == [artist.name]
    assert world.sql("select 1 from seda.fact_events") == []
    assert (await actions.undo(ada, artist)).status_code == 404
    await actions.dismiss(ada, artist, "dismiss")
    clock.advance(seconds=10, milliseconds=1)
    late = await actions.undo(ada, artist)
    assert (late.status_code, late.json()["code"]) == (409, "undo_too_late")
    assert await actions.feed(ada) == []


async def test_suppressions_are_listed_and_reversed(
    world: World, actions: Actions, clock: Clock, api: Api
) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    artist, room = world.entity("artist", "Autechre"), world.entity("room", "electronic")
    world.publish(ada, [artist], [room])
    await actions.dismiss(ada, artist, "never")
    clock.advance(hours=1)
    await actions.dismiss(ada, room, "dismiss")
    page = await actions.suppressions(ada)
    assert [(each["name"], each["kind"]) for each in page["items"]] == [
        ("electronic", "dismiss"), ("Autechre", "never"),
    ]  # fmt: skip
    assert page["next_cursor"] is None
    assert page["items"][1]["until"] is None
    assert await actions.suppressions(ben) == {"items": [], "next_cursor": None}
    path = f"/suppressions/{page['items'][1]['id']}"
    assert (await api.call("DELETE", path, ben, now=clock.now)).status_code == 404
    assert (await api.call("DELETE", path, ada, now=clock.now)).status_code == 204
    assert (await api.call("DELETE", path, ada, now=clock.now)).status_code == 404
    assert await actions.feed(ada) == [artist.name]
    clock.advance(hours=24)
    assert (await actions.suppressions(ada))["items"] == []


async def test_a_long_list_of_suppressions_is_paged_even_while_it_is_reversed(
    world: World, actions: Actions, clock: Clock
) -> None:
    ada = world.person("Ada")
    for artist in world.entities("artist", 101):
        world.suppress(ada, artist)
    clock.advance(seconds=60)
    page = await actions.suppressions(ada)
    assert len(page["items"]) == 100
    world.sql("delete from seda.suppressions where id = %s", page["items"][-1]["id"])
    rest = await actions.suppressions(ada, cursor=page["next_cursor"])
    seen = {each["id"] for each in [*page["items"], *rest["items"]]}
    assert len(seen) == 101
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("cursor", ["", "x", "1.2", "9" * 400 + ".00", "-9999999999999999999.a"])
async def test_a_bad_cursor_of_suppressions_is_400(
    world: World, api: Api, clock: Clock, cursor: str
) -> None:
    ada = world.person("Ada")
    response = await api.call("GET", "/suppressions", ada, now=clock.now, params={"cursor": cursor})
    assert (response.status_code, response.json()["code"]) == (400, "bad_cursor")


async def test_only_ones_own_recommendations_can_be_dismissed(
    world: World, actions: Actions, api: Api, clock: Clock
) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    artist = world.entity("artist", "Autechre")
    world.publish(ben, [artist])
    path = f"/recommendations/{card_id(ben, artist)}/dismissals"
    for method, options in (("POST", {"json": {"kind": "never"}}), ("DELETE", {})):
        response = await api.call(method, path, ada, now=clock.now, **options)
        assert (response.status_code, response.json()["code"]) == (404, "unknown_recommendation")
        nobody = f"/recommendations/{uuid4()}/dismissals"
        assert (await api.call(method, nobody, ada, now=clock.now, **options)).status_code == 404
    assert world.sql("select 1 from seda.suppressions") == []


async def test_a_card_of_an_earlier_generation_can_be_dismissed(
    world: World, actions: Actions
) -> None:
    ada = world.person("Ada")
    old, new = world.entities("artist", 2)
    world.publish(ada, [old])
    world.publish(ada, [new])
    assert (await actions.dismiss(ada, old, "never")).status_code == 200


async def test_a_card_on_record_can_be_dismissed_for_thirty_days(
    world: World, actions: Actions, clock: Clock
) -> None:
    ada = world.person("Ada")
    for age, status in ((29, 200), (31, 404)):
        artist = world.entity("artist", f"shown {age} days ago")
        world.sql(
            "insert into seda.impression_pages (id, user_id, recommendation_ids, entity_type, "
            "entity_ids, surface, positions, model_version, shown_at) "
            "values (gen_random_uuid(), %s, %s, 'artist', %s, 'feed', '{1}', 'test-1', %s)",
            ada.id,
            [card_id(ada, artist)],
            [artist.id],
            clock.now - timedelta(days=age),
        )
        assert (await actions.dismiss(ada, artist, "dismiss")).status_code == status


async def test_cards_of_the_fall_back_lists_can_be_dismissed(
    world: World, actions: Actions
) -> None:
    ada = world.person("Ada", genres=("techno",))
    techno, everywhere, jazz = (world.entity("artist", name) for name in ("t", "*", "j"))
    world.genre_list("techno", [techno])
    world.genre_list("*", [everywhere])
    world.genre_list("jazz", [jazz])
    assert await actions.feed(ada) == ["t"]
    assert (await actions.dismiss(ada, techno, "never")).status_code == 200
    assert techno.name not in await actions.feed(ada)
    assert (await actions.dismiss(ada, everywhere, "never")).status_code == 200
    assert (await actions.dismiss(ada, jazz, "never")).status_code == 404
    # Even when it has left the lists since.
    world.sql("delete from seda.genre_top_entities")
    assert (await actions.undo(ada, techno)).status_code == 204


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"kind": "sometimes"}, 422), ({"kind": None}, 422), ({}, 422), ([], 422),
        ({"kind": "never", "entity": 1}, 422), ({"kind": "never\x00"}, 422),
    ],
)  # fmt: skip
async def test_a_bad_dismissal_is_refused(
    world: World, api: Api, clock: Clock, body: object, status: int
) -> None:
    ada = world.person("Ada")
    path = f"/recommendations/{uuid4()}/dismissals"
    response = await api.call("POST", path, ada, now=clock.now, json=body)
    assert response.status_code == status


async def test_the_unknown_and_the_deleted_are_told_so(world: World, actions: Actions) -> None:
    gone = world.person("Gone", deleted=True)
    artist = world.entity("artist", "Autechre")
    assert (await actions.dismiss(gone, artist, "never")).status_code == 410
    unknown = Listener(uuid4(), uuid4(), Region.GLOBAL, "Nobody")
    assert (await actions.dismiss(unknown, artist, "never")).status_code == 404
