"""`GET` and `PUT /preferences`: everything that a person may choose, as one document.

It counts from the next request on: what reads it, reads it live. The nightly lists leave out who
opted out of recommendations.
"""

from datetime import time
from typing import Annotated, Any

import asyncpg
import orjson
from fastapi import APIRouter
from pydantic import ConfigDict, Field, StrictBool, StringConstraints
from starlette.responses import Response

from serving.bodies import Body, Language, TimeZone
from serving.genres import Genres, refuse_unknown_genres
from serving.listener import Listener, listener_session
from serving.services import WithCaller, WithServices

router = APIRouter(tags=["preferences"])

_READ = """
select u.preferences, u.privacy_settings, u.time_zone, n.push_opt_in, n.toasts_enabled,
       n.quiet_from, n.quiet_to
from seda.users u left join seda.notification_preferences n on n.user_id = u.id
where u.id = $1
"""
# Members that other parts keep in the same documents stay.
_CHOOSE = """
update seda.users set preferences = preferences || $2::jsonb,
    privacy_settings = privacy_settings || $3::jsonb, time_zone = $4
where id = $1
"""
_NOTIFY = """
insert into seda.notification_preferences
    (user_id, push_opt_in, toasts_enabled, quiet_from, quiet_to, updated_at)
values ($1, $2, $3, $4, $5, $6)
on conflict (user_id) do update
set push_opt_in = excluded.push_opt_in, toasts_enabled = excluded.toasts_enabled,
    quiet_from = excluded.quiet_from, quiet_to = excluded.quiet_to,
    updated_at = excluded.updated_at
"""


Minute = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


class QuietHours(Body):
    """No push between these times of the person's own day; over midnight if `to` is earlier."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    start: Minute = Field(alias="from", examples=["22:00"])
    end: Minute = Field(alias="to", examples=["07:30"])


class Preferences(Body):
    """The whole document: PUT replaces it, so every member is required."""

    genres: Genres
    languages: list[Language] = Field(max_length=20, description="ISO 639.")
    time_zone: TimeZone = Field(description="IANA.")
    hide_presence: StrictBool = Field(description="Friends do not see where the person is.")
    recommendations: StrictBool = Field(description="False opts out of personal recommendations.")
    push_opt_in: StrictBool
    toasts_enabled: StrictBool
    quiet_hours: QuietHours | None


_EXAMPLE = {
    "genres": ["techno", "jazz", "dub"],
    "languages": ["pt", "en"],
    "time_zone": "Europe/Lisbon",
    "hide_presence": False,
    "recommendations": True,
    "push_opt_in": False,
    "toasts_enabled": True,
    "quiet_hours": {"from": "22:00", "to": "07:30"},
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": Preferences,
        "description": "What holds now.",
        "content": {"application/json": {"example": _EXAMPLE}},
    }
}
_REQUEST = {"requestBody": {"content": {"application/json": {"example": _EXAMPLE}}}}


@router.get("/preferences", summary="What the person chose", responses=_RESPONSES)
async def preferences(services: WithServices, caller: WithCaller) -> Response:
    """The whole document, with defaults for what was never chosen."""
    async with listener_session(services, caller, readonly=True) as listener:
        return _answer(await listener.connection.fetchrow(_READ, listener.user_id))


@router.put("/preferences", summary="Choose", responses=_RESPONSES, openapi_extra=_REQUEST)
async def choose(services: WithServices, caller: WithCaller, body: Preferences) -> Response:
    """Replace the whole document; it counts from the next request on."""
    async with listener_session(services, caller) as listener:
        await refuse_unknown_genres(listener.connection, body.genres)
        await _write(listener, body, services.clock())
        return _answer(await listener.connection.fetchrow(_READ, listener.user_id))


async def _write(listener: Listener, body: Preferences, now: Any) -> None:
    chosen = {"genres": body.genres, "languages": body.languages}
    privacy = {"hide_presence": body.hide_presence, "recommendations": body.recommendations}
    quiet = body.quiet_hours
    await listener.connection.execute(
        _CHOOSE,
        listener.user_id,
        orjson.dumps(chosen).decode(),
        orjson.dumps(privacy).decode(),
        body.time_zone,
    )
    await listener.connection.execute(
        _NOTIFY,
        listener.user_id,
        body.push_opt_in,
        body.toasts_enabled,
        quiet and time.fromisoformat(quiet.start),
        quiet and time.fromisoformat(quiet.end),
        now,
    )


def _answer(row: asyncpg.Record) -> Response:
    """The row as the document; a malformed setting reads as the cautious one, as it does live."""
    chosen, privacy = orjson.loads(row["preferences"]), orjson.loads(row["privacy_settings"])
    quiet = None
    if row["quiet_from"] is not None:
        quiet = {"from": f"{row['quiet_from']:%H:%M}", "to": f"{row['quiet_to']:%H:%M}"}
    document = {
        "genres": _texts(chosen.get("genres")),
        "languages": _texts(chosen.get("languages")),
        "time_zone": row["time_zone"],
        "hide_presence": privacy.get("hide_presence", False) is not False,
        "recommendations": privacy.get("recommendations", True) is not False,
        "push_opt_in": bool(row["push_opt_in"]),
        "toasts_enabled": row["toasts_enabled"] is not False,
        "quiet_hours": quiet,
    }
    return Response(orjson.dumps(document), media_type="application/json")


def _texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
