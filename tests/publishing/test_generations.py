"""Publishing shows a reader one whole generation, whatever fails and whoever reads meanwhile."""

import itertools
import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
import psycopg
import pytest

from seda.database.embedded import EmbeddedServer
from seda.database.identifiers import ids_of
from seda.database.regions import Region, RegionalDatabase, api_login_url
from seda.publishing.cards import ENTITY_TYPES
from seda.publishing.generations import (
    EmptyGenerationError,
    GenerationStateError,
    UnknownGenerationError,
    drop_unreferenced,
    load_cards,
    load_recommendations,
    open_generation,
    publish,
)
from seda.publishing.partitions import LockedOutError, Patience
from seda.publishing.rows import CardRows, MalformedRowsError, RecommendationRows
from seda.settings import Settings

NOW = datetime(2026, 11, 1, 3, tzinfo=UTC)
LIFETIME = timedelta(hours=2)
BRIEF = Patience(lock_timeout=0.05, attempts=2, pause=0.01)
USERS = ids_of(UUID(int=number) for number in (0xA0, 0xB0, 0xC0))
ITEMS = 4

_shards = itertools.count()


@pytest.fixture(scope="module")
def database(server: EmbeddedServer) -> Iterator[RegionalDatabase]:
    """One migrated database for the module: every test publishes to a shard of its own."""
    name = f"test_generations_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        connection.execute(f'create database "{name}" template "template_global"')
    yield RegionalDatabase(Region.GLOBAL, server.uri(name))
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        connection.execute(f'drop database "{name}" with (force)')


@pytest.fixture
def shard() -> str:
    return f"global-{next(_shards):02d}"


@pytest.fixture
def reader(database: RegionalDatabase) -> Iterator[psycopg.Connection]:
    with database.connect(autocommit=True) as connection:
        yield connection


def _recommendations(types=ENTITY_TYPES, context: bytes = b'{"reasons":[]}') -> RecommendationRows:
    """Three people's rows: ITEMS of each type, their ids differ with the number of types."""
    rows = len(USERS) * len(types) * ITEMS
    first = 1 + 1000 * len(types)
    return RecommendationRows(
        ids=ids_of(UUID(int=number) for number in range(first, first + rows)),
        user_ids=np.repeat(USERS, len(types) * ITEMS, axis=0),
        entity_types=np.tile(np.repeat(np.array(types, "U8"), ITEMS), len(USERS)),
        entity_ids=ids_of(UUID(int=number << 32) for number in range(rows)),
        ranks=np.tile(np.arange(1, ITEMS + 1), len(USERS) * len(types)),
        scores=np.linspace(0, 1, rows),
        contexts=[context] * rows,
        created_at=NOW,
        expires_at=np.datetime64("2026-11-02T15:00:00"),
        model_version="linear-1",
    )


def _cards(types=ENTITY_TYPES, marker: object = 0) -> CardRows:
    """One row per person and type; every card says `marker`."""
    rows = len(USERS) * len(types)
    ids = ids_of(UUID(int=number + 1) for number in range(rows * ITEMS))
    return CardRows(
        user_ids=np.repeat(USERS, len(types), axis=0),
        entity_types=np.tile([ENTITY_TYPES.index(kind) for kind in types], len(USERS)).astype(int),
        lengths=np.full(rows, ITEMS),
        recommendation_ids=ids,
        entity_ids=ids[::-1],
        scores=np.linspace(1, 0, rows * ITEMS, dtype=np.float32),
        cards=[json.dumps({"marker": marker})] * (rows * ITEMS),
        created_at=NOW,
        expires_at=NOW + timedelta(hours=36),
        model_version="linear-1",
    )


def _open(database: RegionalDatabase, shard: str, now: datetime = NOW) -> int:
    return open_generation(
        database, shard=shard, model_version="linear-1", run_id="run", data_versions={"n": 1},
        now=now,
    )  # fmt: skip


