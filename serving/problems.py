"""Every error that a service answers with, as an RFC 9457 problem detail, in one place.

Raise `ProblemError` anywhere; the handlers here turn it, and what the framework raises, into
`application/problem+json`. Internals never reach the client: an unexpected error names its request.
"""

import logging
import re
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from http import HTTPStatus
from itertools import islice
from typing import Any
from uuid import uuid4

import asyncpg
import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 2
MOST_ERRORS = 20
"""Of one body, that are told."""
LONGEST_NAME = 64

# What passes by itself: too slow, locked, out of memory or connections, read-only after a failover.
_PASSING = (
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.InsufficientResourcesError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)
# NUL, and halves of surrogate pairs: JSON can spell them, Postgres keeps no such text.
_NO_TEXT = (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError)

_logger = logging.getLogger("serving")
_acceptable_request_id = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch


class ProblemError(Exception):
    """A problem with its status, a stable `code`, and a sentence that the caller can act on."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **extensions: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.extensions = extensions

    def document(self) -> dict[str, Any]:
        """The problem as a JSON object; extensions cannot hide the members of the standard."""
        return {
            **self.extensions,
            "type": f"/problems/{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }


class DatabaseUnavailableError(ProblemError):
    """A region's database does not answer, or has no connection to spare."""

    def __init__(self, region: str) -> None:
        super().__init__(
            503,
            "database_unavailable",
            f"The {region} database does not answer just now: try again in {RETRY_SECONDS} s.",
            headers={"Retry-After": str(RETRY_SECONDS)},
        )


def unauthorized(detail: str, *, presented: bool = True) -> ProblemError:
    """401; the challenge names an error only where a token was presented (RFC 6750, section 3)."""
    challenge = f'Bearer error="invalid_token", error_description="{detail}"'
    headers = {"WWW-Authenticate": challenge if presented else "Bearer"}
    return ProblemError(401, "unauthorized", detail, headers=headers)


def respond(problem: ProblemError, request_id: str | None) -> Response:
    """The response that states the problem."""
    document = problem.document()
    if request_id is not None:
        document["request_id"] = request_id
    return Response(orjson.dumps(document), problem.status, problem.headers, MEDIA_TYPE)


def json_response(body: bytes) -> Response:
    """200 with a body that is JSON already."""
    return Response(body, media_type="application/json")


async def answered(body: Awaitable[bytes], request_id: str) -> Response:
    """The JSON body as a response, or the problem that came in its stead, as the app tells it."""
    try:
        return json_response(await body)
    except ProblemError as problem:
        return respond(problem, request_id)
    except _PASSING as error:
        return respond(_busy(error), request_id)


class RequestIdentity:
    """ASGI middleware: an X-Request-ID on every response, and a 500 problem for what escapes.

    Answers are a person's, and true for a moment: unless they say otherwise, no cache keeps them.

    It stands here, not in an exception handler, because the framework answers unhandled
    exceptions outside of every other middleware, where the header would be missing.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _given_request_id(scope) or uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started = False

        async def send_identified(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [
                    *_kept_by_nobody(message.get("headers", ())),
                    (b"x-request-id", request_id.encode()),
                ]
            await send(message)

        try:
            await self.app(scope, receive, send_identified)
        except Exception:
            _logger.exception("a request failed", extra={"fields": {"request_id": request_id}})
            if started:
                raise
            problem = ProblemError(
                500,
                "internal_error",
                f"Something went wrong on our side; it is logged as request {request_id}.",
            )
            await respond(problem, request_id)(scope, receive, send_identified)


def _kept_by_nobody(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    listed = list(headers)
    if all(name != b"cache-control" for name, _ in listed):
        listed.append((b"cache-control", b"no-store"))
    return listed


def _given_request_id(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text: str = value.decode("latin-1")
            return text if _acceptable_request_id(text) else None
    return None


def install(app: FastAPI) -> None:
    """Give the app this module's handlers and middleware."""
    app.add_middleware(RequestIdentity)
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    for kind in (*_PASSING, *_NO_TEXT):
        app.add_exception_handler(kind, _on_database_error)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return respond(error, request.state.request_id)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code, detail = {
        400: ("malformed_body", "The body cannot be read as JSON."),
        404: ("unknown_route", "There is nothing at this path."),
        405: ("method_not_allowed", "This path does not take that method: see Allow."),
        408: ("body_too_slow", "The body did not arrive in time."),
        413: ("body_too_large", "The body is too large: send less at a time."),
    }.get(error.status_code, ("request_refused", str(error.detail)))
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    problem = ProblemError(error.status_code, code, detail, headers=headers)
    return respond(problem, request.state.request_id)


def _methods(request: Request) -> set[str]:
    """What the path takes, over all of its routes: the framework names the first route's only."""
    methods: set[str] = set()
    for route in _routes(request.app.routes):
        match, _ = route.matches(request.scope)
        if match is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    return methods


def _routes(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is None:
            yield route
        else:
            yield from _routes(included.routes)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if any(each["type"] == "json_invalid" for each in error.errors()):
        problem = ProblemError(400, "malformed_json", "The body is not valid JSON.")
    elif isinstance(error.body, bytes):  # it was not parsed, for it does not say that it is JSON
        problem = ProblemError(
            415, "not_json", "Send the body as JSON, with Content-Type: application/json."
        )
    else:
        # Where and why, never the value itself: it may be personal. The names of members that we do
        # not know are the client's: neither they nor their number may make a long answer.
        errors = [
            {
                "location": ".".join(str(part)[:LONGEST_NAME] for part in each["loc"]),
                "message": each["msg"],
            }
            for each in islice(error.errors(), MOST_ERRORS)
        ]
        sentence = "; ".join(f"{each['location']}: {each['message']}" for each in errors)
        problem = ProblemError(422, "invalid_request", sentence, errors=errors)
    return respond(problem, request.state.request_id)


async def _on_database_error(request: Request, error: Exception) -> Response:
    if isinstance(error, _PASSING):
        problem = _busy(error)
    else:
        _logger.warning("a statement failed: %s", type(error).__name__)
        problem = ProblemError(
            422, "invalid_text", "A text holds a character that cannot be kept, such as NUL."
        )
    return respond(problem, request.state.request_id)


def _busy(error: Exception) -> ProblemError:
    _logger.warning("a statement failed: %s", type(error).__name__)
    return ProblemError(
        503,
        "database_busy",
        f"The database is too busy for this just now: try again in {RETRY_SECONDS} s.",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )
