"""Pushes on their way: none lost, the same key when one is repeated, none when it is too late."""

import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import make_url

from seda.database.regions import Region, RegionalDatabase
from seda.notifications.outbox import (
    FIRST_RETRY,
    LEASE,
    LIFETIME,
    LONGEST_RETRY,
    MOST_ATTEMPTS,
    deliver_due,
    forget_settled,
    retry_at,
)
from seda.notifications.senders import DeadDevice, Delivered, Refused, TryLater
from seda.settings import REPOSITORY
from tests.notifications.push_world import (
    NOW,
    Clock,
    Provider,
    database,
    deliver,
    listener,
    logged,
    outbox,
    queue,
)
from tests.serving.serving_world import World


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


def test_what_another_worker_is_about_to_take_is_passed_over_without_waiting(world: World) -> None:
    queue(world, listener(world, "Ada", "a"))
    queue(world, listener(world, "Ben", "b"), now=NOW + timedelta(seconds=1))
    waits_little = {"options": "-clock_timeout=500"}
    url = make_url(database(world).url).update_query_dict(waits_little)
    clock, provider = Clock(), Provider()
    clock.pass_(timedelta(seconds=1))
    with database(world).transaction() as other:
        other.execute("select from seda.push_outbox where token = 'a' for update")
        impatient = RegionalDatabase(Region.GLOBAL, url.render_as_string(False))
        assert deliver_due(impatient, provider, clock, jitter=lambda: 0.5) == {"sent": 1}
    assert [push.token for push in provider.pushes] == ["b"]


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


def test_a_message_that_a_sender_cannot_bear_costs_the_others_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    queue(world, *(listener(world, name, f"device of {name}") for name in ("Ada", "Ben")))

    def stumble() -> None:
        if len(provider.pushes) == 1:
            raise ValueError(provider.pushes[0].token)

    provider = Provider(after=stumble)
    assert deliver(world, provider, Clock()) == {"retry": 1, "sent": 1}
    assert "ValueError" in caplog.text
    assert "device of" not in caplog.text


def test_a_settled_push_keeps_no_words_and_is_forgotten_in_time(world: World) -> None:
    queue(world, listener(world, "Ada", "a"))
    assert outbox(world, "title, body") == [("#techno", "Ben is here — join them")]
    deliver(world, Provider(), Clock())
    assert outbox(world, "title, body") == [("", "")]
    queue(world, listener(world, "Ben", "b"))
    with database(world).transaction() as connection:
        assert forget_settled(connection, NOW) == 0
        assert forget_settled(connection, NOW + timedelta(days=7)) == 1
    assert outbox(world, "state") == [("pending",)]


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
