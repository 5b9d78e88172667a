"""`POST` and `DELETE /recommendations/{id}/dismissals`: gone at once, back within ten seconds.

What is suppressed is a live table that every list is read against, so a dismissal counts from its
commit on, on every device. Its `rec_dismiss` event commits with it, and goes with it when undone.
"""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import orjson
from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from starlette.responses import Response

from seda.feedback.suppressions import (
    KINDS,
    UNDO,
    SuppressionKind,
    dismissal_event_id,
    suppressed_until,
)
from serving.bodies import Body
from serving.documentation import problem_responses
from serving.listener import Listener, listener_session
from serving.problems import ProblemError
from serving.recommended import Recommended, recommended
from serving.services import WithCaller, WithServices

router = APIRouter(tags=["dismissals"])

RecommendationId = Annotated[UUID, Path(description="A card's `id`.")]

# A row that has run out counts as none. The update always happens, so that the row always comes
# back; $8 orders the kinds from weak to strong.
_SUPPRESS = """
insert into seda.suppressions as s
    (user_id, entity_type, entity_id, kind, created_at, suppressed_until, undo_until)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (user_id, entity_type, entity_id) do update
set (kind, created_at, suppressed_until, undo_until) = (
    select case when replaced then excluded.kind else s.kind end,
           case when replaced then excluded.created_at else s.created_at end,
           case when replaced then excluded.suppressed_until else s.suppressed_until end,
           case when replaced then excluded.undo_until else s.undo_until end
    from (select coalesce(s.suppressed_until <= excluded.created_at, false)
              or array_position($8::text[], excluded.kind)
               > array_position($8::text[], s.kind)) as decided(replaced))
returning id, kind, created_at, suppressed_until, undo_until
"""
_RECORD = """
insert into seda.fact_events (event_id, user_id, event_type, props, created_at)
values ($1, $2, 'rec_dismiss', $3::jsonb, $4) on conflict (event_id) do nothing
"""
_FIND = """
select id, kind, created_at, undo_until from seda.suppressions
where user_id = $1 and entity_type = $2 and entity_id = $3
  and (suppressed_until is null or suppressed_until > $4)
for update
"""
_LIFT = "delete from seda.suppressions where id = $1"
_FORGET = "delete from seda.fact_events where event_id = $1"


class Dismissal(Body):
    """How much the person does not want to see it."""

    kind: SuppressionKind = Field(
        description="`dismiss` hides it for 24 hours, `not_interested` for 30 days, `never` until "
        "it is reversed."
    )


class Suppressed(BaseModel):
    """What holds now: a stronger suppression than the one asked for stays."""

    suppression_id: UUID
    kind: SuppressionKind
    undo_until: datetime | None = Field(None, description="Until then DELETE takes it back.")
    suppressed_until: datetime | None = Field(None, description="Null is until it is reversed.")


_EXAMPLE = {
    "suppression_id": "4a3de8f1-8d7e-4a0f-9b0a-0d1f2c3b4a59",
    "kind": "not_interested",
    "undo_until": "2026-11-20T12:00:10Z",
    "suppressed_until": "2026-12-20T12:00:00Z",
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": Suppressed,
        "description": "Suppressed from now on, everywhere.",
        "content": {"application/json": {"example": _EXAMPLE}},
    }
}


_REQUEST = {
    "requestBody": {"content": {"application/json": {"example": {"kind": "not_interested"}}}}
}


@router.post(
    "/recommendations/{id}/dismissals",
    summary="Dismiss a recommendation",
    responses=_RESPONSES,
    openapi_extra=_REQUEST,
)
async def dismiss(
    services: WithServices, caller: WithCaller, id: RecommendationId, body: Dismissal
) -> Response:
    """Hide what was recommended, from the very next request on.

    A repeated call gets the same answer. A stronger kind replaces a weaker one and can be undone
    anew; a weaker one changes nothing while the stronger one holds, and the answer says what holds.
    """
    now = services.clock()
    async with listener_session(services, caller) as listener:
        what = await recommended(services, listener, id, now)
        row = await _suppress(listener, what, body.kind, now)
        kind = SuppressionKind(row["kind"])
        props = {
            "entity_type": what.entity_type,
            "entity_id": what.entity_id,
            "recommendation_id": id,
            "kind": kind,
        }
        await listener.connection.execute(
            _RECORD, _event_id(row), listener.user_id, orjson.dumps(props).decode(),
            row["created_at"],
        )  # fmt: skip
    answer = {
        "suppression_id": UUID(int=row["id"].int),
        "kind": kind,
        "undo_until": row["undo_until"],
        "suppressed_until": row["suppressed_until"],
    }
    return Response(orjson.dumps(answer), media_type="application/json")


@router.delete(
    "/recommendations/{id}/dismissals",
    status_code=204,
    summary="Undo a dismissal",
    responses=problem_responses(409),
)
async def undo(services: WithServices, caller: WithCaller, id: RecommendationId) -> None:
    """Take a dismissal back within ten seconds; the entity is then not suppressed at all.

    409 afterwards: `DELETE /suppressions/{id}` reverses it at any time. 404 where nothing is
    suppressed, so also for a repeated undo.
    """
    now = services.clock()
    async with listener_session(services, caller) as listener:
        what = await recommended(services, listener, id, now)
        row = await listener.connection.fetchrow(
            _FIND, listener.user_id, what.entity_type, what.entity_id, now
        )
        if row is None:
            raise ProblemError(404, "nothing_to_undo", "This is not dismissed: nothing to undo.")
        if row["undo_until"] is None or row["undo_until"] < now:
            raise ProblemError(
                409,
                "undo_too_late",
                f"A dismissal can be undone for {UNDO.seconds} s: reverse it in the list of "
                "suppressions instead.",
            )
        await listener.connection.execute(_LIFT, row["id"])
        await listener.connection.execute(_FORGET, _event_id(row))


async def _suppress(
    listener: Listener, what: Recommended, kind: SuppressionKind, now: datetime
) -> asyncpg.Record:
    return await listener.connection.fetchrow(
        _SUPPRESS,
        listener.user_id,
        what.entity_type,
        what.entity_id,
        kind,
        now,
        suppressed_until(kind, now),
        now + UNDO,
        KINDS,
    )


def _event_id(row: asyncpg.Record) -> UUID:
    suppression_id = UUID(int=row["id"].int)
    return dismissal_event_id(suppression_id, SuppressionKind(row["kind"]), row["created_at"])
