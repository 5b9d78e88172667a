"""`/readyz` tells the truth, and a process that is told to stop fails nobody."""

import asyncio
import signal
import threading

import httpx
import pytest
import uvicorn

from seda.database.regions import Region
from seda.database.revisions import head_revision, is_behind
from serving.connections import BoundedHttp
from serving.draining import Draining
from serving.server import _Server, bind
from tests.serving.processes import api_process
from tests.serving.serving_world import World, open_api


def test_a_database_ahead_of_the_code_is_no_reason_to_stop_serving() -> None:
    head = int(head_revision())
    assert not is_behind(f"{head:04}")
    assert not is_behind(f"{head + 1:04}")
    for behind in (f"{head - 1:04}", "elsewhere", None):
        assert is_behind(behind)


@pytest.mark.parametrize("region", list(Region))
async def test_a_database_behind_the_code_is_not_ready(api, world: World, region: Region) -> None:
    assert (await api.get("/readyz")).status_code == 200
    head = head_revision()
    world.sql("update public.seda_alembic_version set version_num = '0001'", region=region)
    try:
        behind = await api.get("/readyz")
    finally:
        world.sql("update public.seda_alembic_version set version_num = %s", head, region=region)
    assert behind.status_code == 503
    assert behind.json()["databases"][region] == f"at migration 0001, the code needs {head}"
    assert (await api.get("/readyz")).status_code == 200


@pytest.mark.parametrize("region", list(Region))
async def test_a_database_that_takes_no_writes_is_not_ready(world: World, region: Region) -> None:
    """No page can be recorded there, so none can be shown."""
    ((name,),) = world.sql("select current_database()", region=region)
    world.sql(f'alter database "{name}" set default_transaction_read_only = on', region=region)
    try:
        async with open_api(world) as api:
            ready = await api.get("/readyz")
    finally:
        world.sql(f'alter database "{name}" reset default_transaction_read_only', region=region)
    assert ready.status_code == 503
    states = ready.json()["databases"]
    assert states.pop(region).startswith("read-only")
    assert set(states.values()) == {"ready"}


async def test_what_every_feed_needs_is_asked_for(api, world: World) -> None:
    ((record,),) = world.sql(
        "select oid::regprocedure::text from pg_proc where proname = 'record_pages'"
    )
    for right, who in (
        (f"execute on function {record}", "seda_api"),
        ("select on seda.region_directory", "authenticated"),
    ):
        world.sql(f"revoke {right} from {who}")
        try:
            refused = await api.get("/readyz")
        finally:
            world.sql(f"grant {right} to {who}")
        assert refused.status_code == 503
        assert refused.json()["databases"] == {
            "global": "not migrated, or a grant is missing",
            "eu": "ready",
        }
    assert (await api.get("/readyz")).status_code == 200


async def test_without_keys_that_verify_tokens_nothing_is_ready(world: World) -> None:
    settings = world.settings.model_copy(update={"jwks_url": "http://127.0.0.1:9/jwks.json"})
    async with open_api(world, settings=settings) as api:
        ready = await api.get("/readyz")
        assert ready.status_code == 503
        assert "key" in ready.json()["detail"]
        assert (await api.get("/healthz")).status_code == 200


async def test_nobody_fails_while_a_process_stops(world: World, tmp_path) -> None:
    ada = world.person("Ada")
    world.publish(ada, world.entities("room", 5))
    headers = world.headers(ada)
    statuses: list[int] = []
    stopping = asyncio.Event()
    settings = {"SEDA_DRAIN_SECONDS": "3", "SEDA_RATE_LIMIT_PERSON": "0"}
    settings |= {"SEDA_RATE_LIMIT_ADDRESS": "0"}

    async def keep_asking(client: httpx.AsyncClient) -> None:
        while not stopping.is_set():
            statuses.append((await client.get("/feed", headers=headers)).status_code)
            await asyncio.sleep(0.005)

    async def watch(client: httpx.AsyncClient) -> None:
        """What a load balancer does: it asks for readiness, and stops sending."""
        while (await client.get("/readyz")).status_code == 200:
            await asyncio.sleep(0.02)
        while_draining = len(statuses)
        while len(statuses) < while_draining + 8:  # whoever still asks is still answered
            await asyncio.sleep(0.01)
        stopping.set()

    with api_process(world, tmp_path, **settings) as api:
        async with httpx.AsyncClient(base_url=api.url, timeout=10) as client:
            asking = [asyncio.create_task(keep_asking(client)) for _ in range(8)]
            await asyncio.sleep(0.3)
            watching = asyncio.create_task(watch(client))
            api.process.send_signal(signal.SIGTERM)
            await watching
            await asyncio.gather(*asking)
            parted = await client.get("/readyz")
            assert parted.status_code == 503
            assert parted.json()["detail"] == "Not ready: the process is stopping."
            assert parted.headers["connection"] == "close"
        assert api.process.wait(20) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{api.url}/healthz")
    assert set(statuses) == {200}
    assert len(statuses) > 8


async def test_a_running_request_ends_after_the_doors_are_closed(world: World, tmp_path) -> None:
    ada = world.person("Ada")
    world.publish(ada, world.entities("room", 1))
    with api_process(world, tmp_path) as api:
        async with httpx.AsyncClient(base_url=api.url, timeout=10) as client:
            assert (await client.get("/feed", headers=world.headers(ada))).status_code == 200
            with world.databases[Region.GLOBAL].connect() as blocker:
                blocker.execute("lock table seda.suppressions in access exclusive mode")
                waiting = asyncio.create_task(client.get("/feed", headers=world.headers(ada)))
                await asyncio.sleep(0.1)
                api.process.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.35)
                async with httpx.AsyncClient() as late:
                    with pytest.raises(httpx.ConnectError):
                        await late.get(f"{api.url}/healthz")
                blocker.rollback()
            assert (await waiting).status_code == 200
        assert api.process.wait(20) == 0


async def test_who_waits_at_the_door_when_it_closes_is_let_in() -> None:
    """They came while the process was busy with the turn in which it closes the door."""
    closing, connected = threading.Event(), threading.Event()

    class Busy(_Server):
        async def on_tick(self, counter: int) -> bool:
            stops = await super().on_tick(counter)
            if stops:
                closing.set()
                connected.wait(20)
            return stops

    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    listener = bind("127.0.0.1", 0, "none")
    config = uvicorn.Config(app, loop="uvloop", http=BoundedHttp, lifespan="off", log_config=None)
    server = Busy(config, Draining(0))
    running = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    running.start()
    while not server.started:
        await asyncio.sleep(0.01)
    server.handle_exit(signal.SIGTERM, None)
    await asyncio.to_thread(closing.wait, 20)
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    waiting = [await _asked(listener.getsockname(), request) for _ in range(6)]
    late = await _asked(listener.getsockname(), b"")
    connected.set()
    late[1].write(request)
    for reader, writer in (*waiting, late):
        assert await asyncio.wait_for(reader.read(12), 20) == b"HTTP/1.1 204"
        writer.close()
    await asyncio.to_thread(running.join, 20)
    assert not running.is_alive()


async def _asked(
    address: tuple[str, int], request: bytes
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request)
    return reader, writer
