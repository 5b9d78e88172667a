"""The page, its files, and its endpoints; none is in OpenAPI, and production has none of them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

from seda.database.regions import Databases
from seda.people.tokens import ForeignTokensError
from seda.settings import Settings
from serving.bodies import Body
from serving.demo.sandbox import TOKEN_LIFETIME, Sandbox, open_sandbox
from serving.problems import ProblemError

_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_FILES: Final = {
    path.name: path for path in Path(__file__).with_name("page").iterdir() if path.suffix in _TYPES
}

router = APIRouter(prefix="/demo", include_in_schema=False)


@asynccontextmanager
async def opened(
    app: FastAPI, settings: Settings, databases: Databases, clock: Callable[[], datetime]
) -> AsyncIterator[None]:
    """The sandbox behind the page, while the app runs; nothing where the page is not offered."""
    if not settings.offers_demo:
        yield
        return
    urls = {each.region: each.url for each in databases}
    async with open_sandbox(settings, urls, clock) as app.state.sandbox:
        yield


def _sandbox(request: Request) -> Sandbox:
    found: Sandbox = request.app.state.sandbox
    return found


WithSandbox = Annotated[Sandbox, Depends(_sandbox)]


class TokenWanted(Body):
    """Whom the page wants to speak for."""

    user_id: UUID


@router.get("")
async def page(sandbox: WithSandbox) -> Response:
    """The page; its policy lets it load its own files and talk to our two services only."""
    port = sandbox.settings.realtime_port
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' https: data:; "
        f"connect-src 'self' http://*:{port} ws://*:{port}; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return _file("index.html", {"Content-Security-Policy": policy})


@router.get("/listeners")
async def listeners(sandbox: WithSandbox) -> Response:
    """Listeners to choose from, and the port of the real-time service."""
    found = await sandbox.listeners()
    return _json({"listeners": found, "realtime_port": sandbox.settings.realtime_port})


@router.get("/listeners/{user_id}/friends")
async def friends(sandbox: WithSandbox, user_id: UUID) -> Response:
    """The listener's friends and the rooms that they are in."""
    return _json({"friends": await sandbox.friends(user_id)})


@router.post("/tokens")
async def tokens(sandbox: WithSandbox, body: TokenWanted) -> Response:
    """A short-lived token of a listener of the sandbox."""
    try:
        token = await sandbox.token(body.user_id)
    except ForeignTokensError as problem:
        raise ProblemError(409, "foreign_tokens", str(problem)) from problem
    return _json({"token": token, "expires_in": int(TOKEN_LIFETIME.total_seconds())})


@router.get("/{name}")
async def file(name: str) -> Response:
    """One of the page's files."""
    return _file(name)


def _file(name: str, headers: dict[str, str] | None = None) -> Response:
    path = _FILES.get(name)
    if path is None:
        raise HTTPException(404)
    always = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    return FileResponse(path, media_type=_TYPES[path.suffix], headers={**always, **(headers or {})})


def _json(content: dict[str, Any]) -> Response:
    # asyncpg's UUIDs are a class of their own.
    return Response(orjson.dumps(content, default=str), media_type="application/json",
                    headers={"Cache-Control": "no-store"})  # fmt: skip
