"""Adding what people listened to in the app to `activity_counts`, the durable truth of listening.

Every event counts once, whatever is killed when: how far events were merged moves in the
transaction that adds them. Events themselves go after thirty days; what they added up to stays.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import psycopg
from psycopg.errors import LockNotAvailable
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from seda.database.regions import RegionalDatabase
from seda.errors import SedaError

STREAM: Final = "fact_events"
MOST_EVENTS: Final = 200_000
"""Events of one transaction."""

# Ids do not commit in order. Whoever has an id and has not committed holds the table's lock, so
# under a lock that excludes them nobody does: what is below the newest id is all there will be.
_LOCK: Final = "lock table seda.fact_events in share mode"
_NEWEST: Final = "select coalesce(max(id), 0) from seda.fact_events"
_SINCE: Final = """
    insert into seda.activity_watermarks as w (stream, watermark, updated_at) values (%s, 0, %s)
    on conflict (stream) do update set updated_at = excluded.updated_at returning w.watermark
"""
_UNTIL: Final = """
    select max(id), count(*) from (
        select id from seda.fact_events where id > %s and id <= %s order by id limit %s) part
"""
# Of the present: an entity that is in no catalogue, or a person who is gone, has nothing to count.
_MERGE: Final = """
    with listened as (
        select f.user_id, f.props ->> 'entity_type' as entity_type,
               case when f.props ->> 'entity_id' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                    then (f.props ->> 'entity_id')::uuid end as entity_id,
               (f.created_at at time zone 'UTC')::date as period
        from seda.fact_events f
        where f.id > %(since)s and f.id <= %(until)s and f.event_type = 'listen_30s'
    ), known as (
        select 'artist' as entity_type, id as entity_id from seda.artists
        union all select 'playlist', id from seda.playlists
        union all select 'room', id from seda.rooms
    )
    insert into seda.activity_counts as a (user_id, entity_type, entity_id, source, period, plays)
    select l.user_id, l.entity_type, l.entity_id, 'seda', l.period, count(*)
    from listened l join known k using (entity_type, entity_id)
    join seda.users u on u.id = l.user_id and u.deleted_at is null
    group by 1, 2, 3, 5 order by 1, 2, 3, 5
    on conflict (user_id, entity_type, entity_id, source, period)
    do update set plays = a.plays + excluded.plays
"""
_MOVE: Final = "update seda.activity_watermarks set watermark = %s where stream = %s"


class EventsLockedError(SedaError):
    """Writers left no moment in which to see which events are complete."""


@dataclass(frozen=True)
class Merged:
    """Events read, rows of counts that they made or raised, and up to which id all are merged."""

    events: int
    rows: int
    watermark: int


def merge_listens(
    database: RegionalDatabase,
    *,
    now: datetime,
    most: int = MOST_EVENTS,
    patience: timedelta = timedelta(seconds=20),
) -> Merged:
    """Add every `listen_30s` that was committed before to the counts, in parts of `most` events.

    Raises:
        EventsLockedError: the table was in use for all of `patience`; nothing was lost.
    """
    with database.connect(autocommit=True) as connection:
        newest = _newest_settled(connection, patience)
        events = rows = 0
        while True:
            part = _merge_part(connection, newest, most, now)
            events, rows = events + part.events, rows + part.rows
            if not part.events:
                return Merged(events, rows, part.watermark)


def _merge_part(connection: psycopg.Connection, newest: int, most: int, now: datetime) -> Merged:
    with connection.transaction():
        ((since,),) = connection.execute(_SINCE, [STREAM, now]).fetchall()
        ((until, events),) = connection.execute(_UNTIL, [since, newest, most]).fetchall()
        if not events:
            return Merged(0, 0, since)
        rows = connection.execute(_MERGE, {"since": since, "until": until}).rowcount
        connection.execute(_MOVE, [until, STREAM])
    return Merged(events, rows, until)


def _newest_settled(connection: psycopg.Connection, patience: timedelta) -> int:
    """The newest id below which no event is still to be committed.

    Writers wait while this waits for one of them, so it waits shortly, and again.
    """

    def look() -> int:
        with connection.transaction():
            connection.execute("set local lock_timeout = '100ms'")
            connection.execute(_LOCK)
            ((newest,),) = connection.execute(_NEWEST).fetchall()
        return int(newest)

    attempts = Retrying(
        retry=retry_if_exception_type(LockNotAvailable),
        wait=wait_random_exponential(multiplier=0.05, max=1),
        stop=stop_after_delay(patience),
        reraise=True,
    )
    try:
        return attempts(look)
    except LockNotAvailable as problem:
        raise EventsLockedError(
            "Events were being written without a pause, so it could not be seen which are "
            "complete: the next run adds them."
        ) from problem
