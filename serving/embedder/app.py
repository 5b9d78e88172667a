"""The embedder as an ASGI app: `POST /v1/embeddings`, `GET /v1/models`, `GET /healthz`.

Beyond OpenAI's format, answers and the list of models name the model's version, so that a caller
notices other weights; token counts are words, since nobody is billed.
"""

import asyncio
import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.embedder.models import ServedModel

LARGEST_BATCH = 256
LARGEST_TEXT = 32_768


class RefusedError(Exception):
    """A request that is answered with a 4xx, and the sentence that it says."""

    def __init__(self, sentence: str, *, param: str | None = None, status: int = 400) -> None:
        super().__init__(sentence)
        self.param = param
        self.status = status


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """A request's body, as far as it is looked at."""

    texts: list[str]
    base64: bool


def create_embedder(model: ServedModel) -> Starlette:
    """The app over one model, which works on a thread, one request after another."""
    turn = asyncio.Lock()

    async def embeddings(request: Request) -> Response:
        try:
            asked = read(await request.body(), model)
        except RefusedError as refusal:
            error = {
                "message": str(refusal),
                "type": "invalid_request_error",
                "param": refusal.param,
                "code": "model_not_found" if refusal.status == 404 else None,
            }
            return _json({"error": error}, refusal.status)
        async with turn:
            # Whoever gave up while waiting would be worked for in vain, and has asked again.
            if await request.is_disconnected():
                return Response(status_code=408)
            content = await asyncio.to_thread(_answer, model, asked)
        return Response(content, media_type="application/json")

    async def models(request: Request) -> Response:
        entry = {
            "id": model.name,
            "object": "model",
            "owned_by": "seda",
            "dim": model.dim,
            "version": model.version,
        }
        return _json({"object": "list", "data": [entry]})

    async def healthz(request: Request) -> Response:
        return _json({"status": "ok"})

    return Starlette(
        routes=[
            Route("/v1/embeddings", embeddings, methods=["POST"]),
            Route("/v1/models", models),
            Route("/healthz", healthz),
        ]
    )


def read(body: bytes, model: ServedModel) -> EmbeddingRequest:
    """What a body asks of this model.

    Raises:
        RefusedError: it is not JSON, asks another model or length, or for too much.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise RefusedError("The body is not a JSON object.")
    if document.get("model") != model.name:
        raise RefusedError(f"The model here is {model.name!r}.", param="model", status=404)
    if document.get("dimensions", model.dim) != model.dim:
        raise RefusedError(f"{model.name} has {model.dim} dimensions.", param="dimensions")
    encoding = document.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise RefusedError("encoding_format is float or base64.", param="encoding_format")
    given = document.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
        raise RefusedError("input is a text or a list of texts.", param="input")
    if len(texts) > LARGEST_BATCH:
        raise RefusedError(
            f"input holds {len(texts)} texts; {LARGEST_BATCH} at most.", param="input"
        )
    if max(map(len, texts)) > LARGEST_TEXT:
        raise RefusedError(f"A text is longer than {LARGEST_TEXT} characters.", param="input")
    return EmbeddingRequest(texts, encoding == "base64")


def _answer(model: ServedModel, asked: EmbeddingRequest) -> bytes:
    vectors = model.embed(asked.texts)
    words = sum(len(text.split()) for text in asked.texts)
    return orjson.dumps(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": _encoded(vector, asked)}
                for index, vector in enumerate(vectors)
            ],
            "model": model.name,
            "version": model.version,
            "usage": {"prompt_tokens": words, "total_tokens": words},
        },
        option=orjson.OPT_SERIALIZE_NUMPY,
    )


def _encoded(vector: NDArray[np.float32], asked: EmbeddingRequest) -> str | NDArray[np.float32]:
    if asked.base64:
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return np.ascontiguousarray(vector)


def _json(document: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(document), status, media_type="application/json")
