"""The mock service as an ASGI app: the providers' endpoints, and a control plane for drills.

`GET /control/requests` tells exactly which texts reached which endpoint, in memory only.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from seda.sandbox.mock_providers.apple import MockApple
from seda.sandbox.mock_providers.cohere import CohereFormat
from seda.sandbox.mock_providers.fcm import MockFcm
from seda.sandbox.mock_providers.music import MusicProvider
from seda.sandbox.mock_providers.music_control import music_control
from seda.sandbox.mock_providers.openai import OpenAIFormat
from seda.sandbox.mock_providers.profiles import FailureProfile, InvalidProfileError, profile_of
from seda.sandbox.mock_providers.sending import hangs_up_within, send_half
from seda.sandbox.mock_providers.service import MockProvider, RecordedRequest
from seda.sandbox.mock_providers.spotify import MockSpotify
from seda.sandbox.mock_providers.wire import WireFormat
from seda.sandbox.mock_providers.youtube import MockYouTube

OPENAI = OpenAIFormat("openai", "/openai", {"text-embedding-3-small": 1536})
COHERE = CohereFormat()
RUNNER = OpenAIFormat("runner", "/runner", {"hashed-words": 1536}, needs_key=False)


def create_app(
    profiles: Mapping[str, FailureProfile] | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Starlette:
    """The service; a provider that `profiles` does not name is healthy.

    Routes: `POST /openai/v1/embeddings`, `POST /cohere/v2/embed`, `POST /runner/v1/embeddings`,
    `GET /{openai,runner}/v1/models`; `GET|PUT /control/{provider}` with a `FailureProfile` as JSON
    (a PUT counts requests and outages anew), `GET|DELETE /control/requests`, `GET /healthz`; under
    `/fcm` what `MockFcm` says, under `/spotify`, `/youtube` and `/apple` what those say, and of
    these three `music_control`.
    """
    formats: tuple[WireFormat, ...] = (OPENAI, COHERE, RUNNER)
    recording: list[RecordedRequest] = []
    providers = {
        each.name: MockProvider(
            each, recording, clock, profile=(profiles or {}).get(each.name, FailureProfile())
        )
        for each in formats
    }
    endpoints = [
        Route(each.format.path, _Endpoint(each), methods=["POST"]) for each in providers.values()
    ]
    models = [
        Route(f"{each.prefix}/v1/models", _constant(each.models())) for each in (OPENAI, RUNNER)
    ]
    push = MockFcm(clock).routes()
    music = (MockSpotify(clock), MockYouTube(clock), MockApple(clock))
    for each in music:
        each.behave((profiles or {}).get(each.name, FailureProfile()))
    linked = [route for each in music for route in (*each.routes(), *music_control(each))]
    controlled = {**providers, **{each.name: each for each in music}}
    control = _control(controlled, recording)
    return Starlette(routes=[*endpoints, *models, *push, *linked, *control])


class _Endpoint:
    """An ASGI app, since a connection that is cut is no response of the framework's."""

    def __init__(self, provider: MockProvider) -> None:
        self.provider = provider

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        body = await request.body()
        answer = self.provider.handle(key if scheme.lower() == "bearer" else None, body)
        if await hangs_up_within(answer.latency_seconds, receive):
            answer.recorded.abandoned = True
            return
        if answer.is_cut:
            await send_half(answer.status, answer.headers, answer.body, send)
        else:
            response = Response(answer.body, answer.status, dict(answer.headers))
            await response(scope, receive, send)


def _control(
    providers: Mapping[str, MockProvider | MusicProvider], recording: list[RecordedRequest]
) -> list[Route]:
    async def requests(request: Request) -> Response:
        if request.method == "DELETE":
            recording.clear()
            return Response(status_code=204)
        return _json([asdict(each) for each in recording])

    async def profile(request: Request) -> Response:
        provider = providers.get(request.path_params["provider"])
        if provider is None:
            return _json({"detail": f"The providers are {', '.join(providers)}."}, 404)
        if request.method == "PUT":
            try:
                provider.behave(profile_of(await request.body()))
            except InvalidProfileError as problem:
                return _json({"detail": str(problem)}, 422)
        return _json(asdict(provider.profile))

    return [
        Route("/control/requests", requests, methods=["GET", "DELETE"]),
        Route("/control/{provider}", profile, methods=["GET", "PUT"]),
        Route("/healthz", _constant({"status": "ok"})),
    ]


def _constant(document: dict[str, Any]) -> Callable[[Request], Response]:
    def respond(request: Request) -> Response:
        return JSONResponse(document)

    return respond


def _json(document: object, status: int = 200) -> Response:
    return Response(orjson.dumps(document), status, media_type="application/json")
