"""Tells the connected friends of an actor that a room's presence changed, and nobody else.

One worker sends the changes in order, and each viewer's count is read when it is sent, so that a
later message never carries an older count. What a viewer may see is `seda.friends_presence`.
"""

import asyncio
import logging
from collections.abc import Collection
from dataclasses import asdict
from uuid import UUID

import asyncpg
import socketio

from serving.authentication import Caller
from serving.pools import Pools
from serving.presence import viewer_block
from serving.realtime.intents import Person

# Friends both ways, no block either way, and an actor who does not hide ($1); of those, the
# connected ones ($2).
_AUDIENCE = """
    select viewer.id, viewer.auth_user_id as sub, room.name as room_name
    from seda.users actor
    join seda.friends f on f.friend_user_id = actor.id and f.relationship_type = 'friend'
    join seda.friends back on back.user_id = actor.id and back.friend_user_id = f.user_id
        and back.relationship_type = 'friend'
    join seda.users viewer on viewer.id = f.user_id and viewer.deleted_at is null
    join seda.rooms room on room.id = $3
    where actor.id = $1 and actor.deleted_at is null and viewer.id = any ($2::uuid[])
      and coalesce(actor.privacy_settings -> 'hide_presence', 'false') = 'false'
      and not exists (
          select from seda.friends b where b.relationship_type = 'block'
            and ((b.user_id = actor.id and b.friend_user_id = viewer.id)
              or (b.user_id = viewer.id and b.friend_user_id = actor.id)))
"""

_logger = logging.getLogger("serving")


def person_room(user_id: UUID) -> str:
    """The Socket.IO room of all of one person's connections."""
    return f"person:{user_id}"


class Fanout:
    """A queue of presence changes and the worker that sends them."""

    def __init__(self, server: socketio.AsyncServer, pools: Pools) -> None:
        self._server = server
        self._pools = pools
        self._changes: asyncio.Queue[tuple[Person, UUID, frozenset[UUID]]] = asyncio.Queue()
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the worker."""
        self._worker = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop the worker; what is still queued is not sent."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    def changed(self, actor: Person, room_id: UUID, connected: Collection[UUID]) -> None:
        """The actor's presence in the room changed; `connected` are the user ids to consider."""
        others = frozenset(connected) - {actor.user_id}
        if others:
            self._changes.put_nowait((actor, room_id, others))

    async def _run(self) -> None:
        while True:
            actor, room_id, connected = await self._changes.get()
            try:
                await self._send(actor, room_id, connected)
            except Exception:
                # A lost message is repaired by the next one; a dead worker would lose them all.
                _logger.exception("a presence change was not sent")

    async def _send(self, actor: Person, room_id: UUID, connected: frozenset[UUID]) -> None:
        messages = []
        async with self._pools.transaction(actor.region) as connection:
            viewers = await connection.fetch(_AUDIENCE, actor.user_id, list(connected), room_id)
            for viewer in viewers:
                messages.append((viewer["id"], await _message(connection, viewer, room_id)))
        for user_id, message in messages:
            await self._server.emit("presence", message, room=person_room(user_id))


async def _message(
    connection: asyncpg.Connection, viewer: asyncpg.Record, room_id: UUID
) -> dict[str, object]:
    await connection.execute(
        "select set_config('request.jwt.claims', $1, true)", Caller(viewer["sub"]).claims
    )
    seen = await connection.fetchrow(
        "select friend_count, friends from seda.friends_presence(array[$1::uuid])", room_id
    )
    count, friends = (None, None) if seen is None else seen
    return {"room_id": str(room_id), **asdict(viewer_block(count, friends, viewer["room_name"]))}