def _loaded(database: RegionalDatabase, shard: str, types=ENTITY_TYPES, now=NOW) -> int:
    generation = _open(database, shard, now)
    load_recommendations(database, generation, _recommendations(types))
    load_cards(database, generation, _cards(types, marker=generation))
    return generation


def _published(database: RegionalDatabase, shard: str, now: datetime = NOW) -> int:
    generation = _loaded(database, shard, now=now)
    publish(database, generation, entity_types=ENTITY_TYPES, now=now)
    return generation


def _served(reader, shard: str, arm: str = "control") -> dict[str, int]:
    return dict(
        reader.execute(
            "select entity_type, generation from seda.generation_pointer "
            "where shard = %s and arm = %s",
            [shard, arm],
        ).fetchall()
    )


def _state(reader, generation: int) -> str:
    ((state,),) = reader.execute(
        "select state from seda.generations where generation = %s", [generation]
    )
    return state


def _tables(reader, generation: int) -> list[str]:
    rows = reader.execute(
        "select relname from pg_class where relname = any (%s) order by relname",
        [[f"recommendations_g{generation}", f"mv_user_top_candidates_g{generation}"]],
    )
    return [name for (name,) in rows]


def _markers(reader, generation: int) -> set[int]:
    """What the cards of a generation say; a page's cursor asks in the same way."""
    rows = reader.execute(
        "select unnest(cards)::json ->> 'marker' from seda.mv_user_top_candidates "
        "where generation = %s",
        [generation],
    )
    return {int(marker) for (marker,) in rows}


def test_what_was_loaded_is_in_the_parents(database, reader, shard) -> None:
    generation = _open(database, shard)
    halves = [_recommendations(["room"]), _recommendations(["artist", "playlist"])]
    assert load_recommendations(database, generation, halves) == 36
    assert load_cards(database, generation, _cards()) == 9
    rows = reader.execute(
        "select user_id, rank, score, source, created_at, expires_at, context, dismissed "
        "from seda.recommendations where generation = %s and entity_type = 'room' "
        "order by user_id, rank limit 1",
        [generation],
    ).fetchall()
    expires = datetime(2026, 11, 2, 15, tzinfo=UTC)
    user = UUID(int=0xA0)
    assert rows == [(user, 1, 0.0, "batch", NOW, expires, {"reasons": []}, False)]
    rows = reader.execute(
        "select cardinality(recommendation_ids), entity_ids[4], scores[1], cards[4] "
        "from seda.mv_user_top_candidates "
        "where generation = %s and user_id = %s and entity_type = 'room'",
        [generation, user],
    ).fetchall()
    assert rows == [(4, UUID(int=33), 1.0, '{"marker": 0}')]
    ((counts,),) = reader.execute(
        "select row_counts from seda.generations where generation = %s", [generation]
    )
    assert counts == {
        "recommendations": {"room": 12, "playlist": 12, "artist": 12},
        "mv_user_top_candidates": {"room": 3, "playlist": 3, "artist": 3},
    }


def test_a_partition_has_all_that_its_parent_has(database, reader, shard) -> None:
    generation = _loaded(database, shard)
    for parent in ("recommendations", "mv_user_top_candidates"):
        of_parent, of_child = (
            reader.execute(
                "select count(*) from pg_index where indrelid = to_regclass(%s) and indisvalid",
                [f"seda.{table}"],
            ).fetchone()
            for table in (parent, f"{parent}_g{generation}")
        )
        assert of_parent == of_child


def test_publishing_moves_the_pointers_and_says_so(database, reader, shard) -> None:
    first = _loaded(database, shard)
    report = publish(database, first, entity_types=ENTITY_TYPES, now=NOW)
    assert (report.generation, report.flipped, report.superseded) == (first, ENTITY_TYPES, ())
    assert 0 < report.seconds < 5
    second = _loaded(database, shard)
    assert _state(reader, second) == "loading"
    assert set(_served(reader, shard).values()) == {first}
    report = publish(database, second, entity_types=["room"], now=NOW)
    assert (report.flipped, report.superseded) == (("room",), ())
    assert _served(reader, shard) == {"room": second, "playlist": first, "artist": first}
    assert (_state(reader, first), _state(reader, second)) == ("published", "published")
    report = publish(database, second, entity_types=ENTITY_TYPES, now=NOW)
    assert (report.flipped, report.superseded) == (("playlist", "artist"), (first,))
    assert (_state(reader, first), _state(reader, second)) == ("superseded", "published")
    report = publish(database, second, entity_types=ENTITY_TYPES, now=NOW)
    assert (report.flipped, report.superseded) == ((), ())


