"""The real-time service as one ASGI app: wiring only."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import socketio

from seda.database.regions import Databases, Region
from seda.settings import Settings
from seda.social.presence import Attendance
from serving.app import utc_now
from serving.authentication import TokenVerifier
from serving.pools import Pools
from serving.realtime.admission import Admission
from serving.realtime.emitter import Emitter
from serving.realtime.fanout import Fanout
from serving.realtime.gateway import Gateway
from serving.realtime.intents import IntentLog
from serving.realtime.listening import Listening
from serving.realtime.numbers import Numbers
from serving.realtime.processes import Registration

LARGEST_MESSAGE_BYTES = 16_384


def create_realtime(
    settings: Settings,
    *,
    clock: Callable[[], datetime] = utc_now,
    databases: Databases | None = None,
) -> socketio.ASGIApp:
    """The service over the settings' databases, or over those that the caller holds open.

    It writes presence for everybody, so its connections are `service_role` (API-4).
    """
    server = socketio.AsyncServer(
        async_mode="asgi", max_http_buffer_size=LARGEST_MESSAGE_BYTES, logger=False
    )
    exits = AsyncExitStack()

    async def start() -> None:
        held = databases or Databases(settings)
        if databases is None:
            exits.callback(held.close)
        urls = await asyncio.to_thread(lambda: {each.region: each.url for each in held})
        await _start(settings, clock, server, urls, exits)

    return socketio.ASGIApp(server, on_startup=start, on_shutdown=exits.aclose)


async def _start(
    settings: Settings,
    clock: Callable[[], datetime],
    server: socketio.AsyncServer,
    urls: dict[Region, str],
    exits: AsyncExitStack,
) -> None:
    """Start every worker; `exits` stops them, the last one started first."""
    pools = Pools(urls, role="service_role")
    await pools.open()
    exits.push_async_callback(pools.close)
    verifier = TokenVerifier.from_settings(settings, clock)
    await verifier.keys.prefetch()
    numbers, emitter = Numbers(), Emitter(server)
    attendance: dict[Region, Attendance[str]] = {region: Attendance() for region in Region}
    registration = Registration(uuid4(), pools, lambda region: attendance[region].holds(), clock)
    registration.start()
    exits.push_async_callback(registration.stop)
    window = timedelta(milliseconds=settings.presence_window_ms)
    linger = timedelta(milliseconds=settings.presence_linger_ms)
    fanouts: dict[Region, Fanout] = {}

    def nobody(*_: Any) -> None:
        return None

    for region in Region:
        fanout = fanouts[region] = Fanout(
            region, pools, emitter, window, clock, numbers,
            came=nobody, lingers=partial(registration.lingers, region),
        )  # fmt: skip
        fanout.start()
        exits.push_async_callback(fanout.stop)
        listening = Listening(region, urls[region], fanout.hear, fanout.resumed)
        listening.start()
        exits.push_async_callback(listening.stop)
    intents = IntentLog(pools, registration, linger, clock)
    admission = Admission(verifier, pools, fanouts, clock)
    gateway = Gateway(server, admission, intents, attendance, fanouts, emitter, numbers, clock)
    exits.push_async_callback(gateway.close)
