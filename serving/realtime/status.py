"""`/healthz`, `/readyz` and `/metrics` of the real-time service, beside Socket.IO's own path.

Ready: every region's announcements are heard, presence is known, and its database is migrated.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import asyncpg
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from seda.database.regions import Region
from seda.database.revisions import is_behind
from seda.observability.metrics import CONTENT_TYPE
from serving.draining import Draining
from serving.pools import Pools
from serving.problems import ProblemError, respond
from serving.realtime.numbers import Numbers

READY_WITHIN_SECONDS = 1.0


class Status:
    """What the service says of itself; before it has started, that it has not."""

    def __init__(self, numbers: Numbers, draining: Draining) -> None:
        self._numbers = numbers
        self._draining = draining
        self._pools: Pools | None = None
        self._hears: Mapping[Region, Callable[[], bool]] = {}
        self._depths: Mapping[str, Callable[[], int]] = {}

    def started(
        self,
        pools: Pools,
        hears: Mapping[Region, Callable[[], bool]],
        depths: Mapping[str, Callable[[], int]],
    ) -> None:
        """From now on: whether each region is heard, and how long each queue is."""
        self._pools, self._hears, self._depths = pools, hears, depths

    def app(self) -> Starlette:
        """The three routes; anything else is a problem."""
        routes = [
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/metrics", self._metrics),
            Route("/{path:path}", self._unknown),
        ]
        return Starlette(routes=routes)

    async def _healthz(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _readyz(self, request: Request) -> Response:
        states = await asyncio.gather(*(self._state(region) for region in Region))
        databases = {str(region): state for region, state in zip(Region, states, strict=True)}
        failed = [f"{name} ({state})" for name, state in databases.items() if state != "ready"]
        if self._draining.begun:
            failed.append("the process is stopping")
        if failed:
            why = f"Not ready: {', '.join(failed)}."
            return respond(ProblemError(503, "not_ready", why, databases=databases), None)
        return JSONResponse({"status": "ready", "databases": databases})

    async def _metrics(self, request: Request) -> Response:
        for name, depth in self._depths.items():
            self._numbers.queue_depth.labels(name).set(depth())
        return Response(self._numbers.exposition(), media_type=CONTENT_TYPE)

    async def _unknown(self, request: Request) -> Response:
        return respond(ProblemError(404, "unknown_route", "There is nothing at this path."), None)

    async def _state(self, region: Region) -> str:
        if self._pools is None:
            return "not started"
        return await _within(self._ask(self._pools, region))

    async def _ask(self, pools: Pools, region: Region) -> str:
        async with pools.connection(region) as connection:
            revision = await connection.fetchval("select seda.schema_revision()")
        if is_behind(revision):
            return f"at migration {revision}"
        return "ready" if self._hears[region]() else "announcements are not heard"


async def _within(asking: Awaitable[str]) -> str:
    try:
        async with asyncio.timeout(READY_WITHIN_SECONDS):
            return await asking
    except TimeoutError:
        return "no answer within a second"
    except ProblemError:
        return "unreachable"
    except asyncpg.PostgresError:
        return "not migrated"
