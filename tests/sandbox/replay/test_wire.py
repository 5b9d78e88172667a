"""The lean client beside the official one: the same service, the same answers, the same events."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import socketio
import uvicorn

from seda.sandbox.replay.wire import Client, ConnectionLostError, ConnectionRefusedError
from serving.server import bind

EVENTS = [
    ("presence", {"rooms": [{"room_id": "r", "text": "Ünï is here — join ☕ \"'[", "changes": 3}]}),
    ("presence", {"rooms": [{"room_id": "x" * 100_000}], "since": None}),
    ("toast", ["not an object"]),
    ("toast", None),
    ("feed_updated", 7),
]
ASKED = [
    ("presence:join", {"event_id": "e", "room_id": "r"}),
    ("presence:heartbeat", None),
    ("vote", {"[": ']"', "n": [1, 2.5, None, True]}),
]


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A Socket.IO service that says everything to whoever connects, and echoes what it is asked."""
    server = socketio.AsyncServer(async_mode="asgi", ping_interval=0.2, ping_timeout=1)

    async def connect(sid: str, environ: Any, auth: Any) -> None:
        if auth["token"] != "good":
            raise socketio.exceptions.ConnectionRefusedError("Not you.", {"code": "unauthorized"})

    async def say(sid: str) -> None:
        for event, data in EVENTS:
            await server.emit(event, data, to=sid)

    server.on("connect", connect)
    server.on("say", say)
    server.on("go", server.disconnect)
    for event, _ in ASKED:
        server.on(event, lambda sid, data=None, event=event: {"heard": [event, data]})
    listener = bind("127.0.0.1", 0, "port")
    app = socketio.ASGIApp(server)
    config = uvicorn.Config(app, access_log=False, log_level="critical", lifespan="off")
    running = uvicorn.Server(config)
    serving = asyncio.create_task(running.serve(sockets=[listener]))
    while not running.started:
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    running.should_exit = True
    await serving


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def official(url: str) -> tuple[list[Any], list[Any]]:
    client, heard = socketio.AsyncClient(reconnection=False), []
    for event in {event for event, _ in EVENTS}:
        client.on(event, lambda data=None, event=event: heard.append((event, data)))
    auth = {"token": "good", "session_id": "s"}
    await client.connect(url, auth=auth, transports=["websocket"])
    answers = [await client.call(event, data) for event, data in ASKED]
    await client.call("say")
    await asyncio.sleep(0.5)  # over two pings
    await client.disconnect()
    return heard, answers


async def lean(session: aiohttp.ClientSession, url: str) -> tuple[list[Any], list[Any]]:
    heard: list[Any] = []
    client = Client(session, url, lambda event, data: heard.append((event, data)))
    await client.connect("good", "s")
    answers = [await client.call(event, *([] if data is None else [data])) for event, data in ASKED]
    await client.call("say")
    await asyncio.sleep(0.5)
    assert not client.lost.is_set()
    await client.close()
    assert not client.lost.is_set()  # it went by itself
    return heard, answers


async def test_the_lean_client_hears_what_the_official_one_hears(
    url: str, session: aiohttp.ClientSession
) -> None:
    theirs, ours = await official(url), await lean(session, url)
    assert ours == theirs
    assert ours[0] == EVENTS
    assert ours[1] == [{"heard": [event, data]} for event, data in ASKED]


async def test_answers_find_their_questions(url: str, session: aiohttp.ClientSession) -> None:
    client = await Client(session, url, lambda *_: None).connect("good", "s")
    answers = await asyncio.gather(*(client.call("vote", number) for number in range(200)))
    assert answers == [{"heard": ["vote", number]} for number in range(200)]
    await client.close()


async def test_a_connection_that_cannot_be_written_to_is_lost_at_once(
    url: str, session: aiohttp.ClientSession
) -> None:
    client = await Client(session, url, lambda *_: None).connect("good", "s")
    client._socket._response.connection.transport.abort()  # the reader has not heard of it yet
    with pytest.raises(ConnectionLostError):
        await client.call("vote", 1)
    assert client.lost.is_set()
    await client.close()


async def test_a_refusal_says_why(url: str, session: aiohttp.ClientSession) -> None:
    with pytest.raises(ConnectionRefusedError, match="refuses a client: Not you"):
        await Client(session, url, lambda *_: None).connect("bad", "s")


async def test_where_nothing_listens_one_sentence_says_so(session: aiohttp.ClientSession) -> None:
    with pytest.raises(ConnectionRefusedError, match="is it running"):
        await Client(session, "http://127.0.0.1:9", lambda *_: None).connect("good", "s")


async def test_a_lost_connection_answers_nobody(url: str, session: aiohttp.ClientSession) -> None:
    client = await Client(session, url, lambda *_: None).connect("good", "s")
    with pytest.raises(ConnectionLostError):
        await client.call("go")
    await asyncio.wait_for(client.lost.wait(), 5)
    with pytest.raises(ConnectionLostError):
        await client.call("vote", 1)
