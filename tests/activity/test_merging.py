"""What people listened to in the app counts once, whenever it is committed."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from seda.activity.merging import EventsLockedError, merge_listens
from seda.database.regions import RegionalDatabase

NOW = datetime(2026, 9, 10, 12, tzinfo=UTC)
ADA, ARTIST, ROOM = (UUID(int=number) for number in range(1, 4))


@pytest.fixture
def listened(database: RegionalDatabase) -> RegionalDatabase:
    """Ada, an artist and a room."""
    with database.transaction() as connection:
        connection.execute("insert into seda.users (id, auth_user_id) values (%s, 'ada')", [ADA])
        connection.execute("insert into seda.artists (id, name) values (%s, 'Anpexi')", [ARTIST])
        connection.execute("insert into seda.rooms (id, name) values (%s, 'techno')", [ROOM])
    return database


def event(connection: psycopg.Connection, kind: str = "listen_30s", entity_type: str = "artist",
          entity_id: object = ARTIST, at: datetime = NOW) -> None:  # fmt: skip
    props = {"entity_type": entity_type, "entity_id": str(entity_id)}
    connection.execute(
        "insert into seda.fact_events (event_id, user_id, event_type, props, created_at) "
        "values (%s, %s, %s, %s, %s)",
        [uuid4(), ADA, kind, json.dumps(props), at],
    )


def counts(database: RegionalDatabase) -> list[tuple]:
    with database.transaction() as connection:
        return connection.execute(
            "select entity_type, period::text, plays, source from seda.activity_counts "
            "order by 1, 2"
        ).fetchall()


def test_listens_are_added_by_day_and_each_of_them_once(listened: RegionalDatabase) -> None:
    with listened.transaction() as connection:
        for at in (NOW, NOW, NOW - timedelta(hours=13)):
            event(connection, at=at)
        event(connection, entity_type="room", entity_id=ROOM)
    merged = merge_listens(listened, now=NOW, most=3)
    assert (merged.events, merged.rows) == (4, 3)
    expected = [
        ("artist", "2026-09-09", 1, "seda"),
        ("artist", "2026-09-10", 2, "seda"),
        ("room", "2026-09-10", 1, "seda"),
    ]
    assert counts(listened) == expected
    again = merge_listens(listened, now=NOW)
    assert (again.events, again.rows, again.watermark) == (0, 0, merged.watermark)
    with listened.transaction() as connection:
        event(connection)
        connection.execute("delete from seda.fact_events where created_at < %s", [NOW])
    merge_listens(listened, now=NOW)
    expected[1] = ("artist", "2026-09-10", 3, "seda")
    assert counts(listened) == expected


def test_what_is_no_listening_of_anything_that_is_here_counts_nothing(
    listened: RegionalDatabase,
) -> None:
    with listened.transaction() as connection:
        for kind in ("rec_click", "track_skip"):
            event(connection, kind)
        event(connection, entity_id=uuid4())
        event(connection, entity_id="'; drop table seda.users; --")
        event(connection, entity_type="room")
    assert merge_listens(listened, now=NOW).events == 5
    assert counts(listened) == []


def test_an_event_that_is_committed_after_a_later_one_is_not_passed_over(
    listened: RegionalDatabase,
) -> None:
    with listened.connect() as slow, listened.connect(autocommit=True) as quick:
        event(slow)
        event(quick)
        with pytest.raises(EventsLockedError):
            merge_listens(listened, now=NOW, patience=timedelta(seconds=0.2))
        assert counts(listened) == []
        slow.commit()
    assert merge_listens(listened, now=NOW).events == 2
    assert counts(listened) == [("artist", "2026-09-10", 2, "seda")]


def test_two_that_merge_at_once_add_nothing_twice(listened: RegionalDatabase) -> None:
    with listened.transaction() as connection:
        for _ in range(40):
            event(connection)
    with ThreadPoolExecutor(4) as pool:
        merged = list(pool.map(lambda _: merge_listens(listened, now=NOW, most=7), range(4)))
    assert sum(each.events for each in merged) == 40
    assert counts(listened) == [("artist", "2026-09-10", 40, "seda")]
