"""The audit log cannot be changed, and who changes it all the same is found out."""

import threading
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import uuid4

import psycopg
import pytest

from seda.database.regions import Region
from seda.privacy.audit import AUDIT_LIFETIME, keep_head, trim, verify_chain
from seda.privacy.erasure import Places
from tests.serving.serving_world import World

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def note(world: World, count: int = 1, at: datetime = NOW, actor: str = "operator") -> None:
    for number in range(count):
        world.sql(
            "insert into seda.audit_log (occurred_at, actor, action, details) "
            "values (%s, %s, 'tested', jsonb_build_object('number', %s::int))",
            *(at, actor, number),
        )


def first_broken(places: Places) -> tuple[int, str] | None:
    with places.databases[Region.GLOBAL].transaction() as connection:
        found = verify_chain(connection, places.storages[Region.GLOBAL])
    return None if found is None else (found.id, found.why)


def as_owner(world: World, statement: str) -> None:
    """Whoever owns the database can go around its triggers."""
    world.sql("set session_replication_role = replica")
    world.sql(statement)
    world.sql("set session_replication_role = origin")


@pytest.fixture(autouse=True)
def no_head(places: Places) -> None:
    places.storages[Region.GLOBAL].delete("audit/head")


@pytest.mark.parametrize("statement", ["update seda.audit_log set action = 'other'",
                                       "delete from seda.audit_log"])  # fmt: skip
def test_rows_are_only_added(world: World, statement: str) -> None:
    note(world)
    with pytest.raises(psycopg.errors.DatabaseError, match="append-only"):
        world.sql(statement)
    with world.as_person(None, "service_role") as connection:
        connection.execute("insert into seda.audit_log (actor, action) values ('x', 'y')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


@pytest.mark.parametrize(
    ("forgery", "at", "why"),
    [
        ("update seda.audit_log set details = '{}' where id = 3", 3, "contents"),
        ("update seda.audit_log set occurred_at = now() where id = 2", 2, "contents"),
        ("delete from seda.audit_log where id = 3", 4, "missing"),
        ("delete from seda.audit_log where id = 1", 2, "begins the log"),
        (
            "update seda.audit_log set actor = 'other', hash = seda.audit_digest(previous, id, "
            "occurred_at, 'other', action, subject, details) where id = 3", 4, "follow",
        ),
    ],
)  # fmt: skip
def test_the_first_broken_row_is_found(
    world: World, places: Places, forgery: str, at: int, why: str
) -> None:
    note(world, 5)
    assert first_broken(places) is None
    as_owner(world, forgery)
    broken = first_broken(places)
    assert broken is not None
    assert broken[0] == at
    assert why in broken[1]


def test_a_log_that_was_cut_or_made_anew_does_not_fit_its_head(
    world: World, places: Places
) -> None:
    note(world, 5)
    with places.databases[Region.GLOBAL].transaction() as connection:
        keep_head(connection, places.storages[Region.GLOBAL])
    # By who owns the database, and knows where else the last row stands.
    as_owner(world, "delete from seda.audit_log where id >= 4")
    as_owner(world, "update seda.audit_head h set id = a.id, hash = a.hash from seda.audit_log a "
                    "where a.id = 3")  # fmt: skip
    assert first_broken(places) == (5, "it is gone or another than when the head was kept")
    note(world, 5)
    assert first_broken(places) == (5, "it is gone or another than when the head was kept")


@pytest.mark.parametrize("cut", ["where id >= 4", ""])
def test_rows_cut_off_the_end_are_missed_at_once_and_for_good(
    world: World, places: Places, cut: str
) -> None:
    note(world, 5)
    as_owner(world, f"delete from seda.audit_log {cut}")
    assert first_broken(places) == (5, "the log does not end with the row that was written last")
    note(world)
    broken = first_broken(places)
    assert broken is not None
    assert broken[0] == 6


def test_it_is_not_emptied_either(world: World) -> None:
    note(world)
    with pytest.raises(psycopg.errors.DatabaseError, match="append-only"):
        world.sql("truncate seda.audit_log")
    with world.as_person(None, "service_role") as connection:
        for statement in ("truncate seda.audit_log", "delete from seda.audit_head",
                          "update seda.audit_head set id = 0"):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(statement)


def test_retention_cuts_the_oldest_rows_and_the_rest_still_holds(
    world: World, places: Places
) -> None:
    note(world, 3, NOW - AUDIT_LIFETIME - timedelta(days=1))
    note(world, 2)
    with places.databases[Region.GLOBAL].transaction() as connection:
        assert trim(connection, NOW) == 3
        assert trim(connection, NOW) == 0
    assert world.sql("select id, action from seda.audit_log order by id") == [
        (4, "tested"), (5, "tested"), (6, "audit.trimmed"),
    ]  # fmt: skip
    assert first_broken(places) is None
    as_owner(world, "delete from seda.audit_log where id = 4")
    assert first_broken(places) == (5, "it begins the log, and no trimming says that it may")


def test_the_log_knows_people_by_digest_only(world: World) -> None:
    person = uuid4()
    note(world, actor=str(person))
    assert world.sql("select actor from seda.audit_log") == [
        (f"sha256:{sha256(person.bytes).hexdigest()}",)
    ]


def test_concurrent_writers_make_one_chain(world: World, places: Places) -> None:
    def write() -> None:
        for _ in range(10):
            with places.databases[Region.GLOBAL].transaction() as connection:
                connection.execute("insert into seda.audit_log (actor, action) values ('a', 'b')")

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert world.sql("select count(*), max(id) from seda.audit_log") == [(40, 40)]
    assert first_broken(places) is None
