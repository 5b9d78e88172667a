"""The notifier as an ASGI app, so that it starts, answers for its health and stops like the others.

`GET /healthz`: the process is up. `GET /readyz`: its loops come round in both regions.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from seda.database.regions import Databases
from seda.settings import Settings
from serving.app import utc_now
from serving.notifier.worker import Notifier


def create_notifier(
    settings: Settings, databases: Databases, *, clock: Callable[[], datetime] = utc_now
) -> Starlette:
    """The worker over databases that the caller holds open.

    Raises:
        SedaError: the `FCM_*` settings name no usable sender.
    """
    notifier = Notifier(databases, settings, clock)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        notifier.start()
        yield
        await notifier.stop()

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(request: Request) -> Response:
        if stalled := notifier.stalled():
            return JSONResponse({"status": "not ready", "stalled": stalled}, 503)
        return JSONResponse({"status": "ready"})

    return Starlette(
        routes=[Route("/healthz", healthz), Route("/readyz", readyz)], lifespan=lifespan
    )
