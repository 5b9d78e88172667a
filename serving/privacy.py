"""`/privacy`: what a person has by law. Their data as a ZIP, and their imports or account deleted.

A deletion counts from the answer on, in every reader; what is left physically goes within thirty
days. Jobs are worked on elsewhere.
"""

import asyncio
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import asyncpg
import orjson
from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from starlette.responses import Response

from seda.database.regions import Region
from seda.privacy.downloads import ExpiredLinkError, ForgedLinkError
from serving.authentication import LEEWAY_SECONDS
from serving.bodies import Body
from serving.documentation import problem_responses
from serving.listener import listener_session
from serving.problems import ProblemError
from serving.services import Services, WithCaller, WithServices

REAUTHENTICATED_WITHIN = 5 * 60
"""Seconds since the person proved who they are."""

router = APIRouter(prefix="/privacy", tags=["privacy"])

_EXPORT = "select seda.request_export($1)"
_DELETE = "select seda.request_deletion($1, $2)"
_JOB = """
select id, kind, scope, status, requested_at, completed_at, due_at, artefact_uri,
       artefact_expires_at
from seda.privacy_jobs where id = $1
"""
_ARTEFACT = "select artefact_uri, artefact_expires_at, gone from seda.export_artefact($1)"


class Deletion(Body):
    """What is to be deleted."""

    scope: Literal["imports", "account"] = Field(
        "imports", description="What providers gave us about the person, or everything."
    )


class Job(BaseModel):
    """A privacy job."""

    id: UUID
    kind: Literal["export", "delete"]
    scope: Literal["imports", "account"]
    status: Literal["queued", "in_progress", "completed", "failed"]
    requested_at: datetime
    completed_at: datetime | None
    due_at: datetime | None
    download_url: str | None = Field(description="Of a completed export, for seven days.")
    download_expires_at: datetime | None


_EXAMPLE = {
    "id": "0f3f1c1e-6f0c-4a57-9a0e-8a6fbb1c2d11",
    "kind": "export",
    "scope": "account",
    "status": "completed",
    "requested_at": "2026-11-20T09:30:00Z",
    "completed_at": "2026-11-20T09:31:12Z",
    "due_at": "2026-12-20T09:30:00Z",
    "download_url": "/privacy/exports/WyJnbG9iYWwi…",
    "download_expires_at": "2026-11-27T09:31:12Z",
}
_ANSWER: dict[str, Any] = {"model": Job, "content": {"application/json": {"example": _EXAMPLE}}}
_ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {**_ANSWER, "description": "The job; asked for again while it is open, the same."}
}
_DELETION = {"scope": "imports"}
_ZIP: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/zip": {}}, "description": "The ZIP."},
    **problem_responses(403, 410),
}


@router.post("/export-data", status_code=202, summary="Ask for everything", responses=_ACCEPTED)
async def export_data(services: WithServices, caller: WithCaller) -> Response:
    """A ZIP of everything that we hold about the person; `GET /privacy/jobs/{id}` leads to it."""
    async with listener_session(services, caller) as listener:
        job_id = await listener.connection.fetchval(_EXPORT, services.clock())
        job = await listener.connection.fetchrow(_JOB, job_id)
    return await _told(services, listener.region, job, 202)


@router.post(
    "/delete-imports",
    status_code=202,
    summary="Delete imports, or the account",
    responses={**_ACCEPTED, **problem_responses(403)},
    openapi_extra={"requestBody": {"content": {"application/json": {"example": _DELETION}}}},
)
async def delete_imports(
    services: WithServices, caller: WithCaller, body: Deletion | None = None
) -> Response:
    """Excluded with this answer from every list, cache, toast and push; purged within thirty days.

    The token must tell (`amr`) that the person proved who they are within five minutes.
    """
    scope = (body or Deletion(scope="imports")).scope
    now = services.clock()
    age = now.timestamp() - (caller.authenticated_at or 0)
    if not -LEEWAY_SECONDS <= age <= REAUTHENTICATED_WITHIN:
        raise ProblemError(
            403,
            "reauthentication_required",
            "Deleting asks for a fresh sign-in: sign in again, and repeat this within 5 minutes.",
        )
    async with listener_session(services, caller) as listener:
        job_id = await listener.connection.fetchval(_DELETE, scope, now)
        job = await listener.connection.fetchrow(_JOB, job_id)
    return await _told(services, listener.region, job, 202)


@router.get("/jobs/{job_id}", summary="How a job stands", responses={200: _ANSWER})
async def job_state(
    services: WithServices, caller: WithCaller, job_id: Annotated[UUID, Path()]
) -> Response:
    """The person's own job; 404 for any other, 410 when the account is gone."""
    async with listener_session(services, caller, readonly=True) as listener:
        job = await listener.connection.fetchrow(_JOB, job_id)
    if job is None:
        raise ProblemError(404, "unknown_job", "You have no such job.")
    return await _told(services, listener.region, job, 200)


@router.get("/exports/{token}", summary="Download an export", responses=_ZIP)
async def download(services: WithServices, token: Annotated[str, Path(max_length=400)]) -> Response:
    """The ZIP of a signed link, which needs no token: whoever has the link has the file."""
    try:
        region, job_id = services.downloads.open(token)
    except ForgedLinkError as problem:
        raise ProblemError(403, "invalid_link", str(problem)) from problem
    except ExpiredLinkError as problem:
        raise ProblemError(410, "export_expired", str(problem)) from problem
    async with services.pools.transaction(region, readonly=True) as connection:
        found = await connection.fetchrow(_ARTEFACT, job_id)
    if (
        found is None
        or found["gone"]
        or found["artefact_uri"] is None
        or found["artefact_expires_at"] <= services.clock()
    ):
        raise ProblemError(410, "export_expired", "The export is over: ask for a new one.")
    content = await asyncio.to_thread(services.exports.read, region, found["artefact_uri"])
    if content is None:
        raise ProblemError(410, "export_expired", "The export is over: ask for a new one.")
    headers = {
        "Content-Disposition": f'attachment; filename="seda-{job_id}.zip"',
        "Cache-Control": "no-store",
    }
    return Response(content, media_type="application/zip", headers=headers)


async def _told(services: Services, region: Region, job: asyncpg.Record, status: int) -> Response:
    url, until = None, job["artefact_expires_at"]
    if job["artefact_uri"] is not None and until is not None and until > services.clock():
        signed = await asyncio.to_thread(
            services.exports.signed_url, region, job["artefact_uri"], until - services.clock()
        )
        job_id = UUID(int=job["id"].int)
        url = signed or f"/privacy/exports/{services.downloads.seal(region, job_id, until)}"
    document = {
        **{name: job[name] for name in ("kind", "scope", "status", "requested_at")},
        "id": UUID(int=job["id"].int),
        "completed_at": job["completed_at"],
        "due_at": job["due_at"],
        "download_url": url,
        "download_expires_at": until if url else None,
    }
    # The link in it is as good as the file.
    headers = {"Cache-Control": "no-store"}
    return Response(orjson.dumps(document), status, headers, media_type="application/json")
