"""Friends come, and whoever can be reached is decided upon: once, with the reason on record."""

import json
import os
import signal
import socket
import subprocess
import sys
import time as clock_time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from seda.database.regions import Region, shards_of
from seda.notifications import occasions
from seda.notifications.occasions import CONSUMER, consider_arrivals
from tests.notifications.push_world import database, listener, logged, outbox
from tests.serving.ranked_world import RankedWorld
from tests.serving.serving_world import Entity, Listener, World


@pytest.fixture
def ranked(world: World) -> RankedWorld:
    return RankedWorld(world, rooms=20)


def friend(world: World, person: Listener, name: str, **options: bool) -> Listener:
    ben = world.person(name, **options)
    world.befriend(person, ben)
    return ben


def consider(ranked: RankedWorld, *, now: datetime | None = None, threshold: float = 0.0):
    ranked.ahead(consumer=CONSUMER)
    shards = sum(each.region is Region.GLOBAL for each in shards_of(ranked.world.settings))
    return consider_arrivals(
        database(ranked.world), now=now or datetime.now(UTC), threshold=threshold, shards=shards
    )


def listened(world: World, artists: list[Entity], *people: Listener) -> None:
    for person in people:
        for plays, artist in enumerate(artists, start=1):
            world.sql(
                "insert into seda.activity_counts (user_id, entity_type, entity_id, source, "
                "period, plays) values (%s, 'artist', %s, 'seda', '2026-11-01', %s)",
                *(person.id, artist.id, plays),
            )


def test_two_friends_send_one_push_that_names_the_room(ranked) -> None:
    world = ranked.world
    ada = listener(world, "Ada", "phone", "tablet")
    ben, cem = friend(world, ada, "Ben"), friend(world, ada, "Cem")
    ranked.publish(ada)
    room = ranked.order(ada)[0]
    for each in (ben, cem):
        ranked.event(each, "join", room)
    assert consider(ranked) == {"friends_present": 1}
    assert logged(world) == [("sent", "friends_present")]
    sent = outbox(world, "title, body, entity_id")
    assert (
        sent == [(f"#{room.name}", f"2 of your friends are in #{room.name} right now", room.id)] * 2
    )
    ((score, shown),) = world.sql(
        "select l.score, m.scores[1] from seda.notification_log l "
        "cross join seda.mv_user_top_candidates m"
    )
    assert score == pytest.approx(shown)
    assert consider(ranked) == {}  # each event is decided upon once


def test_one_friend_sends_where_the_two_listen_alike(ranked) -> None:
    world = ranked.world
    artists = world.entities("artist", 6)
    ada = listener(world, "Ada", "phone")
    ben, cem = friend(world, ada, "Ben"), friend(world, ada, "Cem")
    listened(world, artists[:4], ada, ben)
    listened(world, artists[3:], cem)
    ranked.publish(ada)
    ranked.event(cem, "join", ranked.order(ada)[1])
    assert set(consider(ranked)) <= {"no_occasion", "novelty"}
    ranked.event(ben, "join", ranked.order(ada)[0])
    assert consider(ranked) == {"close_friend": 1}


def test_the_score_is_that_of_the_moment_and_decides(ranked) -> None:
    world = ranked.world
    ada = listener(world, "Ada", "phone")
    ben, cem = friend(world, ada, "Ben"), friend(world, ada, "Cem")
    ranked.publish(ada, listed=15)
    unlisted = next(room for room in ranked.rooms if room not in ranked.order(ada))
    for each in (ben, cem):
        ranked.event(each, "join", unlisted)
    assert consider(ranked, threshold=0.01) == {"low_score": 1}
    room = ranked.order(ada)[10]
    for each in (ben, cem):
        ranked.event(each, "join", room)
    ranked.rerank()
    consider(ranked, threshold=0.999)
    ((score, now),) = world.sql(
        "select l.score, r.scores[11] from seda.notification_log l, seda.realtime_rankings r "
        "where l.entity_id = %s",
        room.id,
    )
    assert score == pytest.approx(now)


