"""What the tests of pushes share: people with devices, a provider that does as told, the rows."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from seda.database.regions import Region, RegionalDatabase
from seda.notifications.outbox import Message, deliver_due, queue_pushes
from seda.notifications.senders import Delivered, Outcome, Push
from tests.serving.serving_world import Listener, World

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


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
