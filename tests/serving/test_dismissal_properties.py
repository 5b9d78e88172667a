"""Whatever a person dismisses, undoes and reverses, and whatever is published meanwhile: no page
ever shows what is suppressed, and none loses what is not.

The real app over the real databases, driven by Hypothesis. A longer run of it:

    DISMISSAL_STEPS=10000 make test ARGS="tests/serving/test_dismissal_properties.py"
"""

import asyncio
import os
from collections.abc import Awaitable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, TypeVar
from uuid import UUID

import httpx
import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from seda.database.regions import Databases
from seda.publishing.cards import recommendation_id
from tests.serving.serving_world import Api, Entity, Listener, World, open_api

STEPS = int(os.environ.get("DISMISSAL_STEPS", "200"))
STEPS_PER_EXAMPLE = 50
LIFETIMES = {"dismiss": timedelta(hours=24), "not_interested": timedelta(days=30), "never": None}
KINDS = list(LIFETIMES)
PATHS = {"room": "/recommendations/rooms", "artist": "/recommendations/artists"}
POOL = 8  # entities of each type, few enough to meet again

T = TypeVar("T")


@dataclass
class Held:
    """What the model believes about a suppression."""

    kind: str
    until: datetime | None
    undo_until: datetime


class Stage:
    """The app, the world and a catalogue, shared by all examples; each has a person of its own."""

    def __init__(self, databases: Databases) -> None:
        self.world = World(databases)
        self.world.clear()
        self.now = datetime.now(UTC)
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.pool = [e for type in PATHS for e in self.world.entities(type, POOL)]
        self.world.genre_list("*", [e for e in self.pool if e.type == "artist"][:4])
        # One address asks for everybody, as fast as the machine answers.
        unlimited = {"rate_limit_person": 0, "rate_limit_address": 0}
        opening = open_api(
            self.world,
            clock=lambda: self.now,
            settings=self.world.settings.model_copy(update=unlimited),
        )
        self.api: Api = self.runner.run(self.stack.enter_async_context(opening))
        self.steps = 0

    def run(self, work: Awaitable[T]) -> T:
        async def awaited() -> T:
            return await work

        return self.runner.run(awaited())

    def close(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()
        self.world.close()


class Dismissals(RuleBasedStateMachine):
    """One person's requests against a model of what must be hidden."""

    stage: Stage
    ada: Listener

    @initialize()
    def arrive(self) -> None:
        self.ada = self.stage.world.person("Ada")
        self.held: dict[UUID, Held] = {}
        self.lists: dict[str, list[Entity]] = {}
        self.kept: list[int] = []

    def teardown(self) -> None:
        for generation in self.kept:
            self._drop(generation)

    @rule(chosen=st.lists(st.integers(0, 2 * POOL - 1), min_size=1, max_size=12, unique=True))
    def publish(self, chosen: list[int]) -> None:
        entities = [self.stage.pool[place] for place in chosen]
        lists = {t: [e for e in entities if e.type == t] for t in PATHS}
        pointed = self._pointed()
        generation = self.stage.world.publish(
            self.ada, *[each for each in lists.values() if each], lifetime=timedelta(days=90)
        )
        # A type that the new generation lacks is still served from the one before.
        self.lists |= {type: each for type, each in lists.items() if each}
        # Kept: what is served, and what was until now, for the cursors that started on it.
        pointed |= self._pointed()
        for old in set(self.kept) - pointed:
            self._drop(old)
        self.kept = [each for each in [*self.kept, generation] if each in pointed]

    @rule(place=st.integers(0, 2 * POOL - 1), kind=st.sampled_from(KINDS))
    def dismiss(self, place: int, kind: str) -> None:
        entity = self.stage.pool[place]
        response = self._call("POST", self._path(entity), json={"kind": kind})
        if response.status_code == 404:
            assert entity.id not in self._visible() | self.held.keys()
            return
        assert response.status_code == 200, response.text
        now, before = self.stage.now, self._active(entity)
        if before is None or KINDS.index(kind) > KINDS.index(before.kind):
            lifetime = LIFETIMES[kind]
            until = None if lifetime is None else now + lifetime
            self.held[entity.id] = Held(kind, until, now + timedelta(seconds=10))
        held, answer = self.held[entity.id], response.json()
        assert answer["kind"] == held.kind
        assert _moment(answer["suppressed_until"]) == held.until
        assert _moment(answer["undo_until"]) == held.undo_until

    @rule(data=st.data())
    @precondition(lambda self: self.held)
    def undo(self, data: st.DataObject) -> None:
        entity = self._some_held(data)
        before = self._active(entity)
        response = self._call("DELETE", self._path(entity))
        if before is None:
            assert response.status_code == 404
        elif self.stage.now <= before.undo_until:
            assert response.status_code == 204
            del self.held[entity.id]
        else:
            assert response.status_code == 409

    @rule(data=st.data())
    @precondition(lambda self: self.held)
    def reverse(self, data: st.DataObject) -> None:
        entity = self._some_held(data)
        listed = self._call("GET", "/suppressions").json()["items"]
        active = {id for id in self.held if self._is_active(id)}
        assert {UUID(each["entity_id"]) for each in listed} == active
        for each in listed:
            if UUID(each["entity_id"]) == entity.id:
                assert self._call("DELETE", f"/suppressions/{each['id']}").status_code == 204
                del self.held[entity.id]

    @rule(
        step=st.sampled_from(
            [timedelta(seconds=4), timedelta(seconds=11), timedelta(hours=25), timedelta(days=31)]
        )
    )
    def advance_clock(self, step: timedelta) -> None:
        self.stage.now += step

    @rule(limit=st.integers(1, 5), chosen=st.lists(st.integers(0, 15), min_size=1, unique=True))
    def dismiss_and_publish_between_pages(self, limit: int, chosen: list[int]) -> None:
        """A cursor keeps to its lists: what is dismissed meanwhile goes, and nothing else does."""
        before = self._visible()
        seen = self._page("/feed", limit)
        items, cursor = list(seen["items"]), seen["next_cursor"]
        if items:
            self.dismiss(self._place(items[0]["entity_id"]), "dismiss")
        self.publish(chosen)
        hidden = {id for id in self.held if self._is_active(id)}
        while cursor:
            seen = self._page("/feed", limit, cursor=cursor)
            items += (later := seen["items"])
            assert not {UUID(each["entity_id"]) for each in later} & hidden
            cursor = seen["next_cursor"]
        ids = [UUID(each["entity_id"]) for each in items]
        assert len(ids) == len(set(ids))
        assert before - hidden <= set(ids) <= before

    @rule(limit=st.integers(1, 50))
    def page_through(self, limit: int) -> None:
        for path, types in [("/feed", set(PATHS)), *((path, {t}) for t, path in PATHS.items())]:
            seen: list[UUID] = []
            cursor: dict[str, str] = {}
            while True:
                page = self._page(path, limit, **cursor)
                seen += [UUID(each["entity_id"]) for each in page["items"]]
                if not page["next_cursor"]:
                    break
                cursor = {"cursor": page["next_cursor"]}
            assert len(seen) == len(set(seen))
            assert set(seen) == self._visible(types)

    @invariant()
    def the_feed_is_what_it_must_be(self) -> None:
        self.stage.steps += 1
        items = self._page("/feed", 50)["items"]
        assert {UUID(each["entity_id"]) for each in items} == self._visible()

    def _visible(self, types: set[str] | None = None) -> set[UUID]:
        """What the person must see: of their lists, else of what trends."""
        wanted = types or set(PATHS)
        lists = [e for type, each in self.lists.items() if type in wanted for e in each]
        if not lists:
            lists = [e for e in self.stage.pool if e.type == "artist" and e.type in wanted][:4]
        return {each.id for each in lists if not self._is_active(each.id)}

    def _is_active(self, id: UUID) -> bool:
        held = self.held.get(id)
        return held is not None and (held.until is None or held.until > self.stage.now)

    def _active(self, entity: Entity) -> Held | None:
        return self.held[entity.id] if self._is_active(entity.id) else None

    def _some_held(self, data: st.DataObject) -> Entity:
        id = data.draw(st.sampled_from(list(self.held)))
        return self.stage.pool[self._place(id)]

    def _place(self, id: UUID | str) -> int:
        return [str(each.id) for each in self.stage.pool].index(str(id))

    def _path(self, entity: Entity) -> str:
        id = recommendation_id(self.ada.id.bytes, entity.type, entity.id.bytes)
        return f"/recommendations/{UUID(bytes=id)}/dismissals"

    def _page(self, path: str, limit: int, **query: Any) -> dict[str, Any]:
        response = self._call("GET", path, params={"limit": limit, **query})
        assert response.status_code == 200, response.text
        return response.json()

    def _call(self, method: str, path: str, **options: Any) -> httpx.Response:
        now = self.stage.now
        return self.stage.run(self.stage.api.call(method, path, self.ada, now=now, **options))

    def _pointed(self) -> set[int]:
        rows = self.stage.world.sql("select generation from seda.generation_pointer")
        return {generation for (generation,) in rows}

    def _drop(self, generation: int) -> None:
        world = self.stage.world
        world.sql("delete from seda.generation_pointer where generation = %s", generation)
        world.sql("update seda.generations set state = 'dropped' where generation = %s", generation)
        world.drop_generation(generation)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


@pytest.fixture
def stage(serving_databases: Databases) -> Iterator[Stage]:
    stage = Stage(serving_databases)
    yield stage
    stage.close()


def test_no_page_shows_what_is_suppressed_or_loses_what_is_not(stage: Stage) -> None:
    Dismissals.stage = stage
    for number in count():
        run_state_machine_as_test(
            seed(number)(Dismissals),
            settings=settings(
                max_examples=max(1, (STEPS - stage.steps) // STEPS_PER_EXAMPLE),
                stateful_step_count=STEPS_PER_EXAMPLE,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        if stage.steps >= STEPS:
            break
