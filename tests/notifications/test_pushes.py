"""Which pushes go out: one a rolling day whoever decides, and a logged reason for each moment."""

import threading
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, time, timedelta
from itertools import pairwise
from random import Random
from uuid import uuid4

from seda.notifications.outbox import Message, queue_pushes
from seda.notifications.policy import ROLLING_DAY, Occasion, PushReason
from seda.notifications.pushes import Moment, consider
from tests.notifications.push_world import (
    NOW,
    database,
    listener,
    logged,
    message,
    outbox,
    queue,
)
from tests.serving.serving_world import World

CROWD = Occasion(0.9, (0.5, 0.5))


def test_the_rolling_day_and_the_row_are_one_and_the_same(world: World) -> None:
    ada, ben = listener(world, "Ada", "a"), listener(world, "Ben")
    assert queue(world, ada, ben) == {ada.id}  # without a device the day is kept
    assert queue(world, ada, now=NOW + ROLLING_DAY - timedelta(microseconds=1)) == frozenset()
    assert queue(world, ada, now=NOW - timedelta(hours=1)) == frozenset()
    assert queue(world, ada, now=NOW + ROLLING_DAY) == {ada.id}
    assert len(outbox(world)) == 2
    connection = database(world).connect()
    queue_pushes(connection, [message(ada)], NOW + 3 * ROLLING_DAY)
    connection.rollback()
    connection.close()
    assert len(outbox(world)) == 2
    assert queue(world, ada, now=NOW + 3 * ROLLING_DAY) == {ada.id}


def test_many_workers_send_a_person_one_push_a_day(world: World) -> None:
    people = [listener(world, f"P{n}", f"device {n}") for n in range(4)]
    barrier = threading.Barrier(8)

    def worker(seed: int) -> int:
        draw, claimed = Random(seed), 0
        with database(world).connect(autocommit=True) as connection:
            barrier.wait()
            for _ in range(40):
                now = NOW + timedelta(minutes=draw.randrange(4 * 24 * 60))
                messages = [message(person) for person in draw.sample(people, 3)]
                claimed += len(queue_pushes(connection, messages, now))
        return claimed

    with ThreadPoolExecutor(8) as pool:
        claimed = sum(pool.map(worker, range(8)))
    rows = world.sql("select user_id, created_at from seda.push_outbox order by 1, 2")
    assert len(rows) == claimed >= len(people)
    for (one, earlier), (other, later) in pairwise(rows):
        assert one != other or later - earlier >= ROLLING_DAY


def considered(
    world: World, moments: Iterable[tuple[Message, Occasion]], now: datetime = NOW
) -> list[PushReason | None]:
    with database(world).transaction() as connection:
        return consider(connection, [Moment(*each) for each in moments], now, 0.8)


def test_every_moment_is_decided_and_logged_at_once(world: World) -> None:
    room = world.entity("room", "techno")
    ada, ben = listener(world, "Ada", "a"), listener(world, "Ben", "b", push_opt_in=False)
    cy = listener(world, "Cy", "c", quiet_from=time(11), quiet_to=time(13))
    di, eve = listener(world, "Di", "d"), listener(world, "Eve")
    world.suppress(di, room)
    gone = world.person("Gil", deleted=True)
    people = [ada, ada, ben, cy, di, eve, gone]
    moments = [
        (Message(uuid4(), each.id, "#techno", "Here", "room", room.id), CROWD) for each in people
    ]
    assert considered(world, moments) == [
        PushReason.FRIENDS_PRESENT,
        PushReason.SENT_RECENTLY,
        PushReason.NOT_OPTED_IN,
        PushReason.QUIET_HOURS,
        PushReason.ROOM_SUPPRESSED,
        PushReason.NO_DEVICE,
        None,
    ]
    assert Counter(logged(world)) == Counter(
        [
            ("sent", "friends_present"),
            ("suppressed", "sent_recently"),
            ("suppressed", "not_opted_in"),
            ("suppressed", "quiet_hours"),
            ("suppressed", "room_suppressed"),
            ("suppressed", "no_device"),
        ]
    )
    assert outbox(world, "user_id, state, entity_id") == [(ada.id, "pending", room.id)]
    tomorrow = NOW + ROLLING_DAY
    assert considered(world, moments[:1], tomorrow - timedelta(seconds=1)) == [
        PushReason.SENT_RECENTLY
    ]
    assert considered(world, [(message(ada), CROWD)], tomorrow) == [PushReason.FRIENDS_PRESENT]


def test_who_is_quicker_has_the_day_and_the_other_is_logged(world: World) -> None:
    ada = listener(world, "Ada", "a")
    first = database(world).connect()
    assert queue_pushes(first, [message(ada)], NOW) == {ada.id}
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(considered, world, [(message(ada), CROWD)])
        threading.Event().wait(0.05)  # it decides on what is committed, and waits for the row
        first.commit()
        first.close()
        assert waiting.result() == [PushReason.SENT_RECENTLY]
    assert logged(world) == [("suppressed", "sent_recently")]
