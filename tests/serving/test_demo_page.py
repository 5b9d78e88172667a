"""The demo page in a real browser, against the API and the real-time service as processes."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

import httpx
import pytest

from seda.database.regions import Databases
from seda.database.storage import storages
from seda.privacy.erasure import Places
from seda.privacy.notices import LocalMail
from seda.privacy.running import run_privacy_jobs
from tests.privacy.full_world import settle
from tests.serving.browser import Tab, chromium, new_tab
from tests.serving.processes import api_process, free_port, realtime_process
from tests.serving.serving_world import Entity, Listener, World

NAMES = ".card .name"

# Which cards are moved by an animation from where they stood.
_RECORD_MOTION = """
window.moved = [];
const animate = Element.prototype.animate;
Element.prototype.animate = function (frames, ...others) {
  if (this.matches(".card") && /translateY\\(\\d/.test(frames[0].transform))
    moved.push(this.dataset.entity);
  return animate.call(this, frames, ...others);
};
0
"""


@dataclass
class Scene:
    """Ada's feed of five rooms and three of her friends, in a tab of which she is the listener."""

    world: World
    tab: Tab
    ada: Listener
    ben: Listener
    cleo: Listener
    dora: Listener
    rooms: list[Entity]
    ada_is_gone: bool = False
    """What the page asks for her is refused from then on, at whatever moment it asks."""

    def card(self, entity: Entity) -> str:
        return f'.card[data-entity="{entity.id}"]'

    def names(self) -> list[str]:
        return self.tab.texts(NAMES)

    def until_names(self, names: list[str]) -> None:
        script = f"[...document.querySelectorAll('{NAMES}')].map((e) => e.textContent).join()"
        self.tab.until(f"{script} === {json.dumps(','.join(names))}")

    def until_text(self, selector: str, text: str) -> None:
        found = f"document.querySelector({json.dumps(selector)})?.textContent"
        self.tab.until(f"{found}?.includes({json.dumps(text)})")

    def send(self, friend: Listener, room: Entity) -> None:
        """Walk a friend into a room by the form."""
        self.tab.until(f"document.querySelector('#room option[value=\"{room.id}\"]')")
        self.tab.until(f"document.querySelector('#friend option[value=\"{friend.id}\"]')")
        self.tab.run(
            f"document.getElementById('friend').value = '{friend.id}';"
            f"document.getElementById('room').value = '{room.id}';"
        )
        self.tab.click("#move button")


@pytest.fixture(scope="module")
def address(
    serving_databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """The page's address and the browser's: started once, all at the same time."""
    folder = tmp_path_factory.mktemp("demo")
    world = World(serving_databases)
    ports = {"SEDA_API_PORT": str(free_port()), "SEDA_REALTIME_PORT": str(free_port())}
    with ExitStack() as stack, ThreadPoolExecutor() as starting:
        browser = stack.enter_context(chromium(folder / "profile"))
        services = [
            starting.submit(stack.enter_context, each(world, folder, **ports))
            for each in (api_process, realtime_process)
        ]
        api, _ = (each.result() for each in services)
        yield f"{api.url}/demo", browser
    world.close()


@pytest.fixture
def scene(world: World, address: tuple[str, str]) -> Iterator[Scene]:
    page, browser = address
    ada, ben, cleo = (world.person(name, sandboxed=True) for name in ("Ada", "Ben", "Cleo"))
    dora = world.person("Dora", hidden=True, sandboxed=True)
    world.befriend(ada, ben, cleo, dora)
    rooms = world.entities("room", 6)
    world.publish(ada, rooms, world.entities("artist", 2))
    with new_tab(browser) as tab:
        tab.emulate(prefers_reduced_motion="reduce")
        tab.open(page)
        scene = Scene(world, tab, ada, ben, cleo, dora, rooms)
        tab.until("document.querySelector('.connection')?.dataset.state === 'live'")
        tab.until("document.querySelector('.card[data-id]')")
        yield scene
        refused = "status of 410" if scene.ada_is_gone else "status of nothing"
        assert [each for each in tab.complaints if refused not in each] == []


def test_everything_that_can_be_operated_has_a_name(scene: Scene) -> None:
    assert scene.tab.unnamed() == []


def test_a_listener_is_chosen_and_sees_what_is_recommended_and_why(scene: Scene) -> None:
    tab = scene.tab
    assert tab.texts("#listener option")[0] == "Ada · 3 friends"
    assert tab.run("document.getElementById('headline').textContent").endswith(", Ada.")
    mixed = ["#room 1", "artist 1", "#room 2", "artist 2", *(f"#room {n}" for n in range(3, 7))]
    assert sorted(scene.names()) == sorted(mixed)
    assert set(tab.texts(".reasons")) == {"Because it fits"}
    assert "personal list · generation" in tab.texts("#freshness")[0]
    assert "test-1" in tab.texts("#freshness")[0]

    tab.click("input[value=artists]")
    scene.until_names(["artist 1", "artist 2"])
    tab.click(".card [aria-label='Why artist 1?']")
    tab.until("document.getElementById('why').open")
    assert "Because it fits" in tab.texts("#why .because li")
    bars = tab.run(
        "[...document.querySelectorAll('#why .bars tr')].map((r) => [r.dataset.sign,"
        " r.querySelector('.value').textContent])"
    )
    assert ["1", "+0.50"] in bars
    assert any(sign == "-1" and value.startswith("−") for sign, value in bars)


@pytest.mark.parametrize("kind", ["dismiss", "not_interested", "never"])
def test_what_is_dismissed_goes_and_undo_brings_it_back(scene: Scene, kind: str) -> None:
    tab, room = scene.tab, scene.rooms[1]
    tab.click(f"{scene.card(room)} [data-kind={kind}]")
    tab.until(f"!document.querySelector('{scene.card(room)}')")
    until = "select kind from seda.suppressions"
    assert scene.world.sql(until) == [(kind,)]
    assert tab.texts("#undo p")[0].startswith(f"{room.name}: hidden ")

    tab.click("#undo button")
    tab.until(f"document.querySelector('{scene.card(room)}')")
    assert scene.world.sql(until) == []
    tab.until("!document.querySelector('#undo > *')")


def test_a_friend_who_walks_in_is_seen_and_the_room_rises(scene: Scene) -> None:
    tab, last = scene.tab, scene.rooms[-1]
    tab.click("input[value=rooms]")
    scene.until_names([f"#{room.name}" for room in scene.rooms])
    assert tab.texts(f"{scene.card(last)} .social") == ["No friend is here yet"]
    height = tab.run(f"document.querySelector('{scene.card(last)}').offsetHeight")
    tab.emulate(prefers_reduced_motion="no-preference")
    tab.run(_RECORD_MOTION)
    scene.send(scene.ben, last)
    scene.until_text(f"{scene.card(last)} .social", "Ben is here — join them")
    tab.until(f"document.querySelector('{scene.card(last)} .rank').textContent < 6")
    scene.until_text(f"{scene.card(last)} .moved", "↑")
    scene.until_text("#log", "Ben is here")
    assert tab.run(f"document.querySelector('{scene.card(last)}').offsetHeight") == height
    assert str(last.id) in tab.run("moved")

    scene.send(scene.cleo, last)
    scene.until_text(f"{scene.card(last)} .social", "2 of your friends are in #room 6 right now")
    assert tab.texts(f"{scene.card(last)} .social .avatar") == ["B", "C"]

    tab.click("[aria-label='Ben leaves']")
    scene.until_text(f"{scene.card(last)} .social", "Cleo is here — join them")
    assert scene.world.sql("select user_id from seda.room_presence") == [(scene.cleo.id,)]


def test_a_toast_slides_in_once_and_leads_to_its_room(scene: Scene) -> None:
    tab, last = scene.tab, scene.rooms[-1]
    scene.send(scene.ben, last)
    scene.until_text("#toasts .toast p", "Ben is here — join them")
    assert tab.texts("#toasts .toast .avatar") == ["B"]
    assert tab.run("document.getElementById('toasts').ariaLive") == "polite"
    assert tab.texts("#toasts .toast .link") == ["Show #room 6"]
    tab.click("#toasts .toast .link")
    tab.until(f"document.querySelector('{scene.card(last)}').contains(document.activeElement)")
    tab.until("!document.querySelector('#toasts > *')")

    scene.send(scene.cleo, last)  # within ten minutes of the toast
    scene.until_text(f"{scene.card(last)} .social", "2 of your friends are in #room 6 right now")
    assert tab.texts("#toasts .toast") == []


def test_a_new_generation_is_read_when_the_service_says_so(scene: Scene) -> None:
    tab, world = scene.tab, scene.world
    tab.click("input[value=artists]")
    scene.until_names(["artist 1", "artist 2"])
    world.publish(scene.ada, world.entities("artist", 3)[1:])
    news = {"users": [str(scene.ada.id)], "entity_types": ["artist"], "reason": "import",
            "at": datetime.now(UTC).isoformat()}  # fmt: skip
    world.sql("select pg_notify('seda_feed_updated', %s)", json.dumps(news))
    scene.until_names(["artist 2", "artist 3"])
    scene.until_text("#log", "New order of artists (import)")


def test_a_friend_who_hides_is_not_seen(scene: Scene) -> None:
    tab, last = scene.tab, scene.rooms[-1]
    scene.send(scene.dora, last)
    scene.until_text("#friends", "Dora")
    scene.send(scene.ben, last)  # what comes after it has come: nothing of Dora was under way
    scene.until_text(f"{scene.card(last)} .social", "Ben is here — join them")
    assert "Dora" not in tab.texts("#log")[0]
    assert tab.texts(f"{scene.card(last)} .avatar") == ["B"]


def test_presence_is_rendered_at_most_once_a_second(scene: Scene) -> None:
    tab, room = scene.tab, scene.rooms[0]
    for _ in range(2):
        for friend in (scene.ben, scene.cleo):
            scene.send(friend, room)
            tab.click(f"[aria-label='{friend.name} leaves']")
            tab.until(f"!document.querySelector(\"[aria-label='{friend.name} leaves']\")")
    scene.send(scene.ben, room)
    tab.until("performance.getEntriesByName('rendered').length >= 2")
    moments = tab.run("performance.getEntriesByName('rendered').map((e) => e.startTime)")
    assert all(later - earlier >= 995 for earlier, later in pairwise(moments))


def test_a_problem_is_told_in_its_own_words(scene: Scene) -> None:
    tab = scene.tab
    scene.world.sql("update seda.users set deleted_at = now() where id = %s", scene.ada.id)
    tab.click("input[value=rooms]")
    tab.until("document.querySelector('#problems p')")
    assert "This account has been deleted." in tab.texts("#problems p")[0]
    # The browser tells of every response that is an error, which was the point.
    scene.ada_is_gone = True


def test_a_listener_exports_their_data_and_deletes_their_account(scene: Scene) -> None:
    tab, world, ada = scene.tab, scene.world, scene.ada
    tab.click("#data-open")
    scene.until_text("#links", "No provider is set up here")
    assert tab.unnamed() == []
    tab.click("#export")
    scene.until_text("#export-state", "Export queued")
    settle(world.databases)
    places = Places(world.databases, storages(world.settings))
    mail = LocalMail(places.home, lambda: datetime.now(UTC))
    assert run_privacy_jobs(places, mail, lambda: datetime.now(UTC)).jobs["export completed"] == 1
    tab.until("document.querySelector('#export-state a')")
    link = tab.run("document.querySelector('#export-state a').href")
    assert httpx.get(link).headers["content-type"] == "application/zip"

    tab.run("document.querySelector('#delete select').value = 'account'")
    tab.click("#delete .primary")  # not without saying so
    assert world.sql("select count(*) from seda.tombstones") == [(0,)]
    tab.click("#delete input[type=checkbox]")
    tab.click("#delete .primary")
    scene.ada_is_gone = True
    scene.until_text("#feed", "Ada is gone")
    assert world.sql("select user_id from seda.tombstones") == [(ada.id,)]
    assert not tab.run(f"document.querySelector('#listener option[value=\"{ada.id}\"]')")