def test_an_older_generation_can_be_served_again(database, reader, shard) -> None:
    first, second = _published(database, shard), _published(database, shard)
    report = publish(database, first, entity_types=ENTITY_TYPES, now=NOW)
    assert report.superseded == (second,)
    assert (_state(reader, first), _state(reader, second)) == ("published", "superseded")
    later = NOW + 2 * LIFETIME
    assert first not in drop_unreferenced(database, now=later, cursor_lifetime=LIFETIME).dropped
    assert _markers(reader, first) == {first}


def test_an_arm_has_its_own_pointer_and_keeps_its_generation(database, reader, shard) -> None:
    control = _published(database, shard)
    canary = _loaded(database, shard)
    publish(database, canary, entity_types=["room"], arm="canary", now=NOW)
    assert _served(reader, shard, "canary") == {"room": canary}
    assert set(_served(reader, shard).values()) == {control}
    _published(database, shard)
    later = NOW + 2 * LIFETIME
    dropped = drop_unreferenced(database, now=later, cursor_lifetime=LIFETIME).dropped
    assert control in dropped
    assert canary not in dropped
    reader.execute("delete from seda.generation_pointer where arm = 'canary'")
    dropped = drop_unreferenced(database, now=later, cursor_lifetime=LIFETIME).dropped
    assert canary not in dropped  # its cursors have just begun to expire
    dropped = drop_unreferenced(database, now=later + LIFETIME, cursor_lifetime=LIFETIME).dropped
    assert canary in dropped


def test_a_cursor_reads_on_in_its_generation_until_it_expires(database, reader, shard) -> None:
    first = _published(database, shard)
    _published(database, shard, NOW + timedelta(minutes=1))
    third = _published(database, shard, NOW + timedelta(minutes=2))
    before = NOW + timedelta(minutes=1) + LIFETIME - timedelta(seconds=1)
    assert first not in drop_unreferenced(database, now=before, cursor_lifetime=LIFETIME).dropped
    assert _markers(reader, first) == {first}
    after = NOW + timedelta(minutes=1) + LIFETIME
    assert first in drop_unreferenced(database, now=after, cursor_lifetime=LIFETIME).dropped
    assert _markers(reader, first) == set()
    assert (_state(reader, first), _tables(reader, first)) == ("dropped", [])
    assert _markers(reader, third) == {third}


def test_no_reader_sees_an_empty_or_a_mixed_list(database, shard) -> None:
    _published(database, shard)
    done = threading.Event()
    query = """
        select p.entity_type, p.generation, m.generation, array_agg(distinct card)
        from seda.generation_pointer p
        left join seda.mv_user_top_candidates m on m.generation = p.generation
            and m.entity_type = p.entity_type and m.user_id = %s
        left join unnest(m.cards) as card on true
        where p.shard = %s group by 1, 2, 3
    """

    def read() -> int:
        reads = 0
        with database.connect(autocommit=True) as connection:
            while not done.is_set():
                rows = connection.execute(query, [UUID(int=0xB0), shard]).fetchall()
                assert len(rows) == len(ENTITY_TYPES)
                (served,) = {generation for _, generation, _, _ in rows}
                for _, _, listed, cards in rows:
                    assert (listed, cards) == (served, [json.dumps({"marker": served})])
                reads += 1
        return reads

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            for minute in range(12):
                now = NOW + timedelta(minutes=minute)
                _published(database, shard, now)
                drop_unreferenced(database, now=now, cursor_lifetime=timedelta(minutes=3))
        finally:
            done.set()
        assert all(one.result() > 12 for one in readers)


