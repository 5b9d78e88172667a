"""`GET /suppressions` and `DELETE /suppressions/{id}`: what a person hid, and how it comes back."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from seda.feedback.suppressions import SuppressionKind
from serving.listener import listener_session
from serving.problems import ProblemError
from serving.services import WithCaller, WithServices

PAGE = 100

router = APIRouter(tags=["dismissals"])

# The newest first; a page starts behind the row that the cursor names, which may be gone by now.
_LIST = """
select s.id, s.entity_type, s.entity_id, coalesce(a.name, p.name, r.name) as name, s.kind,
       s.created_at, s.suppressed_until
from seda.suppressions s
left join seda.artists a on s.entity_type = 'artist' and a.id = s.entity_id
left join seda.playlists p on s.entity_type = 'playlist' and p.id = s.entity_id
left join seda.rooms r on s.entity_type = 'room' and r.id = s.entity_id
where s.user_id = $1 and (s.suppressed_until is null or s.suppressed_until > $2::timestamptz)
  and ($3::timestamptz is null or (s.created_at, s.id) < ($3::timestamptz, $4::uuid))
order by s.created_at desc, s.id desc limit $5
"""
_REVERSE = """
delete from seda.suppressions
where id = $1 and (suppressed_until is null or suppressed_until > $2) returning true
"""


class Suppression(BaseModel):
    """Something that the person does not see."""

    id: UUID
    entity_type: Literal["room", "playlist", "artist"]
    entity_id: UUID
    name: str | None = Field(None, description="Null if it has left the catalogue.")
    kind: SuppressionKind
    since: datetime
    until: datetime | None = Field(None, description="Null is until it is reversed.")


class SuppressionPage(BaseModel):
    """A page of what is suppressed, the newest first."""

    items: list[Suppression]
    next_cursor: str | None = Field(None, description="Null on the last page.")


_EXAMPLE = {
    "items": [
        {
            "id": "4a3de8f1-8d7e-4a0f-9b0a-0d1f2c3b4a59",
            "entity_type": "artist",
            "entity_id": "7b0f4a52-1a63-4a0e-8f0a-2f64c2a9d001",
            "name": "Autechre",
            "kind": "never",
            "since": "2026-11-20T12:00:00Z",
            "until": None,
        }
    ],
    "next_cursor": None,
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": SuppressionPage,
        "description": "A page of suppressions.",
        "content": {"application/json": {"example": _EXAMPLE}},
    }
}

Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before.")]
SuppressionId = Annotated[UUID, Path(description="A suppression's `id`.")]


@router.get("/suppressions", summary="What the person hid", responses=_RESPONSES)
async def suppressions(
    services: WithServices, caller: WithCaller, cursor: Cursor = None
) -> Response:
    """Everything that is suppressed now, a hundred to a page."""
    since, id = (None, None) if cursor is None else _opened(cursor)
    async with listener_session(services, caller, readonly=True) as listener:
        rows = await listener.connection.fetch(
            _LIST, listener.user_id, services.clock(), since, id, PAGE + 1
        )
    items = [
        {
            "id": UUID(int=row["id"].int),
            "entity_type": row["entity_type"],
            "entity_id": UUID(int=row["entity_id"].int),
            "name": row["name"],
            "kind": row["kind"],
            "since": row["created_at"],
            "until": row["suppressed_until"],
        }
        for row in rows[:PAGE]
    ]
    following = _sealed(rows[PAGE - 1]) if len(rows) > PAGE else None
    body = orjson.dumps({"items": items, "next_cursor": following})
    return Response(body, media_type="application/json")


@router.delete("/suppressions/{id}", status_code=204, summary="Show it again")
async def reverse(services: WithServices, caller: WithCaller, id: SuppressionId) -> None:
    """Reverse a suppression of any kind, at any time."""
    async with listener_session(services, caller) as listener:
        if not await listener.connection.fetchval(_REVERSE, id, services.clock()):
            raise ProblemError(404, "unknown_suppression", "You have no such suppression.")


def _sealed(row: Any) -> str:
    # No secret in it, and no way to another person's rows: it needs no signature.
    microseconds = round(row["created_at"].timestamp() * 1_000_000)
    return f"{microseconds}.{row['id'].hex}"


def _opened(cursor: str) -> tuple[datetime, UUID]:
    microseconds, _, id = cursor.partition(".")
    try:
        seconds, rest = divmod(int(microseconds), 1_000_000)
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest), UUID(hex=id)
    except (ValueError, OverflowError, OSError) as problem:
        raise ProblemError(
            400, "bad_cursor", "This cursor is not from an earlier page of yours: start again."
        ) from problem
