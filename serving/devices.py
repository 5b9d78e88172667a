"""`POST /devices` and `DELETE /devices/{token}`: where a person's pushes go.

A token stands for a device, not for a person: it belongs to who registered it last.
"""

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Path
from pydantic import BaseModel, Field, StringConstraints
from starlette.responses import Response

from serving.bodies import Body
from serving.listener import listener_session
from serving.problems import ProblemError
from serving.services import WithCaller, WithServices

LONGEST = 1024

router = APIRouter(tags=["devices"])

_REGISTER = "select seda.register_device($1, $2, $3)"
_FORGET = "delete from seda.device_tokens where token = $1 returning true"

Token = Annotated[
    str,
    StringConstraints(min_length=8, max_length=LONGEST, pattern=r"^[A-Za-z0-9_:.=+-]+$"),
]


class Device(Body):
    """A device that takes pushes."""

    token: Token = Field(description="FCM's registration token.")
    platform: Literal["ios", "android", "web"]


class Registered(BaseModel):
    """The device, as it is kept."""

    platform: Literal["ios", "android", "web"]


_EXAMPLE = {"token": "fcm-token-of-the-device:APA91b", "platform": "ios"}
_ANSWER: dict[str, Any] = {
    "model": Registered,
    "content": {"application/json": {"example": {"platform": "ios"}}},
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    201: {**_ANSWER, "description": "The token is new here."},
    200: {**_ANSWER, "description": "The token was known; it is the caller's now."},
}
_REQUEST = {"requestBody": {"content": {"application/json": {"example": _EXAMPLE}}}}


@router.post(
    "/devices",
    status_code=201,
    summary="Register a device",
    responses=_RESPONSES,
    openapi_extra=_REQUEST,
)
async def register(services: WithServices, caller: WithCaller, body: Device) -> Response:
    """Send the person's pushes to this device from now on, and nobody else's."""
    async with listener_session(services, caller) as listener:
        new = await listener.connection.fetchval(
            _REGISTER, body.token, body.platform, services.clock()
        )
    content = orjson.dumps({"platform": body.platform})
    return Response(content, 201 if new else 200, media_type="application/json")


@router.delete("/devices/{token}", status_code=204, summary="Forget a device")
async def forget(
    services: WithServices,
    caller: WithCaller,
    token: Annotated[Token, Path(description="As it was registered.")],
) -> None:
    """Send no more pushes to this device; 404 where it is not the caller's."""
    async with listener_session(services, caller) as listener:
        if not await listener.connection.fetchval(_FORGET, token):
            raise ProblemError(404, "unknown_device", "You have no such device.")
