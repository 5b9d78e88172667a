"""The notifier's loops, for each region: decide, deliver, forget.

Each has a thread of its own while it works, so a provider that is slow holds up no decision, and a
region that is down not the other one. What a loop does is a transaction or is claimed for a while:
it may be killed at any time, and any number of notifiers may run.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import psycopg

from seda.database.regions import Databases, RegionalDatabase, shards_of
from seda.errors import SedaError
from seda.notifications.occasions import consider_arrivals
from seda.notifications.opening import open_sender
from seda.notifications.outbox import deliver_due, forget_settled
from seda.notifications.senders import LocalSink, Outcome, Push, Sender, TryLater
from seda.settings import Settings

KEPT = timedelta(days=7)
"""How long settled pushes, and lines of the local sink, are kept."""
LOOK_SECONDS = 1.0
FORGET_SECONDS = 3600.0
RETRY_SECONDS = 5.0
BATCH = 20
STALLED = timedelta(seconds=60)
"""A loop that has not come round for so long is not ready; one send may take ten seconds."""

_logger = logging.getLogger("seda.notifier")


class Stopping:
    """A sender that takes no more once it is told to stop: the rest of a batch is given back."""

    def __init__(self, sender: Sender) -> None:
        self._sender, self.told = sender, False

    def send(self, push: Push) -> Outcome:
        """Like the sender that it wraps."""
        if self.told:
            return TryLater("stopping", everybody=True)
        return self._sender.send(push)


class Notifier:
    """`start` on a running event loop; `stop` returns when the last transaction is over."""

    def __init__(
        self, databases: Databases, settings: Settings, clock: Callable[[], datetime]
    ) -> None:
        self._databases, self._settings, self._clock = databases, settings, clock
        self._senders = {
            each.region: Stopping(open_sender(settings, each.region, clock)) for each in databases
        }
        self._seen: dict[str, datetime] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = asyncio.Event()

    def start(self) -> None:
        """Begin."""
        for database in self._databases:
            for name, work, pause in (
                ("decide", self.decide, LOOK_SECONDS),
                ("deliver", self.deliver, LOOK_SECONDS),
                ("forget", self.forget, FORGET_SECONDS),
            ):
                loop = self._loop(f"{name} {database.region}", partial(work, database), pause)
                self._tasks.append(asyncio.create_task(loop))

    async def stop(self) -> None:
        """Take nothing new, and wait for what is being done."""
        self._stopped.set()
        for sender in self._senders.values():
            sender.told = True
        await asyncio.gather(*self._tasks)

    def stalled(self) -> list[str]:
        """Loops that should have come round and have not."""
        oldest = self._clock() - STALLED
        names = [f"{name} {each.region}" for each in self._databases
                 for name in ("decide", "deliver")]  # fmt: skip
        return [name for name in names if name not in self._seen or self._seen[name] < oldest]

    def decide(self, database: RegionalDatabase) -> bool:
        """Decide for whom friends came; whether there was anything."""
        shards = sum(each.region is database.region for each in shards_of(self._settings))
        decided = consider_arrivals(
            database,
            now=self._clock(),
            threshold=self._settings.push_threshold,
            shards=shards,
        )
        return bool(decided)

    def deliver(self, database: RegionalDatabase) -> bool:
        """Send a batch of what is due; whether there was anything."""
        sender = self._senders[database.region]
        done = deliver_due(database, sender, self._clock, batch_size=BATCH, jitter=random.random)
        return bool(done) and not sender.told

    def forget(self, database: RegionalDatabase) -> bool:
        """Forget what was settled long ago, in the outbox and in the local sink."""
        before = self._clock() - KEPT
        with database.transaction() as connection:
            forget_settled(connection, before)
        sink = open_sender(self._settings, database.region, self._clock)
        if isinstance(sink, LocalSink):
            sink.forget(before)
        return False

    async def _loop(self, name: str, work: Callable[[], bool], pause: float) -> None:
        while not self._stopped.is_set():
            wait = pause
            try:
                if await asyncio.to_thread(work):
                    wait = 0.0
                self._seen[name] = self._clock()
            except (psycopg.Error, SedaError, OSError) as problem:
                # The type alone: a message could quote a row.
                _logger.error("%s failed: %s", name, type(problem).__name__)
                wait = RETRY_SECONDS
            try:
                await asyncio.wait_for(self._stopped.wait(), wait)
            except TimeoutError:
                continue
