"""Reading `social_events` exactly once: ranges of transactions, and how far each reader has come.

Ids do not commit in order, so a range is one of transactions, all of them older than the oldest
open one: it holds the same events whenever it is read. A reader moves its cursor in the transaction
that writes what it made of them.
"""

from dataclasses import dataclass
from datetime import datetime

import psycopg

MOST_EVENTS = 5_000
"""Events of one range, unless a single transaction wrote more."""

# A restored database counts its transactions anew: a cursor beyond them is none.
_NEXT = """
    select coalesce((select case when c.transaction_id <= s.settled then c.transaction_id end
                     from seda.event_cursors c where c.consumer = %s), '0'::xid8)::text::numeric,
           s.settled::text::numeric
    from (select pg_snapshot_xmin(pg_current_snapshot()) as settled) s
"""
_AHEAD = """
    select e.transaction_id::text::numeric from seda.social_events e
    where e.transaction_id >= %s::text::xid8 and e.transaction_id < %s::text::xid8
    order by e.transaction_id limit %s
"""
_LOCK = """
    insert into seda.event_cursors (consumer, transaction_id, updated_at) values (%s, '0', %s)
    on conflict (consumer) do update set consumer = excluded.consumer
    returning case when transaction_id <= pg_snapshot_xmin(pg_current_snapshot())
                   then transaction_id else '0'::xid8 end::text::numeric
"""
_MOVE = """
    update seda.event_cursors set transaction_id = %s::text::xid8, updated_at = %s
    where consumer = %s
"""


@dataclass(frozen=True, slots=True)
class EventRange:
    """Transactions from `since` until before `until`, and how many events they wrote (of a single
    large transaction: at least so many)."""

    since: int
    until: int
    events: int


def next_range(
    connection: psycopg.Connection, consumer: str, *, most: int = MOST_EVENTS
) -> EventRange:
    """What a reader has not read and nobody can add to; whole transactions, about `most` events."""
    ((since, settled),) = connection.execute(_NEXT, [consumer]).fetchall()
    since = int(since)
    values = [since, int(settled), most + 1]
    ahead = [int(each) for (each,) in connection.execute(_AHEAD, values)]
    if not ahead:
        return EventRange(since, since, 0)
    until = ahead[-1] + 1
    if len(ahead) > most:
        # The last transaction may go on beyond the limit: it waits, unless it is all there is.
        until = max(ahead[-1], ahead[0] + 1)
        ahead = [each for each in ahead if each < until]
    return EventRange(since, until, len(ahead))


def lock_cursor(connection: psycopg.Connection, consumer: str, now: datetime) -> int:
    """Up to which transaction the reader has read; one worker at a time until the commit."""
    ((done,),) = connection.execute(_LOCK, [consumer, now]).fetchall()
    return int(done)


def move_cursor(connection: psycopg.Connection, consumer: str, until: int, now: datetime) -> None:
    """The reader has read what is before `until`, once the caller's transaction commits."""
    connection.execute(_MOVE, [until, now, consumer])
