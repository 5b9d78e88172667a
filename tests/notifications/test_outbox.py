"""Pushes: one a rolling day whoever decides, none lost, and the same key when one is repeated."""

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

import pytest

from seda.database.regions import Region, RegionalDatabase
from seda.notifications.outbox import (
    FIRST_RETRY,
    LEASE,
    LIFETIME,
    LONGEST_RETRY,
    MOST_ATTEMPTS,
    Message,
    deliver_due,
    queue_pushes,
    retry_at,
)
from seda.notifications.policy import ROLLING_DAY, Occasion, PushReason
from seda.notifications.pushes import Moment, consider
from seda.notifications.senders import (
    DeadDevice,
    Delivered,
    Outcome,
    Push,
    Refused,
    TryLater,
)
from seda.settings import REPOSITORY
from tests.serving.serving_world import Listener, World

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
CROWD = Occasion(0.9, (0.5, 0.5))


@dataclass
class Provider:
    """Answers with what it is told, the last answer for ever, and keeps what arrived."""

    outcomes: list[Outcome] = field(default_factory=lambda: [Delivered()])
    pushes: list[Push] = field(default_factory=list)
    after: Callable[[], object] = lambda: None

    def send(self, push: Push) -> Outcome:
        self.pushes.append(push)
        self.after()
        return self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]

    @property
    def keys(self) -> list[UUID]:
        return [push.idempotency_key for push in self.pushes]


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, span: timedelta) -> None:
        self.now += span


def listener(world: World, name: str, *tokens: str, **preferences: object) -> Listener:
    """Somebody who opted in, with their devices."""
    person = world.person(name)
    chosen = {"push_opt_in": True} | preferences
    world.sql(
        f"insert into seda.notification_preferences (user_id, {', '.join(chosen)}) "
        f"values (%s, {', '.join(['%s'] * len(chosen))})",
        person.id,
        *chosen.values(),
    )
    for token in tokens:
        world.sql(
            "insert into seda.device_tokens (token, user_id, platform, last_seen_at) "
            "values (%s, %s, 'android', %s)",
            token,
            person.id,
            NOW - timedelta(days=1),
        )
    return person


def message(person: Listener, push_id: UUID | None = None) -> Message:
    return Message(push_id or uuid4(), person.id, "#techno", "Ben is here — join them")


def database(world: World) -> RegionalDatabase:
    return world.databases[Region.GLOBAL]


def queue(world: World, *people: Listener, now: datetime = NOW) -> frozenset[UUID]:
    with database(world).transaction() as connection:
        return queue_pushes(connection, [message(person) for person in people], now)


def deliver(world: World, provider: Provider, clock: Callable[[], datetime], **options) -> Counter:
    return deliver_due(database(world), provider, clock, jitter=lambda: 0.5, **options)


def outbox(world: World, columns: str = "state, outcome") -> list[tuple]:
    return world.sql(f"select {columns} from seda.push_outbox order by token, created_at")


def logged(world: World) -> list[tuple]:
    return world.sql(
        "select decision, reason from seda.notification_log where channel = 'push' "
        "order by decided_at, decision, reason"
    )


def test_a_push_goes_to_every_device_once(world: World) -> None:
    queue(world, listener(world, "Ada", "phone", "tablet"))
    provider = Provider()
    assert deliver(world, provider, Clock()) == {"sent": 2}
    assert deliver(world, provider, Clock()) == {}
    assert [push.token for push in provider.pushes] == ["phone", "tablet"] or [
        push.token for push in provider.pushes
    ] == ["tablet", "phone"]
    assert len(set(provider.keys)) == 2
    assert outbox(world) == [("sent", None)] * 2


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


def test_workers_side_by_side_deliver_each_push_once(world: World) -> None:
    queue(world, *(listener(world, f"P{n}", f"device {n}") for n in range(24)))
    providers = [Provider() for _ in range(4)]

    def worker(provider: Provider) -> int:
        sent = 0
        while found := deliver(world, provider, Clock(), batch_size=3)["sent"]:
            sent += found
        return sent

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(worker, providers)) == 24
    keys = Counter(key for provider in providers for key in provider.keys)
    assert set(keys.values()) == {1}
    assert len(keys) == 24


def test_a_worker_killed_between_sending_and_settling_loses_nothing(
    world: World, tmp_path: Path
) -> None:
    queue(world, *(listener(world, name, f"device of {name}") for name in ("Ada", "Ben")))
    arrived = tmp_path / "arrived"
    script = Path(__file__).with_name("killed_worker.py")
    killed = subprocess.run(
        [sys.executable, str(script), database(world).url, str(arrived), NOW.isoformat()],
        cwd=REPOSITORY,
        env={"PYTHONPATH": str(REPOSITORY)},
        check=False,
    )
    assert killed.returncode == -9
    clock, provider = Clock(), Provider()
    assert deliver(world, provider, clock) == {}  # still claimed by the one that died
    clock.pass_(LEASE)
    assert deliver(world, provider, clock) == {"sent": 2}
    keys = [UUID(line) for line in arrived.read_text().split()]
    # At least once: the one that was under way arrives again, with the key that it had.
    assert len(keys) == 1
    assert set(keys) < set(provider.keys)
    assert len(provider.keys) == 2
    assert outbox(world, "state, attempts") == [("sent", 2)] * 2


def test_a_worker_that_wakes_up_late_does_not_undo_what_another_settled(world: World) -> None:
    queue(world, listener(world, "Ada", "a"))
    clock = Clock()
    second = Provider()

    def meanwhile() -> None:
        clock.pass_(LEASE)
        assert deliver(world, second, clock) == {"sent": 1}

    deliver(world, Provider([Refused("fcm_late")], after=meanwhile), clock)
    assert outbox(world) == [("sent", None)]
    assert logged(world) == []


