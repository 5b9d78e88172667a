"""A world with people who come and go while what serves them is killed with -9, and its tables."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import numpy as np
import psutil

from seda.database.embedded import EmbeddedServer
from seda.database.migrate import migrate
from seda.database.regions import Databases, Region
from seda.people.tokens import token_of
from seda.sandbox.friend_graphs import seed_friend_graph
from seda.sandbox.replay.crowd import Crowd, load_crowd
from seda.sandbox.replay.schedule import Plan, Scenario, make_schedule
from seda.sandbox.replay.stubborn import Step, Stubborn
from seda.settings import Settings

FOUNDED = datetime(2026, 11, 1, tzinfo=UTC)
PATIENCE_SECONDS = 300.0

Tables = dict[str, list[tuple[Any, ...]]]

# What must be the same, whatever was killed. Events that nobody sent (a leave of who was lost)
# have ids of their own, so they would show.
TABLES = {
    "social_events": "select event_id, user_id, kind, entity_type, entity_id "
    "from seda.social_events order by event_id, kind",
    "event_receipts": "select event_id, user_id, body_hash from seda.event_receipts order by 1",
    "room_presence": "select room_id, user_id, connections, held_until is null "
    "from seda.room_presence order by 1, 2",
    "toast_caps": "select user_id, cardinality(sessions) from seda.toast_caps order by 1",
    "push_caps": "select user_id from seda.push_caps order by 1",
}
BROKEN_CAPS = """
select count(*) from (
    select decided_at - lag(decided_at) over (partition by user_id order by decided_at) as apart,
           count(*) over (partition by user_id, session_id) as sent
    from seda.notification_log where channel = 'toast' and decision = 'sent') told
where apart < interval '10 minutes' or sent > 3
"""


@dataclass(frozen=True)
class Size:
    """How large a drill is: `clients` of the people move at `rate`, then everybody settles down."""

    people: int
    clients: int
    rate: float
    seconds: float
    rooms: int = 40
    seed: int = 7
    linger_ms: int = 2000


@dataclass
class Outcome:
    """The final tables, and what it took."""

    tables: Tables
    broken_caps: int
    repeats: int
    connections: int
    killed: list[str] = field(default_factory=list)


class Service:
    """A process of ours that is started again as it was."""

    def __init__(self, module: str, environment: dict[str, str], log: Path) -> None:
        self._command = [sys.executable, "-m", *module.split()]
        self._environment, self._log = environment, log
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=output, stderr=output
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """With -9, and start it again."""
        self._process.kill()
        self._process.wait()
        self.start()

    def revive(self) -> None:
        """As a supervisor does: who died of its own accord is started again."""
        if self._process.poll() is not None:
            self.start()

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Scene:
    """A friend graph in migrated databases, and a real-time service over them."""

    def __init__(self, databases: Databases, size: Size, server: EmbeddedServer | None) -> None:
        """`server`: one that may be killed; none where others need it too."""
        self.size, self.server, self.databases = size, server, databases
        self.settings, self.port = databases.settings, free_port()
        rooms = size.rooms + size.clients
        seed_friend_graph(databases, people=size.people, rooms=rooms, seed=size.seed, now=FOUNDED)
        self.crowd = load_crowd(databases[Region.GLOBAL], rooms)
        home = self.settings.home_directory()
        environment = {
            **os.environ,
            "SEDA_HOME": str(home),
            "SEDA_DATABASE_URL": databases[Region.GLOBAL].url,
            "SEDA_EU_DATABASE_URL": databases[Region.EU].url,
            "SEDA_REALTIME_PORT": str(self.port),
            "SEDA_PRESENCE_LINGER_MS": str(size.linger_ms),
        }
        log = home / "realtime.log"
        self.services = {"real-time": Service("serving.realtime", environment, log)}

    def victims(self) -> dict[str, Callable[[], None]]:
        """What may be killed, by name."""
        killing = {name: service.kill for name, service in self.services.items()}
        return {**killing, "database": self.kill_database, "sessions": self.kill_sessions}

    def kill_sessions(self) -> None:
        """Every connection to the database; the server goes on."""
        with self.databases[Region.GLOBAL].connect(autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where datname = current_database() and pid <> pg_backend_pid()"
            )

    def kill_database(self) -> None:
        """The server and all its processes, with -9; then start it again."""
        assert self.server is not None
        pid = self.server.pid()
        assert pid is not None
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        psutil.wait_procs(processes, timeout=20)
        last: Exception | None = None
        for _ in range(40):
            try:
                self.server._server.ensure_postgres_running()
                return
            except Exception as problem:  # what was killed may still hold the socket
                last = problem
                time.sleep(0.25)
        raise RuntimeError("the database does not start again") from last

    def tables(self) -> Tables:
        with self.databases[Region.GLOBAL].connect() as connection:
            return {name: connection.execute(query).fetchall() for name, query in TABLES.items()}

    def broken_caps(self) -> int:
        with self.databases[Region.GLOBAL].connect() as connection:
            return int(connection.execute(BROKEN_CAPS).fetchone()[0])

    def token(self, sub: UUID) -> str:
        return token_of(self.settings, sub, timedelta(hours=6), datetime.now(UTC))

    def close(self) -> None:
        for service in self.services.values():
            service.stop()


@contextmanager
def scene(size: Size) -> Iterator[Scene]:
    """A scene on a durable server of its own, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="seda-kills-"))
    folder.chmod(0o755)
    server = EmbeddedServer(folder / "pg")
    settings = Settings(
        _env_file=None,
        home=folder / "home",
        database_url=server.uri("one"),
        eu_database_url=server.uri("two"),
        dagster_database_url=server.uri("three"),
        global_shards=1,
    )
    databases = Databases(settings)
    migrate(databases)
    made = Scene(databases, size, server)
    try:
        yield made
    finally:
        made.close()
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def steps_of(crowd: Crowd, size: Size) -> dict[int, list[Step]]:
    """By client: moves at random, then one into a room of their own, where they stay."""
    ids = np.random.default_rng([size.seed, 2])
    plan = Plan(Scenario.STEADY, size.rate, size.seconds, size.rate, size.seed)
    schedule = make_schedule(plan, size.clients, size.rooms)
    steps: dict[int, list[Step]] = {client: [] for client in range(size.clients)}

    def add(client: int, at: float, room: int, joins: bool) -> None:
        id = UUID(bytes=ids.bytes(16), version=4)
        steps[client].append(Step(at, id, crowd.rooms[room], joins))

    for at, client, room, joins in zip(
        schedule.at.tolist(), schedule.actors.tolist(), schedule.rooms.tolist(),
        schedule.joins.tolist(), strict=True,
    ):  # fmt: skip
        add(client, at, room, joins)
    end = float(schedule.at[-1]) + 1
    for client in range(size.clients):
        add(client, end, size.rooms + client, True)
    return steps


