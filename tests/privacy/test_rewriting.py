"""What stays in a table's file after a deletion is said, and leaves as soon as it can."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from seda.database.regions import Region
from seda.privacy.erasure import Places
from seda.privacy.rewriting import at_once, rewrite_regions, standing
from tests.privacy.full_world import NAME, ask_for_deletion, run_jobs
from tests.serving.serving_world import Listener, World, quiet

# Other tests write on the same server, and hold back what may be dropped.
HURRY = replace(at_once(64), lock=timedelta(milliseconds=50), older=timedelta(seconds=60), rounds=1)
QUARTER = timedelta(minutes=15)


@pytest.fixture
def ada(world: World) -> Listener:
    return world.person(NAME)


def files_with(world: World, person: Listener) -> set[str]:
    """The relations in whose files the person's id is, after a checkpoint."""
    world.sql("checkpoint")
    ((folder, oid),) = world.sql(
        "select current_setting('data_directory'), oid::text from pg_database "
        "where datname = current_database()"
    )
    found = set()
    for path in (Path(folder) / "base" / oid).iterdir():
        if path.is_file() and person.id.bytes in path.read_bytes():
            ((name,),) = world.sql(
                "select pg_filenode_relation(0, %s)::regclass::text", path.name.split(".")[0]
            )
            found.add(name)
    return found


def tables(places: Places, region: Region = Region.GLOBAL):
    with places.databases[region].transaction() as connection:
        return standing(connection)


def test_a_table_that_somebody_holds_waits_and_is_tried_again(
    world: World, places: Places, ada: Listener
) -> None:
    with places.databases[Region.GLOBAL].connect() as reader:
        reader.execute("lock table seda.users in access share mode")
        ask_for_deletion(world, ada)
        quiet(world)
        report = run_jobs(places, patience=HURRY, settled=False)
        assert report.jobs == {"delete completed": 1}
        assert report.rewritten[Region.GLOBAL].locked == ("users",)
        assert files_with(world, ada)
        reader.rollback()
    assert tables(places).locked == ("users",)
    assert tables(places, Region.EU).is_due is False
    now = datetime.now(UTC)
    assert [tables(places).retry_is_due(at) for at in (now, now + QUARTER)] == [False, True]
    assert run_jobs(places, patience=HURRY).rewritten == {}
    quiet(world)
    again = run_jobs(places, QUARTER, patience=HURRY).rewritten
    assert {region: each.tables for region, each in again.items()} == {Region.GLOBAL: ("users",)}
    assert files_with(world, ada) == set()
    assert tables(places).is_due is False


def test_rows_that_an_older_transaction_still_sees_are_not_called_gone(
    world: World, places: Places, ada: Listener
) -> None:
    ask_for_deletion(world, ada)
    quiet(world)  # a snapshot holds back what is older than it
    with places.databases[Region.GLOBAL].connect() as reader:
        reader.execute("set transaction isolation level repeatable read")
        assert reader.execute("select count(*) from seda.users").fetchone() == (1,)
        report = run_jobs(places, patience=replace(HURRY, older=timedelta(seconds=3)))
        assert report.jobs == {"delete completed": 1}
        assert "users" in report.rewritten[Region.GLOBAL].locked
        assert report.rewritten[Region.EU].locked == ()
        reader.rollback()
    quiet(world)
    run_jobs(places, QUARTER, patience=HURRY)
    assert files_with(world, ada) == set()
    assert tables(places).is_due is False


def test_who_writes_in_another_database_of_the_server_is_waited_for(
    world: World, places: Places, ada: Listener
) -> None:
    """Our own snapshots are as old as their transaction, and what they see is copied."""
    ask_for_deletion(world, ada)
    quiet(world)
    with places.databases[Region.EU].connect() as writer:
        writer.execute("select pg_current_xact_id()")
        report = run_jobs(
            places, patience=replace(HURRY, older=timedelta(seconds=1)), settled=False
        )
        assert report.jobs == {"delete completed": 1}
        assert "users" in report.rewritten[Region.GLOBAL].locked
        writer.rollback()
    quiet(world)
    run_jobs(places, QUARTER, patience=HURRY)
    assert files_with(world, ada) == set()
    assert tables(places).is_due is False


def test_a_large_table_waits_for_the_job_and_is_named_until_then(
    world: World, places: Places, ada: Listener
) -> None:
    ask_for_deletion(world, ada)
    nothing = replace(HURRY, largest=0)
    done = run_jobs(places, patience=nothing).rewritten[Region.GLOBAL]
    assert done.locked == ()
    assert "users" in done.large
    assert files_with(world, ada)
    # Nothing to be tried again: it is for the job.
    assert run_jobs(places, QUARTER, patience=nothing).rewritten == {}
    quiet(world)
    rewrite_regions(
        places.databases, lambda: datetime.now(UTC), wanted=lambda each: each.is_due, renew=False
    )
    assert files_with(world, ada) == set()
    assert tables(places).is_due is False


def test_who_is_erased_while_tables_are_written_anew_makes_them_due_again(
    world: World, places: Places, ada: Listener
) -> None:
    ben = world.person("Ben")
    ask_for_deletion(world, ada)
    run_jobs(places)
    before = tables(places)

    def meanwhile() -> datetime:
        """The clock is asked when everything is written and nothing recorded."""
        if not erased:
            erased.append(ben)
            ask_for_deletion(world, ben)
            run_jobs(places)
        return datetime.now(UTC)

    erased: list[Listener] = []
    rewrite_regions(
        places.databases, meanwhile, wanted=lambda each: each.until == before.until, renew=False
    )
    assert erased
    assert tables(places).erased is True


def test_statistics_of_a_table_keep_no_value_of_who_is_gone(
    world: World, places: Places, ada: Listener
) -> None:
    """Samples of a column hold values of it: the most frequent one is a person's id."""
    artist = world.entity("artist", "played")
    for day in range(1, 20):
        world.sql(
            "insert into seda.activity_counts (user_id, entity_type, entity_id, source, period, "
            "plays) values (%s, 'artist', %s, 'seda', date '2026-11-01' + %s, 1)",
            *(ada.id, artist.id, day),
        )
    world.sql("analyze seda.activity_counts")
    sampled = "select count(*) from pg_stats where most_common_vals::text like %s"
    assert world.sql(sampled, f"%{ada.id}%") == [(1,)]
    assert "pg_statistic" in files_with(world, ada)
    ask_for_deletion(world, ada)
    run_jobs(places, patience=at_once(64))
    quiet(world)  # what others had open may have made tables wait for the job
    rewrite_regions(
        places.databases, lambda: datetime.now(UTC), wanted=lambda each: True, renew=False
    )
    assert world.sql(sampled, f"%{ada.id}%") == [(0,)]
    assert files_with(world, ada) == set()
