"""A running real-time service and clients of it, for tests."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import socketio
import uvicorn

from seda.database.regions import Region
from serving.realtime.app import create_realtime
from serving.server import bind
from tests.serving.serving_world import Entity, Listener, World

PATIENCE = 20.0


class Client:
    """A connected listener and the presence messages that came."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.io = socketio.AsyncClient(reconnection=False)
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.toasts: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.feeds: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.io.on("presence", self.messages.put)
        self.io.on("toast", self.toasts.put)
        self.io.on("feed_updated", self.feeds.put)

    async def connect(self, auth: Any) -> "Client":
        await self.io.connect(self.url, auth=auth, transports=["websocket"], wait_timeout=PATIENCE)
        return self

    async def ask(self, kind: str, room: Entity, event_id: UUID | None = None) -> dict[str, Any]:
        event_id = event_id or uuid4()
        return await self.send(kind, {"event_id": str(event_id), "room_id": str(room.id)})

    async def send(self, kind: str, data: Any) -> dict[str, Any]:
        return await self.io.call(f"presence:{kind}", data, timeout=PATIENCE)

    async def message(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.messages.get(), PATIENCE)

    async def room(self) -> dict[str, Any]:
        """The only room of the next message."""
        (room,) = (await self.message())["rooms"]
        return room


class Service:
    """The running service; `client` connects somebody."""

    def __init__(self, world: World, url: str) -> None:
        self.world = world
        self.url = url
        self.clients: list[Client] = []

    async def client(self, listener: Listener, session_id: str | None = None) -> Client:
        auth = {"token": self.world.token(listener), "session_id": session_id or str(uuid4())}
        client = await Client(self.url).connect(auth)
        self.clients.append(client)
        return client

    async def until(self, query: str, expected: object, region: Region = Region.GLOBAL) -> None:
        """Wait for a row: a disconnection is handled after the client has gone."""
        for _ in range(100):
            rows = self.world.sql(query, region=region)
            if rows == expected:
                return
            await asyncio.sleep(0.05)
        assert rows == expected


@asynccontextmanager
async def running(
    world: World, clock: Callable[[], datetime] | None = None, **settings: Any
) -> AsyncIterator[Service]:
    """The service in this process, with some settings of its own."""
    listener = bind("127.0.0.1", 0, "SEDA_REALTIME_PORT")
    app = create_realtime(
        world.settings.model_copy(update=settings),
        databases=world.databases,
        clock=clock or (lambda: datetime.now(UTC)),
    )
    config = uvicorn.Config(app, access_log=False, log_level="warning", lifespan="on")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    service = Service(world, f"http://127.0.0.1:{listener.getsockname()[1]}")
    try:
        yield service
    finally:
        for client in service.clients:
            await client.io.disconnect()
        server.should_exit = True
        await serving
