"""The databases die and come back under load: nobody gets more than a 503, nothing said is lost.

The API is a real process, the server a real one of its own, killed with -9 and then stopped fast.
"""

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import pytest

from seda.database.embedded import EmbeddedServer
from seda.database.migrate import migrate
from seda.database.regions import Databases, Region
from seda.settings import Settings
from tests.serving.processes import api_process
from tests.serving.serving_world import Entity, Listener, World

UNLIMITED = {"SEDA_RATE_LIMIT_PERSON": "0", "SEDA_RATE_LIMIT_ADDRESS": "0"}


@dataclass
class Load:
    """What clients saw: answers by path and status, odd ones, and the events that were accepted."""

    client: httpx.AsyncClient
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    odd: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    over: bool = False

    async def ask(self, path: str, headers: dict[str, str]) -> None:
        while not self.over:
            self._note(path, await self.client.get(path, headers=headers))
            await asyncio.sleep(0.01)

    async def record(self, room: Entity, headers: dict[str, str]) -> None:
        while not self.over:
            event = {
                "id": str(uuid4()),
                "type": "rec_click",
                "entity_type": "room",
                "entity_id": str(room.id),
                "occurred_at": datetime.now(UTC).isoformat(),
                "props": {},
            }
            response = await self.client.post("/events", json={"events": [event]}, headers=headers)
            self._note("/events", response)
            if response.status_code == 200:
                assert response.json()["results"][0]["status"] == "accepted"
                self.accepted.append(event["id"])
            await asyncio.sleep(0.01)

    def _note(self, path: str, response: httpx.Response) -> None:
        self.answers[path, response.status_code] += 1
        if response.status_code == 200:
            return
        as_told = response.headers["content-type"] == "application/problem+json"
        if response.status_code != 503 or not as_told or "retry-after" not in response.headers:
            self.odd.append(f"{path}: {response.status_code} {response.text[:200]}")

    async def until(self, path: str, status: int, more: int = 5) -> None:
        """Wait for this many more answers of this kind."""
        wanted = self.answers[path, status] + more
        async with asyncio.timeout(30):
            while self.answers[path, status] < wanted:
                await asyncio.sleep(0.02)


@pytest.fixture
def own_server() -> Iterator[tuple[EmbeddedServer, World]]:
    """A durable server that only this test uses, and a world on it."""
    folder = Path(tempfile.mkdtemp(prefix="seda-outage-"))
    folder.chmod(0o755)
    server = EmbeddedServer(folder / "pg")
    settings = Settings(
        _env_file=None,
        home=folder / "home",
        database_url=server.uri("one"),
        eu_database_url=server.uri("two"),
    )
    databases = Databases(settings)
    migrate(databases)
    yield server, World(databases)
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


def _end(server: EmbeddedServer, how: signal.Signals) -> None:
    pid = server.pid()
    assert pid is not None
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    os.kill(pid, how)
    psutil.wait_procs(processes, timeout=20)


def _start_again(server: EmbeddedServer) -> None:
    for _ in range(120):
        try:
            server._server.ensure_postgres_running()
            return
        except Exception:
            time.sleep(0.25)
    raise AssertionError("the server does not start again")


async def test_the_databases_die_under_load_and_come_back(
    own_server: tuple[EmbeddedServer, World], tmp_path: Path
) -> None:
    server, world = own_server
    ada, eva = world.person("Ada"), world.person("Eva", Region.EU)
    rooms = world.entities("room", 5)
    world.publish(ada, rooms)
    world.publish(eva, rooms)
    with api_process(world, tmp_path, **UNLIMITED) as api:
        async with httpx.AsyncClient(base_url=api.url, timeout=15) as client:
            paths = (await client.get("/openapi.json")).json()["paths"]
            load = Load(client)
            tasks = [asyncio.create_task(load.ask("/readyz", {}))]
            for person in (ada, eva):
                tasks += _clients(load, person, rooms[0], world, "/events" in paths)
            await load.until("/feed", 200)
            for how in (signal.SIGKILL, signal.SIGINT):
                await asyncio.to_thread(_end, server, how)
                await load.until("/feed", 503)
                await load.until("/readyz", 503)
                assert (await client.get("/healthz")).status_code == 200
                assert "seda_database_up" in (await client.get("/metrics")).text
                await asyncio.to_thread(_start_again, server)
                await load.until("/readyz", 200, more=2)
                await load.until("/feed", 200, more=20)
            load.over = True
            await asyncio.gather(*tasks)
        log = api.log.read_text()
    assert load.odd == []
    assert '"level":"error"' not in log  # expected trouble is no error of ours
    _nothing_said_is_lost(world, load)


def _clients(
    load: Load, person: Listener, room: Entity, world: World, with_events: bool
) -> list[asyncio.Task[None]]:
    headers = world.headers(person)
    asking = [load.ask("/feed", headers), load.ask("/feed", headers)]
    if with_events:
        asking.append(load.record(room, headers))
    return [asyncio.create_task(each) for each in asking]


def _nothing_said_is_lost(world: World, load: Load) -> None:
    kept: set[str] = set()
    for region in Region:
        with world.databases[region].connect() as connection:
            kept |= {
                str(id) for (id,) in connection.execute("select event_id from seda.fact_events")
            }
    assert set(load.accepted) <= kept
