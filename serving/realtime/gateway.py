"""The connections of this process: who they are, which rooms they are in, what they ask for.

Presence is per connection: a person leaves a room when their last connection does, whether it says
so or is lost.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

import socketio
from socketio.exceptions import ConnectionRefusedError as Refused

from seda.database.regions import Region
from serving.authentication import TokenVerifier
from serving.pools import Pools
from serving.problems import ProblemError, unauthorized
from serving.realtime.fanout import Fanout, person_room
from serving.realtime.intents import Intent, Person, PresenceStore
from serving.session import unknown_person

_LONGEST_SESSION_ID = 128

_logger = logging.getLogger("serving")


@dataclass(eq=False)
class Connection:
    """One client connection; the lock keeps its intents in the order in which they came."""

    person: Person
    session_id: str
    rooms: set[UUID] = field(default_factory=set)
    acknowledged: set[UUID] = field(default_factory=set)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    gone: bool = False


class Gateway:
    """Socket.IO's handlers."""

    def __init__(
        self,
        server: socketio.AsyncServer,
        verifier: TokenVerifier,
        pools: Pools,
        store: PresenceStore,
        fanout: Fanout,
    ) -> None:
        self._server = server
        self._verifier = verifier
        self._pools = pools
        self._store = store
        self._fanout = fanout
        self._connections: dict[str, Connection] = {}
        server.on("connect", self.connect)
        server.on("disconnect", self.disconnect)
        server.on("presence:join", self.join)
        server.on("presence:leave", self.leave)

    async def connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        """Accept a connection with `auth: {token, session_id}`; refuse it with a problem."""
        try:
            token, session_id = _credentials(auth)
            person = await self._person((await self._verifier.verify(token)).sub)
        except ProblemError as problem:
            raise Refused(problem.detail, problem.document()) from problem
        self._connections[sid] = Connection(person, session_id)
        await self._server.enter_room(sid, person_room(person.user_id))

    async def join(self, sid: str, data: Any = None) -> dict[str, Any]:
        """`presence:join {event_id, room_id}`, acknowledged after commit."""
        return await self._acknowledge(sid, "join", data)

    async def leave(self, sid: str, data: Any = None) -> dict[str, Any]:
        """`presence:leave {event_id, room_id}`, acknowledged after commit."""
        return await self._acknowledge(sid, "leave", data)

    async def disconnect(self, sid: str, reason: str | None = None) -> None:
        """Take a lost connection out of its rooms."""
        connection = self._connections.pop(sid, None)
        if connection is None:
            return
        async with connection.lock:  # an intent in flight ends first, and is then undone here
            connection.gone = True
            if not connection.rooms:
                return
            try:
                await self._store.leave_all(connection.person, connection.rooms)
            except ProblemError as problem:
                _logger.warning("a lost connection keeps its presence: %s", problem.code)
                return
        for room_id in connection.rooms:
            self._changed(connection.person, room_id)

    async def close(self) -> None:
        """Take every connection out of its rooms: the service stops."""
        for sid in list(self._connections):
            await self.disconnect(sid)

    async def _acknowledge(
        self, sid: str, kind: Literal["join", "leave"], data: Any
    ) -> dict[str, Any]:
        try:
            intent = Intent.parse(kind, data)
            await self._perform(sid, intent)
        except ProblemError as problem:
            return {"ok": False, "problem": problem.document()}
        except Exception:
            _logger.exception("an intent failed")
            unexpected = ProblemError(500, "internal_error", "Something went wrong on our side.")
            return {"ok": False, "problem": unexpected.document()}
        return {"ok": True, "event_id": str(intent.event_id)}

    async def _perform(self, sid: str, intent: Intent) -> None:
        connection = self._connections.get(sid)
        if connection is None:
            raise unauthorized("This connection is not signed in: connect again.")
        async with connection.lock:
            if connection.gone:
                raise unauthorized("This connection is closed: connect again.")
            inside = intent.room_id in connection.rooms
            fresh = intent.event_id not in connection.acknowledged
            moves = fresh and inside == (intent.kind == "leave")
            await self._store.record(connection.person, intent, moves=moves)
            connection.acknowledged.add(intent.event_id)
            if not moves:
                return
            if intent.kind == "join":
                connection.rooms.add(intent.room_id)
            else:
                connection.rooms.discard(intent.room_id)
        self._changed(connection.person, intent.room_id)

    def _changed(self, actor: Person, room_id: UUID) -> None:
        # A friend in the other region is in the other database: not told of by this version.
        connected = {
            each.person.user_id
            for each in self._connections.values()
            if each.person.region is actor.region
        }
        self._fanout.changed(actor, room_id, connected)

    async def _person(self, sub: str) -> Person:
        async with self._pools.transaction(Region.GLOBAL, readonly=True) as connection:
            entry = await connection.fetchrow(
                "select user_id, region from seda.region_directory where auth_user_id = $1", sub
            )
        if entry is None:
            raise unknown_person()
        region = Region(entry["region"])
        async with self._pools.transaction(region, readonly=True) as connection:
            alive = await connection.fetchval(
                "select true from seda.users where id = $1 and deleted_at is null",
                entry["user_id"],
            )
        if not alive:
            raise unknown_person()
        return Person(UUID(int=entry["user_id"].int), sub, region)


def _credentials(auth: Any) -> tuple[str, str]:
    token = auth.get("token") if isinstance(auth, dict) else None
    session_id = auth.get("session_id") if isinstance(auth, dict) else None
    if not isinstance(token, str):
        raise unauthorized("Connect with auth: {token, session_id}.", presented=False)
    if not isinstance(session_id, str) or not 0 < len(session_id) <= _LONGEST_SESSION_ID:
        raise ProblemError(
            422, "invalid_session", f"session_id is 1 to {_LONGEST_SESSION_ID} characters."
        )
    return token, session_id