def test_a_failure_is_tried_again_later_and_later_until_it_is_given_up(world: World) -> None:
    queue(world, listener(world, "Ada", "a"))
    clock, provider = Clock(), Provider([TryLater("fcm_internal")])
    for attempt in range(1, MOST_ATTEMPTS):
        assert deliver(world, provider, clock) == {"retry": 1}, attempt
        assert deliver(world, provider, clock) == {}
        ((due,),) = outbox(world, "next_attempt_at")
        assert due - clock() == FIRST_RETRY * 2 ** (attempt - 1)
        clock.now = due
    assert deliver(world, provider, clock) == {"dead": 1}
    assert outbox(world) == [("dead", "fcm_internal")]
    assert logged(world) == [("failed", "fcm_internal")]
    assert len(provider.pushes) == MOST_ATTEMPTS
    assert len(set(provider.keys)) == 1


def test_the_wait_doubles_to_a_limit_and_is_never_shorter_than_asked() -> None:
    waits = [retry_at(attempts, NOW, None, 0.5) - NOW for attempts in range(1, 12)]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_RETRY
    assert retry_at(1, NOW, None, 0.0) - NOW == FIRST_RETRY / 2
    asked = timedelta(minutes=7)
    assert retry_at(1, NOW, asked, 0.9) - NOW == asked


def test_when_everybody_is_to_wait_the_rest_of_the_batch_keeps_its_attempts(world: World) -> None:
    queue(world, *(listener(world, f"P{n}", f"device {n}") for n in range(3)))
    wait = timedelta(seconds=90)
    clock, provider = Clock(), Provider([TryLater("fcm_quota_exceeded", wait, True), Delivered()])
    assert deliver(world, provider, clock) == {"retry": 1}
    assert sorted(outbox(world, "attempts, next_attempt_at")) == [
        (0, NOW + wait), (0, NOW + wait), (1, NOW + wait),
    ]  # fmt: skip
    clock.pass_(wait)
    assert deliver(world, provider, clock) == {"sent": 3}


def test_what_the_lease_has_no_time_for_is_given_back(world: World) -> None:
    queue(world, *(listener(world, f"P{n}", f"device {n}") for n in range(3)))
    clock = Clock()
    slow = Provider(after=lambda: clock.pass_(timedelta(minutes=1)))
    assert deliver(world, slow, clock) == {"sent": 2}
    assert deliver(world, slow, clock) == {"sent": 1}
    assert len(set(slow.keys)) == len(slow.keys) == 3


def test_a_dead_device_is_removed_and_the_others_stay(world: World) -> None:
    queue(world, listener(world, "Ada", "a", "b"))
    clock = Clock()
    provider = Provider([DeadDevice("fcm_unregistered"), Delivered()])
    assert deliver(world, provider, clock) == {"dead": 1, "sent": 1}
    gone, stayed = (push.token for push in provider.pushes)
    assert world.sql("select token from seda.device_tokens") == [(stayed,)]
    assert sorted(outbox(world, "state, token")) == sorted([("dead", None), ("sent", stayed)])
    assert gone != stayed
    assert logged(world) == [("failed", "fcm_unregistered")]


def test_a_device_that_registered_again_meanwhile_keeps_its_token(world: World) -> None:
    queue(world, listener(world, "Ada", "a"))

    def again() -> None:
        world.sql("update seda.device_tokens set last_seen_at = %s", NOW + timedelta(seconds=1))

    deliver(world, Provider([DeadDevice("fcm_unregistered")], after=again), Clock())
    assert world.sql("select token from seda.device_tokens") == [("a",)]


def test_a_refused_message_fails_and_does_not_cost_the_device(world: World) -> None:
    queue(world, listener(world, "Ada", "a"))
    assert deliver(world, Provider([Refused("fcm_413")]), Clock()) == {"failed": 1}
    assert outbox(world) == [("failed", "fcm_413")]
    assert world.sql("select count(*) from seda.device_tokens") == [(1,)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("update seda.notification_preferences set push_opt_in = false", "not_opted_in"),
        ("update seda.users set deleted_at = now()", "not_opted_in"),
        (
            "update seda.notification_preferences set quiet_from = '11:00', quiet_to = '13:00'",
            "quiet_hours",
        ),
        ("delete from seda.device_tokens", "no_device"),
        ("update seda.push_outbox set attempts = 6", "attempts_exhausted"),
        ("update seda.push_outbox set expires_at = next_attempt_at", "expired"),
    ],
)
def test_what_changed_since_the_decision_stops_it(world: World, change: str, reason: str) -> None:
    queue(world, listener(world, "Ada", "a"))
    world.sql(change)
    provider = Provider()
    assert deliver(world, provider, Clock()) == {"dead": 1}
    assert provider.pushes == []
    assert outbox(world) == [("dead", reason)]
    assert logged(world) == [("failed", reason)]


def test_a_device_that_is_another_persons_now_gets_nothing_of_the_first(world: World) -> None:
    queue(world, listener(world, "Ada", "shared"))
    ben = listener(world, "Ben")
    world.sql("update seda.device_tokens set user_id = %s", ben.id)
    provider = Provider()
    assert deliver(world, provider, Clock()) == {"dead": 1}
    assert provider.pushes == []


def test_a_retry_never_outlives_the_news(world: World) -> None:
    queue(world, listener(world, "Ada", "a"))
    provider = Provider([TryLater("fcm_internal", LIFETIME)])
    assert deliver(world, provider, Clock()) == {"dead": 1}


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
