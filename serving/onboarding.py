"""`POST /onboarding`: a token's subject becomes a listener, with a first feed in the answer.

Two databases cannot commit together, so the order of writes makes every crash one that a repeated
call repairs: first the directory (id and region, once and for all), then the person and their taste
in one transaction of their region. Until the second has happened nobody is there: 404.
"""

from datetime import date
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import orjson
from fastapi import APIRouter, Request
from pydantic import AfterValidator, BaseModel, Field, StringConstraints
from starlette.responses import Response

from seda.database.regions import Region
from seda.people.residence import countries, region_of_country
from serving import feed
from serving.authentication import Caller
from serving.bodies import AsText, Body, Language, Line, TimeZone
from serving.documentation import FEED_EXAMPLE, FeedPage
from serving.genres import ThreeGenres, refuse_unknown_genres
from serving.listener import region_session
from serving.problems import ProblemError
from serving.services import Services, WithCaller, WithServices
from serving.session import account_deleted

router = APIRouter(tags=["onboarding"])

_REGISTER = "select user_id, region from seda.register_listener($1)"
_DELETED = """
select deleted_at is not null from seda.users where auth_user_id = (select auth.uid())::text
"""
_JOIN = """
insert into seda.users (id, auth_user_id, country, dob, preferences, display_name, time_zone)
values ($1, (select auth.uid())::text, $2, $3, $4::jsonb, $5, coalesce($6, 'UTC'))
on conflict do nothing returning true
"""
# Where somebody lives and when they were born is not changed by a repeated onboarding.
_CHANGE = """
update seda.users set preferences = preferences || $1::jsonb,
    display_name = coalesce($2, display_name), time_zone = coalesce($3, time_zone)
where auth_user_id = (select auth.uid())::text
"""
_SEED = "select seda.seed_taste($1, $2)"


def _known_country(code: str) -> str:
    if code not in countries():
        raise ValueError("is no country's code (ISO 3166-1 alpha-2), such as PT")
    return code


class Onboarding(Body):
    """What a newcomer tells."""

    genres: ThreeGenres = Field(description="At least three different ones.")
    country: Annotated[
        str, StringConstraints(pattern=r"^[A-Z]{2}$"), AfterValidator(_known_country)
    ] = Field(
        description="ISO 3166-1 alpha-2. Decides, once, the region that holds the person's data.",
        examples=["PT"],
    )
    display_name: Line | None = None
    time_zone: TimeZone | None = Field(None, description="IANA; UTC if left out.")
    language: Language | None = Field(None, description="ISO 639.")
    dob: Annotated[date, AsText, Field(ge=date(1900, 1, 1))] | None = Field(
        None, description="Date of birth."
    )


class Onboarded(BaseModel):
    """The listener, and their first feed."""

    user_id: UUID
    region: Region
    genres: list[str]
    feed: FeedPage


_BODY_EXAMPLE = {
    "genres": ["techno", "jazz", "dub"],
    "country": "PT",
    "display_name": "Ada",
    "time_zone": "Europe/Lisbon",
    "language": "pt",
}
_EXAMPLE = {
    "user_id": "7b0f4a52-1a63-4a0e-8f0a-2f64c2a9d001",
    "region": "eu",
    "genres": ["techno", "jazz", "dub"],
    "feed": {**FEED_EXAMPLE, "source": "genre"},
}
_ANSWER: dict[str, Any] = {
    "model": Onboarded,
    "content": {"application/json": {"example": _EXAMPLE}},
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    201: {**_ANSWER, "description": "A new listener."},
    200: {**_ANSWER, "description": "A listener already: the genres are changed."},
}
_REQUEST = {"requestBody": {"content": {"application/json": {"example": _BODY_EXAMPLE}}}}


@router.post(
    "/onboarding",
    status_code=201,
    summary="Become a listener",
    responses=_RESPONSES,
    openapi_extra=_REQUEST,
)
async def onboarding(
    request: Request, services: WithServices, caller: WithCaller, body: Onboarding
) -> Response:
    """Choose genres, and get a first feed of them at once.

    Repeated, it changes genres, language, name and time zone; the region never changes.
    """
    if body.dob is not None and body.dob > services.clock().date():
        raise ProblemError(422, "invalid_request", "dob: is in the future")
    region = await _region(services, caller, body)
    await _refuse(services, caller, region, body)
    async with region_session(services, caller, Region.GLOBAL) as connection:
        entry = await connection.fetchrow(_REGISTER, region)
    if entry is None:  # erased while this request was under way
        raise account_deleted()
    user_id, region = UUID(int=entry["user_id"].int), Region(entry["region"])
    async with region_session(services, caller, region) as connection:
        new = await _write(connection, user_id, region, body)
        await connection.execute(_SEED, body.genres, services.clock())
    page = await feed.feed(request, services, caller)
    head = orjson.dumps({"user_id": user_id, "region": region, "genres": body.genres})
    content = b'%s,"feed":%s}' % (head[:-1], bytes(page.body))
    return Response(content, 201 if new else 200, media_type="application/json")


async def _region(services: Services, caller: Caller, body: Onboarding) -> Region:
    """Where the caller is, or where a newcomer from that country belongs."""
    try:
        return await services.directory.region_of(caller)
    except ProblemError as problem:
        if problem.status != 404:
            raise
        return region_of_country(body.country)


async def _refuse(services: Services, caller: Caller, region: Region, body: Onboarding) -> None:
    """Before anything is written: who has left, and genres that nobody plays."""
    async with region_session(services, caller, region, readonly=True) as connection:
        if await connection.fetchval(_DELETED):
            raise account_deleted()
        await refuse_unknown_genres(connection, body.genres)


async def _write(
    connection: asyncpg.Connection, user_id: UUID, region: Region, body: Onboarding
) -> bool:
    """Writes the person; whether they are new."""
    # Whose first attempt broke off may say another country now, and stays where they were put.
    fits = region is Region.EU or region_of_country(body.country) is region
    country = body.country if fits else None
    chosen: dict[str, Any] = {"genres": body.genres}
    if body.language is not None:
        chosen["languages"] = [body.language]
    preferences = orjson.dumps(chosen).decode()
    new = await connection.fetchval(
        _JOIN, user_id, country, body.dob, preferences, body.display_name, body.time_zone
    )
    if not new:
        await connection.execute(_CHANGE, preferences, body.display_name, body.time_zone)
    return bool(new)