def test_a_crash_before_publishing_leaves_the_old_list_and_is_cleaned(
    database, reader, shard
) -> None:
    served = _published(database, shard)
    crashed = _loaded(database, shard)
    assert set(_served(reader, shard).values()) == {served}
    early = NOW + LIFETIME - timedelta(seconds=1)
    assert crashed not in drop_unreferenced(database, now=early, cursor_lifetime=LIFETIME).dropped
    later = NOW + LIFETIME
    assert crashed in drop_unreferenced(database, now=later, cursor_lifetime=LIFETIME).dropped
    assert (_state(reader, crashed), _tables(reader, crashed)) == ("dropped", [])
    assert _markers(reader, served) == {served}
    with pytest.raises(GenerationStateError, match="dropped"):
        publish(database, crashed, entity_types=ENTITY_TYPES, now=NOW)


def test_a_crash_while_loading_leaves_nothing(database, reader, shard) -> None:
    generation = _open(database, shard)
    with pytest.raises(psycopg.errors.DataError):
        load_recommendations(database, generation, _recommendations(context=b"{"))
    assert _tables(reader, generation) == []
    load_recommendations(database, generation, _recommendations())
    assert _tables(reader, generation) == [f"recommendations_g{generation}"]


def test_what_is_not_whole_is_not_served(database, reader, shard) -> None:
    generation = _open(database, shard)
    with pytest.raises(GenerationStateError, match="recommendations and mv_user_top_candidates"):
        publish(database, generation, entity_types=ENTITY_TYPES, now=NOW)
    load_recommendations(database, generation, _recommendations())
    with pytest.raises(GenerationStateError, match="without its mv_user_top_candidates"):
        publish(database, generation, entity_types=ENTITY_TYPES, now=NOW)
    with pytest.raises(GenerationStateError, match="has its recommendations"):
        load_recommendations(database, generation, _recommendations())
    with pytest.raises(UnknownGenerationError):
        publish(database, 10**9, entity_types=ENTITY_TYPES, now=NOW)
    with pytest.raises(UnknownGenerationError):
        load_cards(database, 10**9, _cards())
    assert _served(reader, shard) == {}


def test_an_empty_generation_does_not_replace_a_full_one(database, reader, shard) -> None:
    before = _published(database, shard)
    without_rooms = _loaded(database, shard, ["playlist", "artist"])
    with pytest.raises(EmptyGenerationError, match="of type room"):
        publish(database, without_rooms, entity_types=ENTITY_TYPES, now=NOW)
    assert set(_served(reader, shard).values()) == {before}
    publish(database, without_rooms, entity_types=["playlist", "artist"], now=NOW)
    publish(database, without_rooms, entity_types=["room"], now=NOW, allow_empty=True)
    assert set(_served(reader, shard).values()) == {without_rooms}
    # Nothing there before, nothing there now: that is no accident.
    empty = _loaded(database, f"{shard}-empty", [])
    publish(database, empty, entity_types=ENTITY_TYPES, now=NOW)


def test_an_open_reader_delays_neither_loading_nor_publishing(database, reader, shard) -> None:
    served = _published(database, shard)
    with reader.transaction():
        assert _markers(reader, served) == {served}
        newer = _open(database, shard)
        load_recommendations(database, newer, _recommendations(), patience=BRIEF)
        load_cards(database, newer, _cards(), patience=BRIEF)
        publish(database, newer, entity_types=ENTITY_TYPES, now=NOW)
        assert _markers(reader, served) == {served}
    assert set(_served(reader, shard).values()) == {newer}