def test_who_is_there_cannot_be_reached_or_sees_nobody_is_not_asked_about(ranked) -> None:
    world = ranked.world
    ada, dan = listener(world, "Ada", "phone"), listener(world, "Dan")
    hidden = world.person("Cem", hidden=True)
    ben = friend(world, ada, "Ben")
    for person in (ada, dan):
        world.befriend(person, hidden)
    world.befriend(dan, ben)
    ranked.publish(ada, dan)
    room = ranked.order(ada)[0] if ranked.order(ada) else ranked.rooms[0]
    ranked.event(hidden, "join", room)
    assert consider(ranked) == {}  # Ada sees nobody, Dan has no device
    ranked.event(ben, "join", room)
    ranked.event(ben, "leave", room)
    assert consider(ranked) == {}  # gone again
    world.enter(room, ada)
    ranked.event(ben, "join", room)
    assert consider(ranked) == {}  # Ada is there herself
    assert logged(world) == []


def test_what_waited_too_long_is_no_news(ranked) -> None:
    world = ranked.world
    ada = listener(world, "Ada", "phone")
    ben = friend(world, ada, "Ben")
    ranked.publish(ada)
    ranked.event(ben, "join", ranked.rooms[0])
    assert consider(ranked, now=datetime.now(UTC) + timedelta(minutes=16)) == {}
    assert ranked.ahead(consumer=CONSUMER).events == 0


def test_a_worker_that_dies_between_decision_and_cursor_has_decided_nothing(
    ranked, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = ranked.world
    ada = listener(world, "Ada", "phone")
    ben, cem = friend(world, ada, "Ben"), friend(world, ada, "Cem")
    ranked.publish(ada)
    for each in (ben, cem):
        ranked.event(each, "join", ranked.order(ada)[0])

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(occasions, "move_cursor", dies)
        with pytest.raises(KeyboardInterrupt):
            consider(ranked)
    assert logged(world) == outbox(world) == []
    assert consider(ranked) == {"friends_present": 1}
    assert len(outbox(world)) == 1


def test_the_notifier_as_a_process_delivers_once_a_day_and_not_at_night(
    ranked, tmp_path: Path
) -> None:
    world = ranked.world
    now = datetime.now(UTC)
    soon = (now + timedelta(hours=2)).time().replace(microsecond=0, tzinfo=None)
    ada = listener(world, "Ada", "phone")
    eve = listener(
        world, "Eve", "phone of Eve",
        quiet_from=(now - timedelta(hours=2)).time().replace(microsecond=0), quiet_to=soon,
    )  # fmt: skip
    ben, cem = friend(world, ada, "Ben"), friend(world, ada, "Cem")
    world.befriend(eve, ben, cem)
    ranked.publish(ada)
    ranked.publish(eve)
    room, another = ranked.rooms[:2]
    process, port = _start(world, tmp_path)
    try:
        for each in (ben, cem):
            ranked.event(each, "join", room)
        sink = tmp_path / "sink" / "global" / "pushes"
        _until(lambda: list(sink.glob("*.jsonl")))
        _until(lambda: len(logged(world)) >= 2)
        for each in (ben, cem):
            ranked.event(each, "join", another)
        _until(lambda: ("suppressed", "sent_recently") in logged(world))
        assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=20)
    assert status == 0, (tmp_path / "log").read_text()
    (file,) = sink.glob("*.jsonl")
    assert file.name == f"{ada.id}.jsonl"
    (line,) = file.read_text().splitlines()
    assert json.loads(line)["entity_id"] == str(room.id)
    reasons = world.sql(
        "select user_id, decision, reason from seda.notification_log where decision = 'sent' "
        "or reason = 'quiet_hours'"
    )
    assert (ada.id, "sent", "friends_present") in reasons
    assert {row[1:] for row in reasons if row[0] == eve.id} == {("suppressed", "quiet_hours")}
    assert outbox(world, "state, body") == [("sent", "")]


def _start(world: World, home: Path) -> tuple[subprocess.Popen[bytes], int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {
        **os.environ, **{f"SEDA_{name}DATABASE_URL": world.databases[region].url
                         for name, region in (("", Region.GLOBAL), ("EU_", Region.EU))},
        "SEDA_HOME": str(home), "SEDA_NOTIFIER_PORT": str(port), "SEDA_PUSH_THRESHOLD": "0",
    }  # fmt: skip
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "serving.notifier"],
            env=environment, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def ready() -> bool:
        assert process.poll() is None, (home / "log").read_text()
        try:
            return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    _until(ready)
    return process, port


def _until(done) -> None:
    for _ in range(600):
        if done():
            return
        clock_time.sleep(0.05)
    raise AssertionError("it did not happen within half a minute")
