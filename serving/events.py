"""`POST /events`: a batch of what a person did, each event judged by itself.

What is acknowledged is committed. An id makes its event happen once, however often it is sent.
"""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

import orjson
from fastapi import APIRouter
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    model_validator,
)
from starlette.responses import Response

from seda.feedback.events import Event, EventRefusedError, checked_event
from serving.bodies import AsText, Body
from serving.documentation import problem_responses
from serving.intake import DUPLICATE, REUSED, Outcome, Status, record_events
from serving.listener import listener_session
from serving.problems import ProblemError
from serving.services import WithCaller, WithServices

MOST = 1000

router = APIRouter(tags=["events"])

EventType = Literal[
    "rec_click", "listen_30s", "track_skip", "rec_dismiss", "room_join",
    "join", "leave", "vote", "follow", "listen",
]  # fmt: skip


class PostedEvent(Body):
    """Something that the person did with a room, a playlist or an artist."""

    id: UUID = Field(description="Made by the client, once per event: its idempotency key.")
    type: EventType = Field(
        description="Feedback (`rec_click` … `room_join`) is analytics; of the social types, "
        "`join` and `leave` move presence."
    )
    entity_type: Literal["room", "playlist", "artist"]
    entity_id: UUID
    occurred_at: Annotated[AwareDatetime, AsText] = Field(
        description="By the client's clock: at most a minute ahead, at most seven days ago."
    )
    props: dict[str, Any] = Field(
        default={}, description="Anything else about it, at most 2 KiB; no personal data."
    )
    _sent_id: str = PrivateAttr("")

    @model_validator(mode="wrap")
    @classmethod
    def _keep_id(cls, sent: Any, validated: ModelWrapValidatorHandler[Self]) -> Self:
        # Clients find their events by it, and some (iOS) write it in capitals.
        event = validated(sent)
        event._sent_id = sent["id"]
        return event


def _bounded(events: Any) -> Any:
    if isinstance(events, list) and len(events) > MOST:
        raise ProblemError(413, "too_many_events", f"Send at most {MOST} events at a time.")
    return events


# What is no event stays what it is, and is rejected by itself.
Posted = Annotated[PostedEvent | Any, Field(union_mode="left_to_right")]


class EventBatch(Body):
    """Up to a thousand events; a bad one is rejected by itself, never the batch."""

    events: Annotated[list[Posted], BeforeValidator(_bounded)] = Field(
        json_schema_extra={"maxItems": MOST}
    )


class EventResult(BaseModel):
    """What became of one event."""

    id: str | None = Field(None, description="As it was sent; null where there was none.")
    status: Status
    reason: str | None = Field(None, description="Why it was rejected, else null.")


class EventResults(BaseModel):
    """What became of each event, in the order in which they were sent."""

    results: list[EventResult]


_BATCH_EXAMPLE = {
    "events": [
        {
            "id": "5a2f8d52-93f4-4d0e-8a51-0f2d3c4b5a69",
            "type": "listen_30s",
            "entity_type": "artist",
            "entity_id": "7b0f4a52-1a63-4a0e-8f0a-2f64c2a9d001",
            "occurred_at": "2026-11-20T12:00:00Z",
            "props": {"surface": "feed"},
        }
    ]
}
_EXAMPLE = {
    "results": [
        {"id": "5a2f8d52-93f4-4d0e-8a51-0f2d3c4b5a69", "status": "accepted", "reason": None}
    ]
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": EventResults,
        "description": "Every event's result; the accepted ones are committed.",
        "content": {"application/json": {"example": _EXAMPLE}},
    },
    **problem_responses(413),
}
_REQUEST = {"requestBody": {"content": {"application/json": {"example": _BATCH_EXAMPLE}}}}


@router.post(
    "/events", summary="Report what the person did", responses=_RESPONSES, openapi_extra=_REQUEST
)
async def events(services: WithServices, caller: WithCaller, body: EventBatch) -> Response:
    """Take a batch of events.

    `duplicate`: the same event was taken before. `rejected`: it is malformed, too old or from the
    future, about nothing that we know, or its id stands for another event. A `join` counts as
    being in the room until the `leave`, for 30 minutes at most.
    """
    now = services.clock()
    judged = [_judged(posted, now) for posted in body.events]
    first: dict[UUID, Event] = {}
    for each in judged:
        if isinstance(each, Event):
            first.setdefault(each.id, each)
    async with listener_session(services, caller) as listener:
        outcomes = await record_events(
            listener.connection,
            listener.user_id,
            list(first.values()),
            now,
            services.presence_linger,
        )
    results = [
        _result(posted, _outcome(each, first, outcomes))
        for posted, each in zip(body.events, judged, strict=True)
    ]
    return Response(orjson.dumps({"results": results}), media_type="application/json")


def _judged(posted: Any, now: Any) -> Event | Outcome:
    if not isinstance(posted, PostedEvent):
        return Outcome(Status.REJECTED, _complaint(posted))
    try:
        return checked_event(
            id=posted.id,
            type=posted.type,
            entity_type=posted.entity_type,
            entity_id=posted.entity_id,
            occurred_at=posted.occurred_at,
            props=posted.props,
            now=now,
        )
    except EventRefusedError as problem:
        return Outcome(Status.REJECTED, str(problem))


def _complaint(posted: Any) -> str:
    try:
        PostedEvent.model_validate(posted)
    except ValidationError as problem:
        # Where and why, never the value itself, nor a name that the client made up.
        first = problem.errors(include_url=False, include_input=False, include_context=False)[0]
        if first["type"] == "extra_forbidden":
            return "It has members that an event does not have."
        return f"{'.'.join(str(part) for part in first['loc'][:1]) or 'event'}: {first['msg']}."
    raise AssertionError("an event was taken for none")


def _outcome(
    judged: Event | Outcome, first: dict[UUID, Event], outcomes: dict[UUID, Outcome]
) -> Outcome:
    if isinstance(judged, Outcome):
        return judged
    original = first[judged.id]
    if judged is original:
        return outcomes[judged.id]
    if judged.body_hash != original.body_hash:
        return REUSED
    written = outcomes[judged.id]
    return DUPLICATE if written.status is not Status.REJECTED else written


def _result(posted: Any, outcome: Outcome) -> dict[str, Any]:
    id = posted._sent_id if isinstance(posted, PostedEvent) else _given_id(posted)
    return {"id": id, "status": outcome.status, "reason": outcome.reason}


def _given_id(posted: Any) -> str | None:
    given = posted.get("id") if isinstance(posted, dict) else None
    if isinstance(given, str) and len(given) <= 64 and given.isprintable():
        return given
    return None