def test_a_reader_that_stays_open_postpones_the_drop(database, reader, shard) -> None:
    old, new = _published(database, shard), _published(database, shard)
    later = NOW + LIFETIME
    with reader.transaction():
        _markers(reader, new)
        report = drop_unreferenced(database, now=later, cursor_lifetime=LIFETIME, patience=BRIEF)
        assert old in report.postponed
        assert _state(reader, old) == "dropped"
        # The detach is half done: reads and loads go on.
        ((pending,),) = reader.execute("select count(*) from pg_inherits where inhdetachpending")
        assert pending > 0
        assert _markers(reader, new) == {new}
    newest = _published(database, shard)
    report = drop_unreferenced(database, now=later, cursor_lifetime=LIFETIME)
    assert old in report.dropped
    assert report.postponed == ()
    assert _tables(reader, old) == []
    assert _markers(reader, newest) == {newest}


def test_a_parent_locked_for_ever_leaves_no_half_loaded_table(database, reader, shard) -> None:
    generation = _open(database, shard)
    with reader.transaction():
        reader.execute("lock table seda.recommendations in share update exclusive mode")
        with pytest.raises(LockedOutError, match="pg_stat_activity"):
            load_recommendations(database, generation, _recommendations(), patience=BRIEF)
    assert _tables(reader, generation) == []
    load_recommendations(database, generation, _recommendations())


def test_a_lock_that_goes_away_is_waited_for(database, reader, shard) -> None:
    generation = _open(database, shard)
    patience = Patience(lock_timeout=0.02, attempts=500, pause=0.01)
    with ThreadPoolExecutor(1) as pool:
        with reader.transaction():
            reader.execute("lock table seda.recommendations in share update exclusive mode")
            loading = pool.submit(
                load_recommendations, database, generation, _recommendations(), patience=patience
            )
            threading.Event().wait(0.5)
            assert not loading.done()
        assert loading.result(timeout=30) == 36


def test_a_generation_given_up_while_it_loads_is_not_attached(database, reader, shard) -> None:
    generation = _open(database, shard)

    class Slow(RecommendationRows):
        def columns(self, number):
            drop_unreferenced(database, now=NOW + LIFETIME, cursor_lifetime=LIFETIME)
            return super().columns(number)

    with pytest.raises(GenerationStateError, match="given up"):
        load_recommendations(database, generation, Slow(**vars(_recommendations())))
    assert _tables(reader, generation) == []


def test_publishers_of_one_shard_take_turns(database, reader, shard) -> None:
    generations = [_loaded(database, shard) for _ in range(3)]

    def flip(number: int) -> None:
        generation = generations[number % 3]
        publish(database, generation, entity_types=ENTITY_TYPES, now=NOW)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(flip, range(30)))
    (served,) = set(_served(reader, shard).values())
    states = {generation: _state(reader, generation) for generation in generations}
    assert states.pop(served) == "published"
    assert set(states.values()) == {"superseded"}


def test_only_one_process_drops(database, reader) -> None:
    reader.execute("select pg_advisory_lock(hashtext('seda.drop_unreferenced'))")
    report = drop_unreferenced(database, now=NOW + 99 * LIFETIME, cursor_lifetime=LIFETIME)
    assert (report.dropped, report.postponed) == ((), ())


def test_a_person_sees_their_own_rows_of_a_partition_only_through_its_parent(
    database, reader, shard
) -> None:
    generation = _published(database, shard)
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
    generation = _loaded(database, shard)
    rows = reader.execute(
        "select relrowsecurity, relforcerowsecurity, "
        "has_table_privilege('authenticated', oid, 'select,insert,update,delete,truncate'), "
        "has_table_privilege('anon', oid, 'select,insert,update,delete,truncate') "
        "from pg_class where relkind = 'r' and relname ~ ('_g' || %s || '$')",
        [generation],
    ).fetchall()
    assert rows == [(True, True, False, False)] * 2


def test_types_are_names_or_codes_and_nothing_else(database) -> None:
    rows = _recommendations()
    assert rows.codes().tolist() == _cards_codes(rows)
    with pytest.raises(MalformedRowsError, match="track"):
        RecommendationRows(**{**vars(rows), "entity_types": np.array(["room", "track"])}).codes()


def _cards_codes(rows: RecommendationRows) -> list[int]:
    return [ENTITY_TYPES.index(name) for name in rows.entity_types]
