"""The connections of this process: who they are, which rooms they are in, what they ask for.

Presence is per connection: a person leaves a room when their last connection does, whether it says
so, is lost, or falls silent.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import socketio
from socketio.exceptions import ConnectionRefusedError as Refused

from seda.database.regions import Region
from seda.social.presence import IDLE, Attendance
from serving.problems import DatabaseUnavailableError, ProblemError, unauthorized
from serving.realtime.admission import Admission
from serving.realtime.emitter import Emitter
from serving.realtime.fanout import Fanout
from serving.realtime.intents import Intent, IntentLog, Person
from serving.realtime.numbers import Numbers

INTENTS = {
    "presence:join": "join",
    "presence:leave": "leave",
    "vote": "vote",
    "follow": "follow",
    "listen": "listen",
}

_logger = logging.getLogger("serving")


@dataclass(eq=False)
class Connection:
    """One client connection; the lock keeps its intents in the order in which they came.

    `session_id` is the client's, `session` what it stands for now.
    """

    sid: str
    eio_sid: str
    person: Person
    session_id: str
    session: str
    alive_at: datetime
    acknowledged: set[UUID] = field(default_factory=set)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    gone: bool = False


class Gateway:
    """Socket.IO's handlers."""

    def __init__(
        self,
        server: socketio.AsyncServer,
        admission: Admission,
        intents: IntentLog,
        attendance: Mapping[Region, Attendance[str]],
        fanouts: Mapping[Region, Fanout],
        emitter: Emitter,
        numbers: Numbers,
        clock: Callable[[], datetime],
    ) -> None:
        self._server = server
        self._admission = admission
        self._intents = intents
        self._attendance = attendance
        self._fanouts = fanouts
        self._emitter = emitter
        self._numbers = numbers
        self._clock = clock
        self.connections: dict[str, Connection] = {}
        self._people: dict[str, set[str]] = {}
        server.on("connect", self.connect)
        server.on("disconnect", self.disconnect)
        server.on("presence:heartbeat", self.heartbeat)
        for event, kind in INTENTS.items():
            server.on(event, self._handler(kind))

    async def connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        """Accept a connection with `auth: {token, session_id}`; refuse it with a problem."""
        try:
            person, session_id, session = await self._admission.admit(auth)
        except ProblemError as problem:
            raise Refused(problem.detail, problem.document()) from problem
        except TimeoutError as problem:
            unavailable = DatabaseUnavailableError("presence")
            raise Refused(unavailable.detail, unavailable.document()) from problem
        # Nothing waits from here on: no message may go out before the connection's own answer.
        eio_sid = self._server.manager.eio_sid_from_sid(sid, "/")
        if eio_sid is None:  # it went while it was admitted
            self._dismiss_unless_connected(person)
            raise Refused("gone")
        now = self._clock()
        self.connections[sid] = Connection(sid, eio_sid, person, session_id, session, now)
        self._people.setdefault(person.key, set()).add(sid)
        self._attendance[person.region].connect(sid, person.user_id, now)
        self._emitter.add(person.key, eio_sid)
        self._numbers.connections.set(len(self.connections))

    async def heartbeat(self, sid: str, data: Any = None) -> dict[str, Any]:
        """`presence:heartbeat`: a sign of life."""
        connection = self.connections.get(sid)
        if connection is None:
            return {"ok": False, "problem": _not_connected().document()}
        try:
            await self._alive(connection)
        except ProblemError as problem:
            return {"ok": False, "problem": problem.document()}
        return {"ok": True}

    async def disconnect(self, sid: str, reason: str | None = None) -> None:
        """Take a lost connection out of its rooms."""
        connection = self.connections.pop(sid, None)
        if connection is None:
            return
        person = connection.person
        sids = self._people.get(person.key, set())
        sids.discard(sid)
        if not sids:
            self._people.pop(person.key, None)
        self._emitter.remove(person.key, connection.eio_sid)
        self._dismiss_unless_connected(person)
        self._numbers.connections.set(len(self.connections))
        async with connection.lock:  # an intent in flight ends first, and is then undone here
            connection.gone = True
            rooms = self._attendance[person.region].disconnect(sid)
            await self._lose(person, rooms)

    async def close(self) -> None:
        """Take every connection out of its rooms: the service stops."""
        await asyncio.gather(*(self.disconnect(sid) for sid in list(self.connections)))

    async def end_idle(self) -> None:
        """Take out of their rooms the connections that fell silent."""
        for region, attendance in self._attendance.items():
            for sid, _ in attendance.idle(self._clock()):
                connection = self.connections.get(sid)
                if connection is None or connection.person.region is not region:
                    continue
                async with connection.lock:
                    rooms = dict(attendance.idle(self._clock())).get(sid, frozenset())
                    for room in rooms:
                        attendance.quit(sid, room)
                    await self._lose(connection.person, rooms)

    def sessions(self, person: str) -> list[str]:
        """A person's sessions here, the most recently active first."""
        mine = [self.connections[sid] for sid in self._people.get(person, ())]
        mine.sort(key=lambda connection: connection.alive_at, reverse=True)
        return list(dict.fromkeys(connection.session for connection in mine))

    def session_sids(self, person: str, session: str) -> list[str]:
        """The Engine.IO ids of a session's connections."""
        mine = (self.connections[sid] for sid in self._people.get(person, ()))
        return [connection.eio_sid for connection in mine if connection.session == session]

    def _handler(self, kind: str) -> Callable[..., Any]:
        async def handle(sid: str, data: Any = None) -> dict[str, Any]:
            return await self._acknowledge(sid, kind, data)

        return handle

    async def _acknowledge(self, sid: str, kind: str, data: Any) -> dict[str, Any]:
        try:
            intent = Intent.parse(kind, data)
            await self._perform(sid, intent)
        except ProblemError as problem:
            self._numbers.intents.labels(problem.code).inc()
            return {"ok": False, "problem": problem.document()}
        except Exception:
            _logger.exception("an intent failed")
            unexpected = ProblemError(500, "internal_error", "Something went wrong on our side.")
            self._numbers.intents.labels(unexpected.code).inc()
            return {"ok": False, "problem": unexpected.document()}
        self._numbers.intents.labels("ok").inc()
        return {"ok": True, "event_id": str(intent.event_id)}

    async def _perform(self, sid: str, intent: Intent) -> None:
        connection = self.connections.get(sid)
        if connection is None:
            raise _not_connected()
        at = self._clock()
        await self._alive(connection)
        async with connection.lock:
            if connection.gone:
                raise _not_connected()
            attendance = self._attendance[connection.person.region]
            shift = self._shift(connection, attendance, intent)
            await self._intents.record(connection.person, intent, shift, at)
            connection.acknowledged.add(intent.event_id)
            if shift > 0:
                attendance.enter(sid, intent.entity_id)
            elif shift < 0:
                attendance.quit(sid, intent.entity_id)

    def _shift(self, connection: Connection, attendance: Attendance[str], intent: Intent) -> int:
        if intent.kind not in ("join", "leave") or intent.event_id in connection.acknowledged:
            return 0
        inside = attendance.inside(connection.sid, intent.entity_id)
        if intent.kind == "join":
            return 0 if inside else 1
        return -1 if inside else 0

    async def _alive(self, connection: Connection) -> None:
        now = self._clock()
        was, connection.alive_at = connection.alive_at, now
        self._attendance[connection.person.region].beat(connection.sid, now)
        if now - was >= IDLE:  # the session has ended: the next one begins
            connection.session = await self._admission.session(
                connection.person, connection.session_id
            )

    async def _lose(self, person: Person, rooms: frozenset[UUID]) -> None:
        now = self._clock()
        lost = await asyncio.gather(
            *(self._intents.lose(person, room, now) for room in rooms), return_exceptions=True
        )
        for problem in lost:
            if isinstance(problem, BaseException):
                # This process's holds are given up with it, at the latest.
                _logger.warning("a lost connection keeps its presence: %s", type(problem).__name__)

    def _dismiss_unless_connected(self, person: Person) -> None:
        if not self._emitter.connected(person.key):
            self._fanouts[person.region].dismiss(person.key)


def _not_connected() -> ProblemError:
    return unauthorized("This connection is not signed in: connect again.")
