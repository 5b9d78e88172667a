"""Requests that are too large, too slow or no JSON: one problem each, and never a 5xx."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from serving import bounds, connections, problems
from serving.bodies import Body
from serving.bounds import Bounds
from serving.documentation import Problem
from tests.serving.processes import api_process
from tests.serving.serving_world import World


class _Note(Body):
    text: str
    number: int = 0


@pytest.fixture
async def noting() -> AsyncIterator[httpx.AsyncClient]:
    """An app with one route that takes a body, behind the API's own bounds and problems."""
    app = FastAPI()
    app.add_middleware(Bounds, largest_body=1000)
    problems.install(app)

    @app.post("/notes")
    async def note(note: _Note) -> dict[str, int]:
        raising = {
            "nul": asyncpg.CharacterNotInRepertoireError("secret"),
            "slow": asyncpg.QueryCanceledError("secret"),
            "bug": asyncpg.UndefinedTableError("secret"),
        }
        if note.text in raising:
            raise raising[note.text]
        return {"length": len(note.text)}

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        yield client


async def _said(client: httpx.AsyncClient, **request: Any) -> tuple[int, str]:
    response = await client.post("/notes", **request)
    if response.status_code == 200:
        return 200, ""
    assert response.headers["content-type"] == "application/problem+json"
    assert "secret" not in response.text
    problem = Problem.model_validate(response.json())
    assert (problem.status, problem.request_id) == (
        response.status_code,
        response.headers["x-request-id"],
    )
    return problem.status, problem.code


async def _chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("content", "headers", "said"),
    [
        (b'{"text": "x"}', JSON, (200, "")),
        (json.dumps({"text": "x" * 2000}).encode(), JSON, (413, "body_too_large")),
        (b"{}", JSON | {"Content-Length": "9" * 30}, (413, "body_too_large")),
        (b'{"text": ', JSON, (400, "malformed_json")),
        (b"\xff\xfe", JSON, (400, "malformed_json")),
        (b'{"text": "\xff"}', JSON, (400, "malformed_body")),
        (b"[" * 990, JSON, (400, "malformed_body")),
        (b'{"text": "x"}', {"Content-Type": "text/plain"}, (415, "not_json")),
        (b'{"text": "x"}', {}, (415, "not_json")),
        (b'{"text": 1}', JSON, (422, "invalid_request")),
        (b"", JSON, (422, "invalid_request")),
        (b'{"text": "x", "number": 1e400}', JSON, (422, "invalid_request")),
        (b'{"text": "nul"}', JSON, (422, "invalid_text")),
        (b'{"text": "slow"}', JSON, (503, "database_busy")),
        (b'{"text": "bug"}', JSON, (500, "internal_error")),
    ],
)
async def test_a_bad_body_is_its_own_problem(
    noting: httpx.AsyncClient, content: bytes, headers: dict[str, str], said: tuple[int, str]
) -> None:
    assert await _said(noting, content=content, headers=headers) == said


async def test_a_body_without_a_length_is_counted(noting: httpx.AsyncClient) -> None:
    small, large = _chunks(b'{"text"', b': "x"}'), _chunks(*[b"[" * 600] * 3)
    assert await _said(noting, content=small, headers=JSON) == (200, "")
    assert await _said(noting, content=large, headers=JSON) == (413, "body_too_large")


async def test_long_addresses_and_heads_are_refused(noting: httpx.AsyncClient) -> None:
    long = "x" * 9000
    assert await _said(noting, params={"q": long}) == (414, "address_too_long")
    many = {f"X-{number}": long for number in range(5)}
    assert await _said(noting, headers=many) == (431, "head_too_large")


async def test_a_body_that_trickles_is_given_up(
    noting: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "BODY_SECONDS", 0.05)

    async def trickling() -> AsyncIterator[bytes]:
        yield b'{"text": '
        await asyncio.sleep(30)

    said = await _said(noting, content=trickling(), headers=JSON)
    assert said == (408, "body_too_slow")


def test_an_invalid_value_is_never_repeated(noting: httpx.AsyncClient) -> None:
    async def asked() -> str:
        body = {"text": ["canary@example.org"]}
        return (await noting.post("/notes", json=body)).text

    assert "canary" not in asyncio.run(asked())


async def test_an_answer_does_not_grow_with_what_it_refuses(noting: httpx.AsyncClient) -> None:
    long = {"text": "x", "k" * 900: 1}
    many = {"text": "x", **{f"k{number}": 1 for number in range(90)}}
    for body in (long, many):
        refused = await noting.post("/notes", json=body)
        assert refused.status_code == 422
        assert 1 <= len(refused.json()["errors"]) <= problems.MOST_ERRORS
        assert len(refused.content) < 6000
    assert "k" * 65 not in (await noting.post("/notes", json=long)).text


async def _spoken(port: int, *parts: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return answer


async def test_what_is_no_http_is_a_problem_too(world: World, tmp_path) -> None:
    with api_process(world, tmp_path) as api:
        for spoken, status in [
            (b"hello\r\n\r\n", b"400"),
            (b"GET /feed HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n", b"400"),
            (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
            (b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 70_000, b"431"),
            (b"POST /feed HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n", b"413"),
            (
                b"POST /feed HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n",
                b"400",
            ),
        ]:
            answer = await _spoken(api.port, spoken)
            assert answer.startswith(b"HTTP/1.1 " + status), (spoken[:60], answer)
            assert b"application/problem+json" in answer, spoken[:60]
        assert api.ready()


async def test_a_head_that_never_ends_loses_its_connection(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.05)
    import uvicorn

    app = FastAPI()
    config = uvicorn.Config(app, http=connections.BoundedHttp, port=0, log_config=None)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    whole = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    for begun in (b"", whole[:20], whole + whole[:1]):
        assert b"408" in await _spoken(port, begun), begun
    server.should_exit = True
    await running
