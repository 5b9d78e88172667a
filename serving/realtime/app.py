"""The real-time service as one ASGI app: wiring only."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import uuid4

import socketio

from seda.database.regions import Databases, Region
from seda.settings import Settings
from seda.social.presence import Attendance
from serving.app import utc_now
from serving.authentication import TokenVerifier
from serving.draining import Draining
from serving.pools import Pools
from serving.realtime.admission import Admission
from serving.realtime.bus import Bus, PostgresBus, RedisBus
from serving.realtime.emitter import Emitter
from serving.realtime.fanout import Fanout
from serving.realtime.gateway import Gateway
from serving.realtime.intents import IntentLog
from serving.realtime.listening import Listening
from serving.realtime.numbers import Numbers
from serving.realtime.origins import allowed_origins
from serving.realtime.processes import Registration
from serving.realtime.status import Status
from serving.realtime.toasts import Toasts
from serving.realtime.upkeep import Upkeep

LARGEST_MESSAGE_BYTES = 16_384


def create_realtime(
    settings: Settings,
    *,
    clock: Callable[[], datetime] = utc_now,
    databases: Databases | None = None,
    draining: Draining | None = None,
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
    numbers = Numbers()
    status = Status(numbers, draining or Draining(0))

    async def start() -> None:
        held = databases or Databases(settings)
        if databases is None:
            exits.callback(held.close)
        urls = await asyncio.to_thread(lambda: {each.region: each.url for each in held})
        service = _Service(settings, clock, server, urls, numbers, exits)
        await service.start(status)

    return socketio.ASGIApp(server, status.app(), on_startup=start, on_shutdown=exits.aclose)


@dataclass
class _Service:
    """Every worker, started in order; `exits` stops them, the last one first."""

    settings: Settings
    clock: Callable[[], datetime]
    server: socketio.AsyncServer
    urls: dict[Region, str]
    numbers: Numbers
    exits: AsyncExitStack

    async def start(self, status: Status) -> None:
        pools = Pools(self.urls, role="service_role")
        await pools.open()
        self.exits.push_async_callback(pools.close)
        verifier = TokenVerifier.from_settings(self.settings, self.clock)
        await verifier.keys.prefetch()
        attendance: dict[Region, Attendance[str]] = {region: Attendance() for region in Region}
        registration = Registration(
            uuid4(), pools, lambda region: attendance[region].holds(), self.clock
        )
        self._run(registration)
        emitter = Emitter(self.server)
        toasts: dict[Region, Toasts] = {}

        def came(region: Region, actor: str, room: str, viewers: Collection[str]) -> None:
            if region in toasts:
                toasts[region].came(actor, room, viewers)

        fanouts = {
            region: Fanout(
                region, pools, emitter, self._window, self.clock, self.numbers,
                came=partial(came, region), lingers=partial(registration.lingers, region),
            )
            for region in Region
        }  # fmt: skip
        linger = timedelta(milliseconds=self.settings.presence_linger_ms)
        intents = IntentLog(pools, registration, linger, self.clock)
        admission = Admission(verifier, pools, fanouts, self.clock)
        gateway = Gateway(
            self.server, admission, intents, attendance, fanouts, emitter, self.numbers, self.clock
        )
        buses = {region: self._bus(region, fanouts[region], registration) for region in Region}
        for region, fanout in fanouts.items():
            toasts[region] = Toasts(
                fanout, gateway, pools, emitter, self._window, self.clock, self.numbers
            )
            for worker in (fanout, buses[region], toasts[region]):
                self._run(worker)
        self._run(Upkeep(pools, gateway, attendance, list(toasts.values()), self.clock))
        self.exits.push_async_callback(gateway.close)
        status.started(
            pools,
            {region: bus.hears for region, bus in buses.items()},
            {
                "intents": lambda: intents.depth,
                "viewers": lambda: sum(fanout.waiting for fanout in fanouts.values()),
                "toasts": lambda: sum(each.waiting for each in toasts.values()),
            },
        )

    @property
    def _window(self) -> timedelta:
        return timedelta(milliseconds=self.settings.presence_window_ms)

    def _bus(self, region: Region, fanout: Fanout, registration: Registration) -> Bus:
        listen = partial(Listening, region, self.urls[region])
        redis_url = self.settings.redis_url
        if redis_url is None:
            return PostgresBus(listen(fanout.hear, fanout.resumed))
        return RedisBus(
            redis_url.get_secret_value(),
            f"{self.settings.env}:{region}",
            str(registration.id),
            listen,
            fanout.hear,
            fanout.resumed,
        )

    def _run(self, worker: Fanout | Bus | Toasts | Upkeep | Registration) -> None:
        worker.start()
        self.exits.push_async_callback(worker.stop)
