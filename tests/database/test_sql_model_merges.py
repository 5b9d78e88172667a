"""Running a SQL model: what changed is written, a failed check writes nothing."""

from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seda.database.regions import RegionalDatabase
from seda.database.sql_models import (
    MergeResult,
    ModelCheckFailed,
    ModelTargetError,
    SqlModel,
    materialise,
)
from tests.database.model_files import load, write

NOON = datetime(2026, 3, 31, 12, tzinfo=UTC)
TOYS = "select t.id, t.kind, seda.clock() as seen from seda.toy_rows t"


@pytest.fixture
def toys(database: RegionalDatabase, tmp_path: Path) -> SqlModel:
    """A model over a small table of the test's own, with every kind of check."""
    with database.transaction() as connection:
        connection.execute(
            "create table seda.toy_rows (id integer, kind text);"
            "create table seda.toys (id integer primary key, kind text not null,"
            " seen timestamptz not null, note text not null default 'as it was');"
            "insert into seda.toy_rows values (1, 'ball'), (2, 'car')"
        )
    write(
        tmp_path,
        "toys",
        TOYS,
        not_null="[kind]",
        accepted_values="{kind: [ball, car]}",
        touched="seen",
    )
    return load(tmp_path)["toys"]


def merge(database: RegionalDatabase, model: SqlModel, now: datetime = NOON) -> MergeResult:
    with database.transaction() as connection:
        return materialise(connection, model, now=now)


def execute(database: RegionalDatabase, statement: str) -> None:
    with database.transaction() as connection:
        connection.execute(statement.encode())


def rows(database: RegionalDatabase, columns: str = "id, kind, seen, note") -> list[tuple]:
    with database.transaction() as connection:
        return connection.execute(
            f"select {columns} from seda.toys order by id".encode()
        ).fetchall()


def counts(result: MergeResult) -> tuple[int, int, int, int]:
    return (result.inserted, result.updated, result.deleted, result.rows)


def test_only_what_changed_is_written(database: RegionalDatabase, toys: SqlModel) -> None:
    later = NOON.replace(hour=13)
    assert counts(merge(database, toys)) == (2, 0, 0, 2)
    execute(
        database,
        "update seda.toy_rows set kind = 'car' where id = 1;"
        "delete from seda.toy_rows where id = 2;"
        "insert into seda.toy_rows values (3, 'ball'); update seda.toys set note = 'mine'",
    )
    assert counts(merge(database, toys, later)) == (1, 1, 1, 2)
    assert rows(database) == [(1, "car", later, "mine"), (3, "ball", later, "as it was")]


def test_an_unchanged_model_touches_no_row(database: RegionalDatabase, toys: SqlModel) -> None:
    merge(database, toys)
    before = rows(database, "ctid, xmin, xmax, id, kind, seen")
    assert counts(merge(database, toys, NOON.replace(hour=13))) == (0, 0, 0, 2)
    assert rows(database, "ctid, xmin, xmax, id, kind, seen") == before


@pytest.mark.parametrize(
    ("bad", "check", "count"),
    [
        ("insert into seda.toy_rows values (1, 'ball'), (1, 'car')", "unique [id]", 1),
        ("insert into seda.toy_rows values (null, 'ball')", "not_null [id]", 1),
        ("insert into seda.toy_rows values (3, null), (4, null)", "not_null [kind]", 2),
        ("insert into seda.toy_rows values (3, 'doll')", "accepted_values [kind]", 1),
    ],
)
def test_a_failed_check_writes_nothing(
    bad: str, check: str, count: int, database: RegionalDatabase, toys: SqlModel
) -> None:
    merge(database, toys)
    before = rows(database)
    execute(database, f"update seda.toy_rows set kind = 'car' where id = 1; {bad}")
    with pytest.raises(ModelCheckFailed) as failure:
        merge(database, toys)
    assert (failure.value.model, failure.value.check, failure.value.count) == ("toys", check, count)
    assert f"check {check} found {count} bad row" in str(failure.value)
    assert rows(database) == before


def test_the_table_itself_stays(database: RegionalDatabase, toys: SqlModel) -> None:
    facts = (
        "select oid, relacl::text, relrowsecurity, (select count(*) from pg_policy "
        "where polrelid = c.oid) from pg_class c where oid = 'seda.toys'::regclass"
    )
    execute(
        database,
        "alter table seda.toys enable row level security; grant select on seda.toys to anon;"
        "create policy everybody on seda.toys for select to anon using (true)",
    )
    with database.transaction() as connection:
        before = connection.execute(facts).fetchone()
        materialise(connection, toys)
        assert connection.execute(facts).fetchone() == before


