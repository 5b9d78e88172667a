"""A rebuild serves throughout, swaps in nothing that is worse, and mends what a kill left."""

import threading
from collections.abc import Iterator

import numpy as np
import psycopg
import pytest

from seda.database.embedded import EmbeddedServer
from seda.database.regions import RegionalDatabase
from seda.vectorstore.indexes import (
    LiveIndex,
    RebuildRefusedError,
    ensure_index,
    index_name,
    index_upkeep,
    live_index,
    rebuild_index,
)
from seda.vectorstore.pgvector import PgVectorStore, choose
from seda.vectorstore.store import Filter, SpaceVector
from tests.vectorstore.worlds import NOW, SPACE, filled_database, made_world

WORLD = made_world(800)
TOTAL = len(WORLD.ids)


@pytest.fixture(scope="module")
def place(server: EmbeddedServer) -> Iterator[RegionalDatabase]:
    with filled_database(server, "indexes", WORLD) as database:
        store = PgVectorStore(database)
        store.upsert("artist", SPACE, WORLD.rows, now=NOW)
        store.close()
        yield database


def _indexes(database: RegionalDatabase) -> dict[str, bool]:
    with database.transaction() as connection:
        return dict(
            connection.execute(
                "select relname, indisvalid from pg_index join pg_class on oid = indexrelid "
                "where relname like 'hnsw_artist%'"
            ).fetchall()
        )


def _live(database: RegionalDatabase) -> LiveIndex | None:
    with database.transaction() as connection:
        return live_index(connection, "artist", SPACE)


def test_a_missing_index_is_built_once_verified_and_used(place) -> None:
    assert ensure_index(place, "artist", SPACE, now=NOW)
    assert not ensure_index(place, "artist", SPACE, now=NOW)
    live = _live(place)
    assert live is not None
    assert (live.vectors, live.recalls[-1] >= 0.98) == (TOTAL, True)
    with place.transaction() as connection:
        before = _scans(connection)
    store = PgVectorStore(place)
    store.nearest("artist", SpaceVector(SPACE, WORLD.vectors[0]), 10)
    store.close()
    with place.connect(autocommit=True) as connection:
        connection.execute("select pg_stat_force_next_flush()")
        for _ in range(200):
            if _scans(connection) > before:
                return
            connection.execute("select pg_sleep(0.05)")
    raise AssertionError("the index was not used")


def _scans(connection: psycopg.Connection) -> int:
    connection.execute("select pg_stat_clear_snapshot()")
    ((scans,),) = connection.execute(
        "select coalesce(sum(idx_scan), 0) from pg_stat_user_indexes "
        "where indexrelname like 'hnsw_artist%'"
    )
    return int(scans)


def test_reads_never_fail_or_fall_short_while_it_is_rebuilt(place) -> None:
    ensure_index(place, "artist", SPACE, now=NOW)
    before, stop, problems, answers = _live(place), threading.Event(), [], []

    def read() -> None:
        store = PgVectorStore(place)
        random = np.random.default_rng(1)
        while not stop.is_set():
            query = SpaceVector(SPACE, random.standard_normal(SPACE.dim))
            try:
                answers.append(len(store.nearest("artist", query, 20)))
            except psycopg.Error as problem:
                problems.append(problem)
        store.close()

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(3):
        rebuild_index(place, "artist", SPACE, now=NOW)
    stop.set()
    reader.join()
    after = _live(place)
    assert problems == []
    assert set(answers) == {20}
    assert before is not None
    assert after is not None
    assert after.colour != before.colour
    assert list(_indexes(place)) == [index_name("artist", SPACE, after.colour)]


def test_an_index_that_is_not_good_enough_is_dropped_and_the_old_one_serves(place) -> None:
    ensure_index(place, "artist", SPACE, now=NOW)
    before, indexes = _live(place), _indexes(place)
    with pytest.raises(RebuildRefusedError, match="the old one goes on serving"):
        rebuild_index(place, "artist", SPACE, now=NOW, recall=1.1)
    assert (_live(place), _indexes(place)) == (before, indexes)


def test_what_a_killed_rebuild_left_behind_is_cleaned_by_the_next(place) -> None:
    ensure_index(place, "artist", SPACE, now=NOW)
    live = _live(place)
    other = "green" if live is not None and live.colour == "blue" else "blue"
    left = index_name("artist", SPACE, other)
    with place.connect(autocommit=True) as connection:
        connection.execute(f"create index {left} on seda.artists_vectors (content_hash)")
        connection.execute(
            "update pg_index set indisvalid = false where indexrelid = %s::regclass",
            [f"seda.{left}"],
        )
    rebuild_index(place, "artist", SPACE, now=NOW)
    assert _indexes(place) == {left: True}


def test_two_rebuilds_at_once_are_refused(place) -> None:
    ensure_index(place, "artist", SPACE, now=NOW)
    with place.connect(autocommit=True) as connection:
        connection.execute(
            "select pg_advisory_lock(hashtextextended(%s, 0))",
            [f"seda.vector_index artist {SPACE.id}"],
        )
        with pytest.raises(RebuildRefusedError, match="another process"):
            rebuild_index(place, "artist", SPACE, now=NOW)
        assert not index_upkeep(place, "artist", SPACE, changing=TOTAL, total=TOTAL)


def test_a_bulk_refresh_drops_the_index_first_and_a_small_one_does_not(place) -> None:
    ensure_index(place, "artist", SPACE, now=NOW)
    assert not index_upkeep(place, "artist", SPACE, changing=TOTAL // 10, total=TOTAL)
    assert _live(place) is not None
    assert index_upkeep(place, "artist", SPACE, changing=TOTAL // 2, total=TOTAL)
    assert _live(place) is None
    assert _indexes(place) == {}
    store = PgVectorStore(place)
    found = store.nearest(
        "artist", SpaceVector(SPACE, WORLD.vectors[3]), 5, Filter(genres=["rare"])
    )
    store.close()
    assert len(found) == 5
    assert ensure_index(place, "artist", SPACE, now=NOW)


@pytest.mark.parametrize(
    ("share", "k", "excluded", "limit"),
    [
        (1.0, 50, 0, 50),
        (0.5, 50, 0, 150),
        (1.0, 50, 10, 60),
        (0.01, 50, 0, None),
        (0.0, 5, 0, None),
    ],
)
def test_the_index_is_searched_where_few_more_than_k_have_to_be_looked_at(
    share, k, excluded, limit
) -> None:
    live = LiveIndex("blue", 100_000, (64, 100), (0.97, 0.99))
    search = choose(live, share, k, excluded, 0.98, None)
    assert (search.limit if search else None) == limit
    if search:
        assert search.breadth >= max(100, search.limit)
