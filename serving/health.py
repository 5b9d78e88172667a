"""`/healthz`: the process is up. `/readyz`: requests can be served, or why they cannot.

Not ready: a region's database does not answer the feed's own statements, takes no writes, or lacks
a migration that the code needs; no key that verifies tokens is known; or the process has been told
to stop.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from seda.database.regions import Region
from seda.database.revisions import head_revision, is_behind
from seda.publishing.cards import ENTITY_TYPES
from serving import impressions
from serving.authentication import Caller
from serving.cursors import Source
from serving.documentation import HEALTH_RESPONSES, READINESS_RESPONSES
from serving.fall_back import fall_back_page
from serving.lists import personal_lists, rehearse
from serving.problems import RETRY_SECONDS, ProblemError
from serving.services import Services, WithServices
from serving.session import person_session

READY_WITHIN_SECONDS = 1.0

# Nobody's subject: the statements run in full, under row security, and find nobody.
_NOBODY = Caller("00000000-0000-0000-0000-000000000000")

# A standby, or a server that was told so, as hosted ones are when their disk is nearly full.
_TAKES_NO_WRITES = """
    select pg_is_in_recovery() or current_setting('default_transaction_read_only')::boolean
"""

router = APIRouter(tags=["health"])


# Load balancers and monitors ask by HEAD too; the server sends no body then.
@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", summary="The process is up", responses=HEALTH_RESPONSES)
async def healthz() -> Response:
    """Says nothing of the databases: a restart would not mend them."""
    return JSONResponse({"status": "ok"})


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", summary="Feeds can be served", responses=READINESS_RESPONSES)
async def readyz(services: WithServices) -> Response:
    """Runs the feed's own statements in both regions, so a missing migration or grant shows."""
    if services.draining.begun:
        raise _not_ready("the process is stopping")
    has_keys, *states = await asyncio.gather(
        services.verifier.keys.available(), *(_state(services, region) for region in Region)
    )
    databases = {str(region): state for region, state in zip(Region, states, strict=True)}
    failed = [f"{region} ({state})" for region, state in databases.items() if state != "ready"]
    if not has_keys:
        failed.append("no key that verifies tokens is known")
    if failed:
        raise _not_ready(", ".join(failed), databases=databases)
    return JSONResponse({"status": "ready", "databases": databases})


def _not_ready(why: str, **extensions: Any) -> ProblemError:
    headers = {"Retry-After": str(RETRY_SECONDS)}
    return ProblemError(503, "not_ready", f"Not ready: {why}.", headers=headers, **extensions)


async def _state(services: Services, region: Region) -> str:
    try:
        async with asyncio.timeout(READY_WITHIN_SECONDS):
            async with services.pools.transaction(region, readonly=True) as connection:
                revision = await connection.fetchval("select seda.schema_revision()")
                if await connection.fetchval(_TAKES_NO_WRITES):
                    return "read-only, so no page could be recorded"
            if is_behind(revision):
                return f"at migration {revision}, the code needs {head_revision()}"
            await _rehearse(services, region)
    except TimeoutError:
        return "no answer within a second"
    except ProblemError:
        return "unreachable, or without the role seda_api"
    except asyncpg.PostgresError:
        return "not migrated, or a grant is missing"
    return "ready"


async def _rehearse(services: Services, region: Region) -> None:
    now, shards = services.clock(), services.shards[region]
    async with services.pools.transaction(region, readonly=True) as connection:
        await impressions.rehearse(connection)
    if region is Region.GLOBAL:
        with _nobody_found():
            await services.directory.region_of(_NOBODY)
    async with person_session(services.pools, region, _NOBODY) as connection:
        await rehearse(connection)
        with _nobody_found():
            await personal_lists(connection, _NOBODY, ENTITY_TYPES, None, shards=shards, now=now)
        with _nobody_found():
            await fall_back_page(
                connection, Source.TRENDING, ENTITY_TYPES, start=0, seen=(), size=1, now=now
            )


@contextmanager
def _nobody_found() -> Iterator[None]:
    try:
        yield
    except ProblemError as problem:
        if problem.code != "unknown_person":
            raise
