"""The real-time service as one ASGI app: wiring only."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime

import socketio

from seda.database.regions import Databases
from seda.settings import Settings
from serving.app import utc_now
from serving.authentication import TokenVerifier
from serving.pools import Pools
from serving.realtime.fanout import Fanout
from serving.realtime.gateway import Gateway
from serving.realtime.held import HeldPresence
from serving.realtime.intents import PresenceStore
from serving.realtime.origins import allowed_origins

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
        async_mode="asgi",
        max_http_buffer_size=LARGEST_MESSAGE_BYTES,
        logger=False,
        cors_allowed_origins=allowed_origins(settings),
    )
    exits = AsyncExitStack()

    async def start() -> None:
        held = databases or Databases(settings)
        urls = await asyncio.to_thread(lambda: {each.region: each.url for each in held})
        pools = Pools(urls, role="service_role")
        await pools.open()
        verifier = TokenVerifier.from_settings(settings, clock)
        await verifier.keys.prefetch()
        fanout = Fanout(server, pools)
        fanout.start()
        held_presence = HeldPresence(pools, clock)
        held_presence.start()
        gateway = Gateway(server, verifier, pools, PresenceStore(pools, clock), fanout)
        if databases is None:
            exits.callback(held.close)
        for closing in (pools.close, held_presence.stop, fanout.stop, gateway.close):
            exits.push_async_callback(closing)

    return socketio.ASGIApp(server, on_startup=start, on_shutdown=exits.aclose)
