"""The queue of entities whose text waits for a vector, while a provider is out or a budget used up.

A row says which entity waits, since when, why, and when to try again. Callers hold the transaction:
an entity leaves the queue in the one that stores its vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg

from seda.database.identifiers import Ids, uuids_of
from seda.embeddings.spaces import EmbeddingSpace

FIRST_RETRY = timedelta(minutes=1)
LATEST_RETRY = timedelta(days=1)

# The wait doubles with every attempt, unless the refusal itself said when.
_ENQUEUE = """
    insert into seda.embedding_queue as q (space_id, entity_type, entity_id, content_hash, reason,
        enqueued_at, retry_at)
    select %(space)s, %(entity)s, new.id, new.hash, %(reason)s, %(now)s,
           coalesce(%(retry_at)s::timestamptz, %(now)s::timestamptz + %(first)s::interval)
    from unnest(%(ids)s::uuid[], %(hashes)s::text[]) as new(id, hash)
    on conflict (space_id, entity_type, entity_id) do update set
        content_hash = excluded.content_hash, reason = excluded.reason,
        attempts = case when q.content_hash = excluded.content_hash then q.attempts + 1 else 1 end,
        retry_at = coalesce(%(retry_at)s::timestamptz, %(now)s::timestamptz + least(
            %(latest)s::interval, %(first)s::interval * power(2, case
                when q.content_hash = excluded.content_hash then least(q.attempts, 20)
                else 0 end)))"""
_DEQUEUE = """
    delete from seda.embedding_queue
    where space_id = %s and entity_type = %s and entity_id = any (%s)"""
_HELD = """
    select entity_id, content_hash from seda.embedding_queue
    where space_id = %s and entity_type = %s and retry_at > %s"""
_FORGET = """
    delete from seda.embedding_queue
    where space_id = %s and entity_type = %s and not entity_id = any (%s)"""
_DEPTHS = """
    select space_id, entity_type, reason, count(*), min(enqueued_at), min(retry_at)
    from seda.embedding_queue group by space_id, entity_type, reason order by 1, 2, 3"""


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """How many entities of one type wait for one space, for one reason."""

    space_id: str
    entity_type: str
    reason: str
    texts: int
    oldest: datetime
    retry_at: datetime


def enqueue(
    connection: psycopg.Connection,
    space: EmbeddingSpace,
    entity: str,
    ids: Ids,
    content_hashes: Sequence[str],
    reason: str,
    *,
    retry_at: datetime | None,
    now: datetime,
) -> None:
    """Have the entities `(n, 16) uint8` wait; one that waits already keeps its place."""
    connection.execute(
        _ENQUEUE,
        {
            "space": space.id,
            "entity": entity,
            "ids": uuids_of(ids),
            "hashes": list(content_hashes),
            "reason": reason,
            "retry_at": retry_at,
            "now": now,
            "first": FIRST_RETRY,
            "latest": LATEST_RETRY,
        },
    )


def dequeue(connection: psycopg.Connection, space: EmbeddingSpace, entity: str, ids: Ids) -> int:
    """The entities `(n, 16) uint8` wait no longer; returns how many did."""
    return connection.execute(_DEQUEUE, [space.id, entity, uuids_of(ids)]).rowcount


def held_back(
    connection: psycopg.Connection, space: EmbeddingSpace, entity: str, *, now: datetime
) -> dict[bytes, str]:
    """Entities whose time to try again has not come: id → the content hash that waits."""
    rows = connection.execute(_HELD, [space.id, entity, now])
    return {entity_id.bytes: content_hash for entity_id, content_hash in rows}


def forget_others(
    connection: psycopg.Connection, space: EmbeddingSpace, entity: str, needed: Ids
) -> int:
    """Remove all but the entities `(n, 16) uint8` that still need a vector."""
    waiting = connection.execute(
        "select exists (select from seda.embedding_queue where space_id = %s and entity_type = %s)",
        [space.id, entity],
    ).fetchone()
    if not waiting or not waiting[0]:
        return 0
    return connection.execute(_FORGET, [space.id, entity, uuids_of(needed)]).rowcount


def queue_depths(connection: psycopg.Connection) -> list[QueueDepth]:
    """What waits, by space, type and reason."""
    return [QueueDepth(*row) for row in connection.execute(_DEPTHS)]


def ready_types(connection: psycopg.Connection, *, now: datetime) -> dict[str, int]:
    """Entity types with something whose time to try again has come: type → how many."""
    rows = connection.execute(
        "select entity_type, count(*) from seda.embedding_queue where retry_at <= %s "
        "group by entity_type order by entity_type",
        [now],
    )
    return {str(entity): int(count) for entity, count in rows}
