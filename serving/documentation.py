"""What OpenAPI says: models and examples for readers and client generators.

No request builds one: the feed is bytes, a problem a dictionary; tests hold both against these.
"""

from http import HTTPStatus
from typing import Any, Literal
from uuid import UUID

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field

from serving.problems import MEDIA_TYPE

_PROBLEMS = {
    400: ("Bad cursor or malformed JSON.", "bad_cursor", "Bad Request"),
    401: ("No valid token.", "unauthorized", "Unauthorized"),
    403: ("A fresh sign-in is asked for, or a link is not ours.", "invalid_link", "Forbidden"),
    404: ("Nothing, or nobody, of that name.", "unknown_person", "Not Found"),
    405: ("The path does not take that method.", "method_not_allowed", "Method Not Allowed"),
    408: ("The body did not arrive in time.", "body_too_slow", "Request Timeout"),
    409: ("It is too late for that, or something else is in the way.", "undo_too_late", "Conflict"),
    410: ("The account is deleted, or the cursor's list is gone.", "expired_cursor", "Gone"),
    413: ("The body is too large.", "body_too_large", "Content Too Large"),
    414: ("The address is too long.", "address_too_long", "URI Too Long"),
    415: ("The body does not say that it is JSON.", "not_json", "Unsupported Media Type"),
    422: ("A parameter is out of range.", "invalid_request", "Unprocessable Content"),
    429: ("Too many requests of a person or an address.", "too_many_requests", ""),
    431: ("The request's headers are too large.", "head_too_large", ""),
    500: ("An error of ours, logged under the request's id.", "internal_error", ""),
    503: ("The database does not answer.", "database_unavailable", "Service Unavailable"),
}


class Problem(BaseModel):
    """A problem detail (RFC 9457)."""

    type: str = Field(description="`/problems/` and the code.")
    title: str
    status: int
    code: str = Field(description="Stable; what a client branches on.")
    detail: str = Field(description="A sentence that a person can act on.")
    request_id: str | None = Field(None, description="Also in X-Request-ID.")


class ReasonShown(BaseModel):
    """Why an item is recommended."""

    kind: str
    text: str


class Avatar(BaseModel):
    """A friend who lets their presence be seen."""

    name: str | None
    avatar_url: str | None


class Social(BaseModel):
    """Friends who are in the room now; empty for playlists and artists."""

    text: str
    count: int
    avatars: list[Avatar] = Field(max_length=4)
    overflow: int = Field(description="Friends counted beyond the avatars.")


class Card(BaseModel):
    """One recommended room, playlist or artist."""

    id: UUID = Field(description="Of the recommendation; the same in every generation.")
    entity_type: Literal["room", "playlist", "artist"]
    entity_id: UUID
    name: str
    rank: int = Field(ge=1, description="Place in the list; goes on over pages.")
    score: float = Field(ge=0, le=1)
    reasons: list[ReasonShown]
    is_new: bool
    model_version: str
    social: Social


class FeedPage(BaseModel):
    """A page of cards and the cursor of the next one."""

    items: list[Card]
    next_cursor: str | None = Field(description="Null on the last page.")
    generation: int | None = Field(description="Newest generation read; null for fall-back lists.")
    source: Literal["personal", "stale", "genre", "trending"]


FEED_EXAMPLE = {
    "items": [
        {
            "id": "0c9a2b1e-8a55-5c5e-9d0a-6f3a0f5a9b11",
            "entity_type": "room",
            "entity_id": "7b0f4a52-1a63-4a0e-8f0a-2f64c2a9d001",
            "name": "electronic",
            "score": 0.91,
            "reasons": [{"kind": "content", "text": "Because you listen to Autechre"}],
            "is_new": False,
            "model_version": "linear-tuned-3",
            "rank": 1,
            "social": {
                "text": "3 of your friends are in #electronic right now",
                "count": 3,
                "avatars": [{"name": "Alex", "avatar_url": "https://cdn.example/alex.jpg"}],
                "overflow": 2,
            },
        }
    ],
    "next_cursor": "WyJwZXJzb25hbCIsWzQyLDQyLDQyXSwyMCwyMF0.aSGkXw.c2lnbmVk",
    "generation": 42,
    "source": "personal",
}

FEED_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": FeedPage,
        "description": "A page of cards.",
        "content": {"application/json": {"example": FEED_EXAMPLE}},
    }
}

HEALTH_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {"example": {"status": "ok"}}}}
}

METRICS_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/plain": {
                "example": 'seda_embedding_breaker_phase{provider="openai",region="global"} 0.0'
            }
        }
    }
}

READINESS_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "application/json": {
                "example": {"status": "ready", "databases": {"global": "ready", "eu": "ready"}}
            }
        }
    }
}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's responses for these problem statuses, each with an example."""
    return {status: _problem_response(status) for status in statuses}


def _problem_response(status: int) -> dict[str, Any]:
    description, code, title = _PROBLEMS[status]
    example = {
        "type": f"/problems/{code}",
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": description,
        "request_id": "5f0c6f0a2f3c4d0f9a1b2c3d4e5f6071",
    }
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
    response: dict[str, Any] = {"description": description, "content": {MEDIA_TYPE: content}}
    if status in (429, 503):
        response["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    if status == 401:
        response["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    return response


def install(app: FastAPI) -> None:
    """Add the problem schema, which no route returns by itself, to the app's OpenAPI."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
            )
            schema.setdefault("components", {}).setdefault("schemas", {})["Problem"] = (
                Problem.model_json_schema()
            )
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