def test_it_takes_part_in_the_callers_transaction(
    database: RegionalDatabase, toys: SqlModel
) -> None:
    with database.transaction() as connection, connection.transaction(force_rollback=True):
        for _ in range(2):
            materialise(connection, toys, now=NOON)
        assert connection.execute("select seda.clock() = now()").fetchone() == (True,)
    assert rows(database) == []


def test_a_model_of_keys_alone_is_merged_too(
    database: RegionalDatabase, toys: SqlModel, tmp_path: Path
) -> None:
    execute(database, "create table seda.keys (id integer primary key)")
    write(tmp_path, "keys", "select t.id from seda.toy_rows t")
    model = load(tmp_path)["keys"]
    assert counts(merge(database, model)) == (2, 0, 0, 2)
    execute(database, "delete from seda.toy_rows where id = 1")
    assert counts(merge(database, model)) == (0, 0, 1, 1)


def test_a_column_that_the_table_lacks_is_named(
    database: RegionalDatabase, toys: SqlModel, tmp_path: Path
) -> None:
    write(tmp_path, "toys", "select t.id, t.kind as colour from seda.toy_rows t")
    with pytest.raises(ModelTargetError, match=r"selects 'colour', which seda\.toys does not have"):
        merge(database, load(tmp_path)["toys"])


def test_two_merges_at_once_wait_for_each_other(database: RegionalDatabase, toys: SqlModel) -> None:
    results: list[MergeResult] = []
    with database.connect() as first, first.transaction():
        materialise(first, toys, now=NOON)
        second = Thread(target=lambda: results.append(merge(database, toys)))
        second.start()
        second.join(timeout=0.3)
        assert second.is_alive()
    second.join(timeout=10)
    assert [counts(result) for result in results] == [(0, 0, 0, 2)]


def test_some_users_are_refreshed_without_the_others(
    database: RegionalDatabase, tmp_path: Path
) -> None:
    alice, bob, carol = (UUID(int=number) for number in (1, 2, 3))
    names = "select user_id, name from seda.names order by user_id"
    write(
        tmp_path,
        "names",
        "select u.id as user_id, u.display_name as name from seda.users u\n"
        "where u.deleted_at is null",
        unique="[user_id]",
        per="user",
    )
    model = load(tmp_path)["names"]
    with database.transaction() as connection:
        connection.execute("create table seda.names (user_id uuid primary key, name text)")
        for user in (alice, bob, carol):
            connection.execute(
                "insert into seda.users (id, display_name) values (%s, 'old')", (user,)
            )
        materialise(connection, model)
        connection.execute("update seda.users set display_name = 'new'")
        connection.execute("update seda.users set deleted_at = now() where id <> %s", (alice,))
        result = materialise(connection, model, users=[alice, bob])
        assert counts(result) == (0, 1, 1, 1)
        assert connection.execute(names).fetchall() == [(alice, "new"), (carol, "old")]
        assert counts(materialise(connection, model, users=[])) == (0, 0, 0, 0)


def test_a_model_that_is_not_per_user_refuses_users(
    database: RegionalDatabase, toys: SqlModel
) -> None:
    with (
        database.transaction() as connection,
        pytest.raises(ModelTargetError, match="not computed per user"),
    ):
        materialise(connection, toys, users=[UUID(int=1)])


states = st.dictionaries(st.integers(0, 9), st.sampled_from(["ball", "car"]))


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(states, states)
def test_after_a_merge_the_table_equals_the_model(
    database: RegionalDatabase, toys: SqlModel, before: dict[int, str], after: dict[int, str]
) -> None:
    with database.connect() as connection:
        for state in (before, after):
            connection.execute("truncate seda.toy_rows")
            connection.cursor().executemany(
                "insert into seda.toy_rows values (%s, %s)", list(state.items())
            )
            result = materialise(connection, toys)
        assert dict(connection.execute("select id, kind from seda.toys").fetchall()) == after
        assert counts(result) == (
            len(after.keys() - before.keys()),
            sum(after[key] != before[key] for key in after.keys() & before.keys()),
            len(before.keys() - after.keys()),
            len(after),
        )
        connection.rollback()
