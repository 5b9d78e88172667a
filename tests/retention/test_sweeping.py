"""What was kept for long enough goes, in small steps; what somebody needs stays."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from pydantic import ValidationError

from seda.database.regions import Databases, Region, RegionalDatabase
from seda.database.sql_models import load_models
from seda.feedback.events import PAST
from seda.privacy.datamap import data_map
from seda.retention.day_partitions import AHEAD, drop_days, make_days_ahead
from seda.retention.lists import drop_unread_lists
from seda.retention.streams import UNSWEPT, Stream, streams
from seda.retention.sweeping import sweep
from seda.settings import REPOSITORY, Settings
from serving.recommended import KEPT

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ADA, ITEM = UUID(int=0x100), UUID(int=0x200)
STREAMS = {stream.table: stream for stream in streams(Settings(_env_file=None))}


class Store:
    """One region's database, and rows in it."""

    def __init__(self, database: RegionalDatabase, connection: psycopg.Connection[Any]) -> None:
        self.database = database
        self.connection = connection

    def sql(self, query: str, *values: object) -> list[tuple]:
        cursor = self.connection.execute(query.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    def add(self, table: str, **row: object) -> None:
        places = ", ".join(["%s"] * len(row))
        self.sql(f"insert into seda.{table} ({', '.join(row)}) values ({places})", *row.values())

    def event(self, age: timedelta) -> None:
        self.add("fact_events", event_id=uuid4(), user_id=ADA, event_type="rec_click",
                 created_at=NOW - age)  # fmt: skip

    def social(self, age: timedelta) -> None:
        self.add("social_events", event_id=uuid4(), user_id=ADA, kind="join", entity_type="room",
                 entity_id=ITEM, occurred_at=NOW - age, received_at=NOW - age)  # fmt: skip

    def ages(self, table: str) -> list[float]:
        """Days, oldest first."""
        moment = STREAMS[table].moment
        rows = self.sql(f"select {moment} from seda.{table} order by {moment}")
        return [(NOW - at) / DAY for (at,) in rows if at is not None]

    def sweep(self, table: str, now: datetime = NOW, **options: Any) -> int:
        return sweep(self.database, STREAMS[table], now=now, **options).rows


@pytest.fixture
def store(shared_databases: Databases) -> Iterator[Store]:
    database = shared_databases[Region.GLOBAL]
    with database.connect(autocommit=True) as connection:
        store = Store(database, connection)
        days = store.sql("select relname from pg_class where relname ~ '^social_events_[0-9]{8}$'")
        for (name,) in days:
            store.sql(f"drop table seda.{name}")
        store.sql(
            "truncate seda.users, seda.social_events, seda.event_cursors, seda.event_receipts, "
            "seda.activity_watermarks, seda.impression_pages, seda.embeddings_audit, "
            "seda.generations cascade"
        )
        store.add("users", id=ADA)
        yield store


def test_what_is_older_goes_and_a_second_sweep_finds_nothing(store: Store) -> None:
    for age in (1, 29, 31, 400):
        store.event(age * DAY)
    swept = sweep(store.database, STREAMS["fact_events"], now=NOW)
    assert (swept.rows, swept.bytes > 100, store.ages("fact_events")) == (2, True, [29, 1])
    assert store.sweep("fact_events") == 0


@pytest.mark.parametrize("table", ["event_receipts", "notification_log", "impression_pages"])
def test_every_stream_has_its_period(store: Store, table: str) -> None:
    rows: dict[str, Callable[[datetime], dict[str, object]]] = {
        "event_receipts": lambda at: {"event_id": uuid4(), "body_hash": b"", "received_at": at},
        "notification_log": lambda at: {
            "channel": "push", "decision": "sent", "reason": "r", "decided_at": at,
        },
        "impression_pages": lambda at: {
            "id": uuid4(), "entity_type": "room", "model_version": "m", "surface": "feed",
            "shown_at": at, "positions": [1], "recommendation_ids": [ITEM], "entity_ids": [ITEM],
        },
    }  # fmt: skip
    kept = STREAMS[table].kept
    for age in (DAY, kept - timedelta(seconds=1), kept + timedelta(seconds=1)):
        store.add(table, user_id=ADA, **rows[table](NOW - age))
    assert store.sweep(table) == 1
    assert len(store.ages(table)) == 2


def test_a_step_reads_some_pages_and_commits(store: Store) -> None:
    store.sql(
        "insert into seda.fact_events (event_id, user_id, event_type, created_at) "
        "select gen_random_uuid(), %s, 'rec_click', %s::timestamptz - n * interval '1 hour' "
        "from generate_series(1, 2000) n", ADA, NOW,
    )  # fmt: skip
    ((pages,),) = store.sql("select pg_relation_size('seda.fact_events') / 8192")
    swept = sweep(store.database, STREAMS["fact_events"], now=NOW, pages=2)
    assert swept.steps == -(-pages // 2) > 5
    assert swept.rows == 2000 - 30 * 24
    assert 0 < swept.longest <= swept.seconds


def test_what_a_killed_sweep_removed_stays_removed_and_the_next_goes_on(store: Store) -> None:
    for _ in range(500):
        store.event(40 * DAY)
    store.sql(
        "create function seda.break_down() returns trigger language plpgsql as "
        "$$ begin perform pg_terminate_backend(pg_backend_pid()); return old; end $$"
    )
    last = store.sql("select max(id) from seda.fact_events")[0][0]
    store.sql(
        "create trigger break_down before delete on seda.fact_events for each row "
        f"when (old.id = {last}) execute function seda.break_down()"
    )
    try:
        with pytest.raises(psycopg.OperationalError):
            store.sweep("fact_events", pages=1)
    finally:
        store.sql("drop trigger break_down on seda.fact_events")
        store.sql("drop function seda.break_down()")
    left = len(store.ages("fact_events"))
    assert 0 < left < 500
    assert store.sweep("fact_events") == left


def test_a_row_that_somebody_holds_is_left_for_the_next_time(store: Store) -> None:
    for _ in range(3):
        store.event(40 * DAY)
    with store.database.connect() as holder:
        holder.execute(
            "select from seda.fact_events where id = (select min(id) from seda.fact_events) "
            "for update"
        )
        assert store.sweep("fact_events") == 2
        holder.rollback()
    assert store.sweep("fact_events") == 1


def test_events_that_were_not_merged_into_the_counts_yet_stay(store: Store) -> None:
    for _ in range(3):
        store.event(40 * DAY)
    ((first,),) = store.sql("select min(id) from seda.fact_events")
    store.add("activity_watermarks", stream="fact_events", watermark=first)
    assert store.sweep("fact_events") == 1
    store.sql("update seda.activity_watermarks set watermark = %s", first + 2)
    assert store.sweep("fact_events") == 2


def test_events_that_a_reader_has_not_read_stay_as_long_again(store: Store) -> None:
    store.social(8 * DAY)
    ((read,),) = store.sql("select pg_current_xact_id()::text")
    store.add("event_cursors", consumer="realtime", transaction_id=read, updated_at=NOW)
    store.social(8 * DAY)
    store.social(15 * DAY)
    assert store.sweep("social_events") == 2  # what was read, and what is twice as old
    assert store.ages("social_events") == [8]
    store.sql("update seda.event_cursors set transaction_id = pg_current_xact_id()")
    assert store.sweep("social_events") == 1


def test_suppressions_go_when_they_have_run_out_for_a_month(store: Store) -> None:
    ends = {"never": None, "running": NOW + DAY, "undo open": NOW + DAY, "over": NOW - 29 * DAY,
            "long over": NOW - 31 * DAY}  # fmt: skip
    for name, end in ends.items():
        store.add(
            "suppressions", user_id=ADA, entity_type="room", entity_id=uuid4(),
            kind="dismiss" if end else "never", suppressed_until=end,
            created_at=NOW - 5 * timedelta(seconds=1) if name == "undo open" else NOW - 60 * DAY,
            undo_until=NOW + timedelta(seconds=5) if name == "undo open" else NOW - 60 * DAY,
        )  # fmt: skip
    assert store.sweep("suppressions") == 1
    assert len(store.sql("select id from seda.suppressions")) == 4


def test_a_vectors_newest_audit_row_stays(store: Store) -> None:
    for age in (500, 450):
        store.add("embeddings_audit", entity_uuid=ITEM, entity_type="room", provider="local",
                  model="m", dim=4, version="1", computed_at=NOW - age * DAY)  # fmt: skip
    assert store.sweep("embeddings_audit") == 1
    assert store.ages("embeddings_audit") == [450]


def test_generations_stay_while_anything_names_them(store: Store) -> None:
    generations = {}
    for name, state in {"gone": "dropped", "pointed": "dropped", "served": "published"}.items():
        ((generations[name],),) = store.sql(
            "insert into seda.generations (shard, model_version, state, created_at) "
            "values ('global-00', 'm', %s, %s) returning generation", state, NOW - 100 * DAY,
        )  # fmt: skip
    store.add("generation_pointer", shard="global-00", entity_type="room",
              generation=generations["pointed"])  # fmt: skip
    assert store.sweep("generations") == 1
    assert {each for (each,) in store.sql("select generation from seda.generations")} == {
        generations["pointed"], generations["served"],
    }  # fmt: skip


def test_lists_of_shards_that_are_gone_are_dropped(store: Store) -> None:
    for shard in ("global-00", "global-09"):
        ((generation,),) = store.sql(
            "insert into seda.generations (shard, model_version, state) "
            "values (%s, 'm', 'published') returning generation", shard,
        )  # fmt: skip
        store.add("generation_pointer", shard=shard, entity_type="room", generation=generation,
                  flipped_at=NOW - 3 * DAY)  # fmt: skip
    arguments = {"now": NOW, "cursor_lifetime": timedelta(hours=2)}
    dropped = drop_unread_lists(store.database, ["global-00"], **arguments)
    assert dropped.pointers == 1
    again = drop_unread_lists(store.database, ["global-00"], **arguments)
    assert again.pointers == 0
    assert store.sql("select shard from seda.generation_pointer") == [("global-00",)]
    states = dict(store.sql("select shard, state from seda.generations"))
    assert states == {"global-00": "published", "global-09": "superseded"}


def _days(store: Store) -> list[str]:
    rows = store.sql(
        "select c.relname from pg_inherits i join pg_class c on c.oid = inhrelid "
        "where inhparent = 'seda.social_events'::regclass order by 1"
    )
    return [name.removeprefix("social_events_") for (name,) in rows]


def test_days_are_made_ahead_and_dropped_in_one_piece(store: Store) -> None:
    made_on = NOW - 12 * DAY
    assert make_days_ahead(store.database, "social_events", now=made_on) == AHEAD
    assert make_days_ahead(store.database, "social_events", now=made_on) == 0
    assert _days(store) == ["20260320", "20260321", "20260322", "default"]
    for days in (11, 9.5, 9):
        store.social(days * DAY)
    dropped = drop_days(store.database, STREAMS["social_events"], now=NOW)
    assert (dropped.rows, dropped.bytes > 0, _days(store)) == (3, True, ["default"])
    assert drop_days(store.database, STREAMS["social_events"], now=NOW).rows == 0
    assert store.ages("social_events") == []


def test_a_day_stays_while_one_of_its_events_is_young_or_unread(store: Store) -> None:
    make_days_ahead(store.database, "social_events", now=NOW - 9 * DAY)  # the 23rd to the 25th
    store.social(8 * DAY)  # the 23rd
    store.social(7.4 * DAY)  # the 24th, and one that is young
    store.social(6.9 * DAY)
    store.add("event_cursors", consumer="realtime", transaction_id="0", updated_at=NOW)
    assert drop_days(store.database, STREAMS["social_events"], now=NOW).steps == 0
    store.sql("update seda.event_cursors set transaction_id = pg_current_xact_id()")
    drop_days(store.database, STREAMS["social_events"], now=NOW)
    assert _days(store) == ["20260324", "20260325", "default"]
    assert store.sweep("social_events") == 1
    assert store.ages("social_events") == [pytest.approx(6.9)]


def _shortest(table: str) -> timedelta:
    """What the shortest period is that the settings take."""
    days = {}
    for name in Settings.model_fields:
        if name.endswith("_retention_days"):
            try:
                Settings(_env_file=None, **{name: 0})
            except ValidationError as problem:
                days[name] = int(problem.errors()[0]["ctx"]["ge"])
    (stream,) = (each for each in streams(Settings(_env_file=None, **days)) if each.table == table)
    return stream.kept


def test_no_setting_keeps_less_than_readers_look_back_for() -> None:
    models = load_models(REPOSITORY / "dbt_like_sql", {f"seda.{name}" for name in data_map()})
    counted = max(model.header.lookback or 0 for model in models.values()) * DAY
    fatigue = 60 * DAY  # seda.feedback.impressions
    assert _shortest("impression_pages") >= max(KEPT, fatigue, counted)
    assert _shortest("fact_events") >= max(counted, PAST)
    assert _shortest("event_receipts") > PAST
    assert _shortest("social_events") >= 7 * DAY


def test_every_stream_names_a_table_and_a_moment_of_it() -> None:
    for stream in STREAMS.values():
        assert isinstance(stream, Stream)
        assert stream.moment in data_map()[stream.table]


def test_every_relation_is_swept_or_says_why_it_is_not() -> None:
    said = [name for names in UNSWEPT.values() for name in names.split()]
    assert len(said) == len(set(said))
    assert set(said).isdisjoint(STREAMS)
    assert set(said) | set(STREAMS) == set(data_map())


def test_looks_at_canaries_and_files_made_again_go_in_time(store: Store) -> None:
    store.sql("insert into seda.model_registry (name, version, kind) "
              "values ('blend', 'swept-1', 'linear')")  # fmt: skip
    store.add("experiments", name="e", model="blend", control_version="linear-design-1",
              canary_version="swept-1", share=0.1, started_at=NOW)  # fmt: skip
    for age in (399, 401):
        store.add("canary_looks", experiment="e", looked_at=NOW - age * DAY, decision="pass",
                  gates="[]")  # fmt: skip
        store.add("stale_artefacts", key="k", job_id=uuid4(), listed_at=NOW - 500 * DAY,
                  remade_at=NOW - age * DAY)  # fmt: skip
    store.add("stale_artefacts", key="waits", job_id=uuid4(), listed_at=NOW - 500 * DAY)
    assert (store.sweep("canary_looks"), store.sweep("stale_artefacts")) == (1, 1)
    assert store.sql("select count(*) from seda.stale_artefacts") == [(2,)]
    store.sql("delete from seda.canary_looks; delete from seda.experiments; "
              "delete from seda.model_registry where version = 'swept-1'; "
              "delete from seda.stale_artefacts")  # fmt: skip
