"""Partitions come and go beside their readers, and open no door past row security."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import psycopg
import pytest

from seda.database.regions import api_login_url
from seda.publishing.cards import ENTITY_TYPES
from seda.publishing.generations import (
    drop_unreferenced,
    load_cards,
    load_recommendations,
    publish,
)
from seda.publishing.partitions import LockedOutError, Patience
from seda.settings import Settings
from tests.publishing.publishing_world import (
    BRIEF,
    LIFETIME,
    NOW,
    card_rows,
    loaded,
    markers_of,
    opened,
    pointers_of,
    published,
    recommendation_rows,
    state_of,
    tables_of,
)


def test_a_partition_has_all_that_its_parent_has(database, reader, shard) -> None:
    generation = loaded(database, shard)
    for parent in ("recommendations", "mv_user_top_candidates"):
        of_parent, of_child = (
            reader.execute(
                "select count(*) from pg_index where indrelid = to_regclass(%s) and indisvalid",
                [f"seda.{table}"],
            ).fetchone()
            for table in (parent, f"{parent}_g{generation}")
        )
        assert of_parent == of_child


def test_an_open_reader_delays_neither_loading_nor_publishing(database, reader, shard) -> None:
    served = published(database, shard)
    with reader.transaction():
        assert markers_of(reader, served) == {served}
        newer = opened(database, shard)
        load_recommendations(database, newer, recommendation_rows(), patience=BRIEF)
        load_cards(database, newer, card_rows(), patience=BRIEF)
        publish(database, newer, entity_types=ENTITY_TYPES, now=NOW)
        assert markers_of(reader, served) == {served}
    assert set(pointers_of(reader, shard).values()) == {newer}


def test_a_reader_that_stays_open_postpones_the_drop(database, reader, shard) -> None:
    old, new = published(database, shard), published(database, shard)
    later = NOW + LIFETIME
    with reader.transaction():
        markers_of(reader, new)
        report = drop_unreferenced(database, now=later, cursor_lifetime=LIFETIME, patience=BRIEF)
        assert old in report.postponed
        assert state_of(reader, old) == "dropped"
        # The detach is half done: reads and loads go on.
        ((pending,),) = reader.execute("select count(*) from pg_inherits where inhdetachpending")
        assert pending > 0
        assert markers_of(reader, new) == {new}
    newest = published(database, shard)
    report = drop_unreferenced(database, now=later, cursor_lifetime=LIFETIME)
    assert old in report.dropped
    assert report.postponed == ()
    assert tables_of(reader, old) == []
    assert markers_of(reader, newest) == {newest}


def test_a_parent_locked_for_ever_leaves_no_half_loaded_table(database, reader, shard) -> None:
    generation = opened(database, shard)
    with reader.transaction():
        reader.execute("lock table seda.recommendations in share update exclusive mode")
        with pytest.raises(LockedOutError, match="pg_stat_activity"):
            load_recommendations(database, generation, recommendation_rows(), patience=BRIEF)
    assert tables_of(reader, generation) == []
    load_recommendations(database, generation, recommendation_rows())


def test_a_lock_that_goes_away_is_waited_for(database, reader, shard) -> None:
    generation = opened(database, shard)
    patience = Patience(lock_timeout=0.02, attempts=500, pause=0.01)
    with ThreadPoolExecutor(1) as pool:
        with reader.transaction():
            reader.execute("lock table seda.recommendations in share update exclusive mode")
            loading = pool.submit(
                load_recommendations, database, generation, recommendation_rows(), patience=patience
            )
            threading.Event().wait(0.5)
            assert not loading.done()
        assert loading.result(timeout=30) == 36


def test_a_person_sees_their_own_rows_of_a_partition_only_through_its_parent(
    database, reader, shard
) -> None:
    generation = published(database, shard)
    subjects = {UUID(int=0xA0): UUID(int=0xA1), UUID(int=0xB0): UUID(int=0xB1)}
    for user, subject in subjects.items():
        reader.execute(
            "insert into seda.users (id, auth_user_id) values (%s, %s) on conflict do nothing",
            [user, str(subject)],
        )
    login = api_login_url(database, Settings(_env_file=None))
    with psycopg.connect(login) as connection:
        for user, subject in subjects.items():
            connection.execute(
                "select set_config('role', 'authenticated', true), "
                "set_config('request.jwt.claims', %s, true)",
                [json.dumps({"sub": str(subject)})],
            )
            for table in ("recommendations", "mv_user_top_candidates"):
                rows = connection.execute(f"select distinct user_id from seda.{table}").fetchall()
                assert rows == [(user,)]
                with (
                    pytest.raises(psycopg.errors.InsufficientPrivilege),
                    connection.transaction(),
                ):
                    connection.execute(f"select from seda.{table}_g{generation}")
            connection.rollback()


def test_partitions_have_forced_row_security_and_no_grants(database, reader, shard) -> None:
    # As a hosting platform does: new tables are granted to everybody unless told otherwise.
    reader.execute(
        "alter default privileges in schema seda grant all on tables to anon, authenticated"
    )
    generation = loaded(database, shard)
    rows = reader.execute(
        "select relrowsecurity, relforcerowsecurity, "
        "has_table_privilege('authenticated', oid, 'select,insert,update,delete,truncate'), "
        "has_table_privilege('anon', oid, 'select,insert,update,delete,truncate') "
        "from pg_class where relkind = 'r' and relname ~ ('_g' || %s || '$')",
        [generation],
    ).fetchall()
    assert rows == [(True, True, False, False)] * 2
