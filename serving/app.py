"""The API as one ASGI app: wiring only. Routes live in modules of their own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from fastapi import FastAPI

from seda.database.regions import Databases, Region, api_login_url
from seda.privacy.downloads import DownloadLinks
from seda.settings import Settings
from serving import (
    devices,
    dismissals,
    documentation,
    events,
    explanation,
    feed,
    health,
    links,
    metrics,
    onboarding,
    preferences,
    privacy,
    problems,
    suppressions,
)
from serving.authentication import TokenVerifier
from serving.bounds import Bounds
from serving.cursors import Cursors
from serving.demo import routes as demo
from serving.documentation import problem_responses
from serving.draining import Draining
from serving.exports import ExportFiles
from serving.impressions import ImpressionLog
from serving.linking import Linking
from serving.origins import CrossOrigin, web_origins
from serving.plain_reads import PlainReads
from serving.pools import Pools
from serving.rate_limits import AddressLimit, RateLimits
from serving.services import Services
from serving.session import RegionDirectory
from serving.telemetry import Observed, Telemetry


def utc_now() -> datetime:
    """The real clock."""
    return datetime.now(UTC)


def create_app(
    settings: Settings,
    *,
    clock: Callable[[], datetime] = utc_now,
    databases: Databases | None = None,
    draining: Draining | None = None,
) -> FastAPI:
    """The API over the settings' databases, or over those that the caller holds open.

    A database that is down does not stop the start: its people get 503 until it answers.
    """
    draining = draining or Draining(settings.drain_seconds)
    telemetry = Telemetry()
    limits = RateLimits(settings, failed=telemetry.unchecked, refused=telemetry.limited)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        held = databases or Databases(settings)
        # In a thread: naming the embedded databases may start their server.
        urls = await asyncio.to_thread(
            lambda: {region: api_login_url(held[region], settings) for region in Region}
        )
        pools = Pools(urls, size=settings.api_connections)
        # What is served is recorded over a connection of its own, one batch at a time: it waits for
        # no reader, and the server process behind it has little else to keep at hand.
        recording = Pools(urls, size=1)
        await pools.open()
        await recording.open()
        app.state.services = _services(
            settings, clock, pools, ImpressionLog(recording), telemetry, limits, draining
        )
        app.state.linking = await asyncio.to_thread(Linking.from_settings, settings)
        await app.state.services.verifier.keys.prefetch()
        async with demo.opened(app, settings, held, clock):
            yield
        await recording.close()
        await pools.close()
        if databases is None:
            held.close()

    app = FastAPI(
        title="seda.fm recommendations",
        version="1",
        description="Feeds and cards, read from what the pipelines published.",
        lifespan=lifespan,
        redirect_slashes=False,  # a path has one spelling; others are 404, as every unknown path
        responses=problem_responses(
            400, 401, 404, 405, 408, 410, 413, 414, 415, 422, 429, 431, 500, 503
        ),
    )
    # The last one added is the first to see a request.
    app.add_middleware(PlainReads)
    app.add_middleware(AddressLimit, limits=limits)
    app.add_middleware(Bounds, largest_body=settings.largest_body_kib * 1024)
    app.add_middleware(Observed, telemetry=telemetry, draining=draining)
    problems.install(app)
    if origins := web_origins(settings):
        app.add_middleware(CrossOrigin, origins=origins)
    documentation.install(app)
    app.include_router(feed.router)
    app.include_router(explanation.router)
    app.include_router(dismissals.router)
    app.include_router(suppressions.router)
    app.include_router(events.router)
    app.include_router(onboarding.router)
    app.include_router(preferences.router)
    app.include_router(devices.router)
    app.include_router(links.router)
    app.include_router(privacy.router)
    app.include_router(health.router)
    app.include_router(metrics.router)
    if settings.offers_demo:
        app.include_router(demo.router)
    return app


def _services(
    settings: Settings,
    clock: Callable[[], datetime],
    pools: Pools,
    impressions: ImpressionLog,
    telemetry: Telemetry,
    limits: RateLimits,
    draining: Draining,
) -> Services:
    return Services(
        clock=clock,
        pools=pools,
        directory=RegionDirectory(pools, clock),
        verifier=TokenVerifier.from_settings(settings, clock),
        cursors=Cursors(settings.cursor_secret(), clock),
        impressions=impressions,
        shards={Region.GLOBAL: settings.global_shards, Region.EU: settings.eu_shards},
        embedding_cap_usd=settings.embedding_monthly_cap_usd,
        telemetry=telemetry,
        limits=limits,
        draining=draining,
        presence_linger=timedelta(milliseconds=settings.presence_linger_ms),
        downloads=DownloadLinks(settings.download_secret(), clock),
        exports=ExportFiles(settings),
    )
