"""Firebase Cloud Messaging's HTTP v1 API and its token endpoint as they look on the wire.

Its failures are a `FailureProfile`'s, like the embedding providers'; which devices are gone, and
whether access tokens still count, is said by its own control plane.
"""

import re
from collections.abc import Callable
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import jwt
import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from seda.sandbox.mock_providers.profiles import (
    FailureProfile,
    InvalidProfileError,
    Outcome,
    fate_of,
    profile_of,
)
from seda.sandbox.mock_providers.sending import hangs_up_within, send_half

_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
_FAILURES = {
    Outcome.RATE_LIMITED: (429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"),
    Outcome.ERROR: (500, "INTERNAL", "INTERNAL"),
    Outcome.OUTAGE: (503, "UNAVAILABLE", "UNAVAILABLE"),
}
_TOKEN = re.compile(r"[A-Za-z0-9_:\-]{8,4096}")

_Answer = tuple[int, dict[str, Any]]


class MockFcm:
    """One project of any name.

    Routes: `POST /fcm/token` (the JWT-bearer grant; any RS256 key is taken), `POST
    /fcm/v1/projects/{project}/messages:send`; `GET|PUT /fcm/control/profile`, `PUT
    /fcm/control/unregistered` with a JSON list of tokens, `DELETE /fcm/control/access` (the access
    tokens so far count no more), `GET|DELETE /fcm/control/messages`.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._messages: list[dict[str, Any]] = []
        self._unregistered: set[str] = set()
        self._access: set[str] = set()
        self._grants = 0
        self._behave(FailureProfile())

    def routes(self) -> list[Route]:
        """Its endpoints and its control plane."""
        control = "/fcm/control"
        return [
            Route("/fcm/token", self._grant, methods=["POST"]),
            Route("/fcm/v1/projects/{project}/messages:send", _Sending(self), methods=["POST"]),
            Route(f"{control}/profile", self._profile_control, methods=["GET", "PUT"]),
            Route(f"{control}/unregistered", self._unregistered_control, methods=["PUT"]),
            Route(f"{control}/access", self._access_control, methods=["DELETE"]),
            Route(f"{control}/messages", self._messages_control, methods=["GET", "DELETE"]),
        ]

    def take(self, project: str, bearer: str, body: bytes) -> tuple[_Answer, float, bool]:
        """The answer to one message, after how many seconds, and whether it is cut."""
        self._number += 1
        fate = fate_of(self._profile, self._number, self._clock() - self._since)
        if bearer not in self._access:
            return _error(401, "UNAUTHENTICATED", None), fate.latency_seconds, False
        if fate.outcome in _FAILURES:
            return _error(*_FAILURES[fate.outcome]), fate.latency_seconds, False
        answer = self._accept(project, body)
        return answer, fate.latency_seconds, fate.outcome is Outcome.CUT

    @property
    def retry_after(self) -> str:
        """What a refused caller is told."""
        return f"{self._profile.retry_after_seconds:g}"

    def _behave(self, profile: FailureProfile) -> None:
        self._profile, self._number, self._since = profile, 0, self._clock()

    def _accept(self, project: str, body: bytes) -> _Answer:
        try:
            message = orjson.loads(body)["message"]
            token = message["token"]
            data = message.get("data", {})
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            return _bad_field("message")
        if not all(isinstance(value, str) for value in data.values()):
            return _bad_field("message.data[0].value")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            words = "The registration token is not a valid FCM registration token"
            return _error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", words)
        if token in self._unregistered:
            return _error(404, "NOT_FOUND", "UNREGISTERED", "Requested entity was not found.")
        self._messages.append(message)
        id = uuid5(NAMESPACE_URL, f"{project} {len(self._messages)}").hex[:16]
        return 200, {"name": f"projects/{project}/messages/0:{id}"}

    async def _grant(self, request: Request) -> Response:
        form = dict(
            pair.split("=", 1) for pair in (await request.body()).decode().split("&") if "=" in pair
        )
        try:
            jwt.decode(
                form.get("assertion", ""),
                options={"verify_signature": False, "require": ["iss", "aud", "exp", "iat"]},
            )
            granted = form.get("grant_type", "").replace("%3A", ":") == _GRANT
        except jwt.PyJWTError:
            granted = False
        if not granted:
            return JSONResponse({"error": "invalid_grant"}, 400)
        self._grants += 1
        token = f"ya29.mock-{self._grants}"
        self._access.add(token)
        return JSONResponse({"access_token": token, "expires_in": 3599, "token_type": "Bearer"})

    async def _profile_control(self, request: Request) -> Response:
        if request.method == "PUT":
            try:
                self._behave(profile_of(await request.body()))
            except InvalidProfileError as problem:
                return JSONResponse({"detail": str(problem)}, 422)
        return Response(orjson.dumps(self._profile), media_type="application/json")

    async def _unregistered_control(self, request: Request) -> Response:
        self._unregistered = set(orjson.loads(await request.body()))
        return Response(status_code=204)

    async def _access_control(self, request: Request) -> Response:
        self._access.clear()
        return Response(status_code=204)

    async def _messages_control(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._messages.clear()
            return Response(status_code=204)
        return JSONResponse(self._messages)


class _Sending:
    """An ASGI app, since a connection that is cut is no response of the framework's."""

    def __init__(self, fcm: MockFcm) -> None:
        self._fcm = fcm

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        (status, document), seconds, cut = self._fcm.take(
            request.path_params["project"], bearer, await request.body()
        )
        headers = {"content-type": "application/json; charset=UTF-8"}
        if status in (429, 503):
            headers["retry-after"] = self._fcm.retry_after
        if await hangs_up_within(seconds, receive):
            return
        body = orjson.dumps(document)
        if cut:
            await send_half(status, headers, body, send)
        else:
            await Response(body, status, headers)(scope, receive, send)


def _error(status: int, word: str, code: str | None, message: str = "It failed.") -> _Answer:
    details = [] if code is None else [{"@type": _FCM_ERROR, "errorCode": code}]
    error = {"code": status, "message": message, "status": word, "details": details}
    return status, {"error": error}


def _bad_field(field: str) -> _Answer:
    status, document = _error(400, "INVALID_ARGUMENT", None, f"Invalid value at '{field}'")
    violation = {"field": field, "description": f"Invalid value at '{field}'"}
    document["error"]["details"] = [{"@type": _BAD_REQUEST, "fieldViolations": [violation]}]
    return status, document
