"""The seeded sandbox in real databases: whole, deterministic, once, and every person at home."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from seda.database.regions import Region
from seda.sandbox.loading import ProductionRefusedError
from seda.sandbox.profiles import SMOKE
from seda.sandbox.seeding import OtherSandboxError, seed_sandbox

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
TINY = replace(SMOKE, name="tiny", users=60, artists=120, playlists=40, rooms=20)


@pytest.fixture(scope="module")
def seeded(shared_databases):
    """The smoke sandbox, which no test here changes."""
    seed_sandbox(shared_databases, SMOKE, now=NOW)
    return shared_databases


def one(databases, query, region=Region.GLOBAL):
    with databases[region].connect() as connection:
        return connection.execute(query).fetchone()[0]


def test_the_catalogue_is_in_both_regions_with_the_same_ids(seeded):
    for table, count in (("artists", 1_000), ("playlists", 500), ("rooms", 120)):
        ids = f"select md5(string_agg(id::text, '' order by id)) from seda.{table}"
        assert one(seeded, f"select count(*) from seda.{table}") == count
        assert one(seeded, ids) == one(seeded, ids, Region.EU)
    for table in ("artist_genres", "playlist_artists"):
        count = f"select count(*) from seda.{table}"
        assert one(seeded, count) == one(seeded, count, Region.EU) > 1_000


def test_one_person_in_ten_lives_in_the_eu_and_nowhere_else(seeded):
    assert one(seeded, "select count(*) from seda.users") == 270
    assert one(seeded, "select count(*) from seda.users", Region.EU) == 30
    directory = "select count(*) from seda.region_directory"
    assert one(seeded, directory + " where region = 'eu'") == 30
    assert one(seeded, directory) == 300
    assert one(seeded, directory, Region.EU) == 0


@pytest.mark.parametrize("region", list(Region))
def test_every_person_of_a_row_lives_where_the_row_is(seeded, region):
    with seeded[region].connect() as connection:
        columns = connection.execute(
            "select c.relname, a.attname from pg_attribute a join pg_class c on c.oid = attrelid "
            "where c.relnamespace = 'seda'::regnamespace and c.relkind in ('r', 'p') "
            "and attname in ('user_id', 'created_by', 'owner_user_id') "
            "and c.relname <> 'region_directory'"
        ).fetchall()
        for table, column in columns:
            strangers = connection.execute(
                f"select count(*) from seda.{table} where {column} is not null "
                f"and not exists (select from seda.users where id = {column})"
            ).fetchone()
            assert strangers == (0,), (table, column)


def test_every_friendship_is_two_rows_wherever_the_two_live(seeded):
    pairs = set()
    for region in Region:
        with seeded[region].connect() as connection:
            pairs |= set(connection.execute("select user_id, friend_user_id from seda.friends"))
    assert pairs == {(friend, user) for user, friend in pairs}
    assert 11 < len(pairs) / 300 < 13


def test_every_kind_of_activity_is_there_within_its_days(seeded):
    kinds = one(seeded, "select array_agg(distinct entity_type) from seda.activity_counts")
    assert set(kinds) == {"artist", "playlist", "room"}
    oldest, newest = NOW.date() - timedelta(days=120), NOW.date()
    assert one(seeded, "select min(period) from seda.activity_counts") >= oldest
    assert one(seeded, "select max(period) from seda.activity_counts") <= newest
    for table, column, days in (
        ("fact_events", "created_at", 7),
        ("social_events", "received_at", 3),
        ("room_presence", "joined_at", 1),
        ("artist_follows", "created_at", 300),
    ):
        assert one(seeded, f"select min({column}) from seda.{table}") >= NOW - timedelta(days=days)
        assert one(seeded, f"select max({column}) from seda.{table}") < NOW
    assert one(seeded, "select count(*) from seda.notification_preferences") == 270


def test_events_have_receipts_and_their_days_have_partitions(seeded):
    assert one(seeded, "select count(*) from seda.social_events_default") == 0
    missing = (
        "select count(*) from (select event_id from seda.fact_events union all "
        "select event_id from seda.social_events) e "
        "where not exists (select from seda.event_receipts r where r.event_id = e.event_id)"
    )
    assert one(seeded, missing) == 0
    assert one(seeded, "select count(*) from seda.event_receipts") > 1_000


def test_the_rooms_count_those_who_are_present(seeded):
    for region in Region:
        wrong = (
            "select count(*) from seda.rooms r where current_participants <> "
            "(select count(*) from seda.room_presence p where p.room_id = r.id)"
        )
        assert one(seeded, wrong, region) == 0
    present = sum(
        one(seeded, "select count(*) from seda.room_presence", region) for region in Region
    )
    assert present == 9


def test_private_playlists_have_owners_and_no_other_listener(seeded):
    strangers = (
        "select count(*) from seda.activity_counts a join seda.playlists p on p.id = a.entity_id "
        "where p.visibility = 'private' and a.user_id is distinct from p.owner_user_id"
    )
    assert one(seeded, "select count(*) from seda.playlists where visibility = 'private'") > 0
    assert one(seeded, strangers) == 0


def test_a_second_seed_on_a_later_day_changes_no_row(seeded, fingerprint):
    before = fingerprint(seeded)
    report = seed_sandbox(seeded, SMOKE, now=NOW + timedelta(days=9))
    assert report.written_rows == 0
    assert fingerprint(seeded) == before


def test_another_seed_or_profile_is_refused(seeded, fingerprint):
    before = fingerprint(seeded)
    for profile, seed in ((SMOKE, 8), (TINY, 7)):
        with pytest.raises(OtherSandboxError, match=r"`smoke` with seed 7 already.*seda reset"):
            seed_sandbox(seeded, profile, seed=seed, now=NOW)
    assert fingerprint(seeded) == before


def test_the_same_seed_gives_the_same_rows(databases, fingerprint):
    empty(databases)
    report = seed_sandbox(databases, TINY, now=NOW)
    first = fingerprint(databases)
    empty(databases)
    assert fingerprint(databases) != first
    assert seed_sandbox(databases, TINY, now=NOW) == report
    assert fingerprint(databases) == first


def test_an_interrupted_seed_is_completed(databases, fingerprint, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr("seda.sandbox.seeding.directory_rows", fail)
        with pytest.raises(KeyboardInterrupt):
            seed_sandbox(databases, TINY, now=NOW)
    assert one(databases, "select count(*) from seda.artists") == 0
    seed_sandbox(databases, TINY, now=NOW + timedelta(days=1))
    assert one(databases, "select count(*) from seda.users") == 54
    assert one(databases, "select count(*) from seda.users", Region.EU) == 6


def test_production_is_refused(databases):
    databases.settings.env = "production"
    with pytest.raises(ProductionRefusedError, match="production"):
        seed_sandbox(databases, TINY, now=NOW)


def empty(databases):
    for region in Region:
        with databases[region].transaction() as connection:
            tables = connection.execute(
                "select string_agg('seda.' || quote_ident(relname), ', ') from pg_class where "
                "relnamespace = 'seda'::regnamespace and relkind in ('r', 'p')"
            ).fetchone()[0]
            # Else the audit log refuses to be emptied.
            connection.execute("set local session_replication_role = replica")
            connection.execute(f"truncate {tables} restart identity cascade")