async def run(
    scene: Scene,
    kills: list[tuple[float, str]],
    settle_seconds: float,
    settled: Callable[[], bool] = lambda: True,
) -> Outcome:
    """Everybody's steps, with these kills at these moments; the tables after everything settled.

    `settled` is asked until it says so, while everybody stays where they are.

    Raises:
        TimeoutError: it did not settle.
    """
    size, crowd = scene.size, scene.crowd
    steps = steps_of(crowd, size)
    viewers = crowd.viewers(size.clients, size.seed).tolist()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        clients = [
            Stubborn(
                session, f"http://127.0.0.1:{scene.port}", scene.token(crowd.subs[viewer]),
                f"drill-{number}", lambda *_: None,
            )
            for number, viewer in enumerate(viewers)
        ]  # fmt: skip
        await asyncio.gather(*(client.stay(0) for client in clients))
        started = asyncio.get_running_loop().time()
        watching = asyncio.create_task(_kill_and_revive(scene, kills, started))
        async with (
            asyncio.timeout(steps[0][-1].at + PATIENCE_SECONDS),
            asyncio.TaskGroup() as group,
        ):
            for number, client in enumerate(clients):
                group.create_task(client.carry_out(steps[number], started))
        async with asyncio.timeout(settle_seconds + PATIENCE_SECONDS):
            await asyncio.gather(*(client.stay(settle_seconds) for client in clients))
            while not await asyncio.to_thread(settled):
                await asyncio.gather(*(client.stay(1) for client in clients))
        watching.cancel()
        tables, broken = scene.tables(), scene.broken_caps()
        await asyncio.gather(*(client.close() for client in clients))
    return Outcome(
        tables,
        broken,
        sum(client.repeats for client in clients),
        sum(client.connections for client in clients),
        [name for _, name in kills],
    )


async def _kill_and_revive(scene: Scene, kills: list[tuple[float, str]], started: float) -> None:
    victims, loop, left = scene.victims(), asyncio.get_running_loop(), list(kills)
    while True:
        if left and loop.time() >= started + left[0][0]:
            await asyncio.to_thread(victims[left.pop(0)[1]])
        for service in scene.services.values():
            service.revive()
        await asyncio.sleep(0.05)


def random_kills(
    names: list[str], count: int, seconds: float, seed: int
) -> list[tuple[float, str]]:
    """So many kills at random moments of the first part of the run, every name in turn."""
    rng = np.random.default_rng([seed, 3])
    moments = np.sort(rng.uniform(0.1, 0.85, count)) * seconds
    return [(float(at), names[place % len(names)]) for place, at in enumerate(moments)]


def asked_for(scene: Scene) -> Tables:
    """The tables as the clients' steps alone make them."""
    viewers = scene.crowd.viewers(scene.size.clients, scene.size.seed).tolist()
    events, present = [], []
    for client, steps in steps_of(scene.crowd, scene.size).items():
        person = scene.crowd.people[viewers[client]]
        events += [
            (step.event_id, person, "join" if step.joins else "leave", "room", step.room_id)
            for step in steps
        ]
        present.append((steps[-1].room_id, person, 1, True))
    return {"social_events": sorted(events), "room_presence": sorted(present)}


def differences(one: Tables, other: Tables) -> dict[str, tuple[int, int]]:
    """By table of the one, how many rows only it and only the other has, where they differ."""
    found = {}
    for name, rows in one.items():
        first, second = Counter(rows), Counter(other[name])
        if first != second:
            found[name] = (first - second).total(), (second - first).total()
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
