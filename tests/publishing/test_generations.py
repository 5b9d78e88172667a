"""Publishing shows a reader one whole generation, whatever fails and whoever reads meanwhile."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
import psycopg
import pytest

from seda.publishing.cards import ENTITY_TYPES
from seda.publishing.generations import (
    EmptyGenerationError,
    GenerationStateError,
    UnknownGenerationError,
    drop_unreferenced,
    load_cards,
    load_recommendations,
    publish,
)
from seda.publishing.rows import MalformedRowsError, RecommendationRows
from tests.publishing.publishing_world import (
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


def test_what_was_loaded_is_in_the_parents(database, reader, shard) -> None:
    generation = opened(database, shard)
    halves = [recommendation_rows(["room"]), recommendation_rows(["artist", "playlist"])]
    assert load_recommendations(database, generation, halves) == 36
    assert load_cards(database, generation, card_rows()) == 9
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


def test_publishing_moves_the_pointers_and_says_so(database, reader, shard) -> None:
    first = loaded(database, shard)
    report = publish(database, first, entity_types=ENTITY_TYPES, now=NOW)
    assert (report.generation, report.flipped, report.superseded) == (first, ENTITY_TYPES, ())
    assert 0 < report.seconds < 5
    second = loaded(database, shard)
    assert state_of(reader, second) == "loading"
    assert set(pointers_of(reader, shard).values()) == {first}
    report = publish(database, second, entity_types=["room"], now=NOW)
    assert (report.flipped, report.superseded) == (("room",), ())
    assert pointers_of(reader, shard) == {"room": second, "playlist": first, "artist": first}
    assert (state_of(reader, first), state_of(reader, second)) == ("published", "published")
    report = publish(database, second, entity_types=ENTITY_TYPES, now=NOW)
    assert (report.flipped, report.superseded) == (("playlist", "artist"), (first,))
    assert (state_of(reader, first), state_of(reader, second)) == ("superseded", "published")
    report = publish(database, second, entity_types=ENTITY_TYPES, now=NOW)
    assert (report.flipped, report.superseded) == ((), ())


def test_an_older_generation_can_be_served_again(database, reader, shard) -> None:
    first, second = published(database, shard), published(database, shard)
    report = publish(database, first, entity_types=ENTITY_TYPES, now=NOW)
    assert report.superseded == (second,)
    assert (state_of(reader, first), state_of(reader, second)) == ("published", "superseded")
    later = NOW + 2 * LIFETIME
    assert first not in drop_unreferenced(database, now=later, cursor_lifetime=LIFETIME).dropped
    assert markers_of(reader, first) == {first}


def test_an_arm_has_its_own_pointer_and_keeps_its_generation(database, reader, shard) -> None:
    control = published(database, shard)
    canary = loaded(database, shard)
    publish(database, canary, entity_types=["room"], arm="canary", now=NOW)
    assert pointers_of(reader, shard, "canary") == {"room": canary}
    assert set(pointers_of(reader, shard).values()) == {control}
    published(database, shard)
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
    first = published(database, shard)
    published(database, shard, NOW + timedelta(minutes=1))
    third = published(database, shard, NOW + timedelta(minutes=2))
    before = NOW + timedelta(minutes=1) + LIFETIME - timedelta(seconds=1)
    assert first not in drop_unreferenced(database, now=before, cursor_lifetime=LIFETIME).dropped
    assert markers_of(reader, first) == {first}
    after = NOW + timedelta(minutes=1) + LIFETIME
    assert first in drop_unreferenced(database, now=after, cursor_lifetime=LIFETIME).dropped
    assert markers_of(reader, first) == set()
    assert (state_of(reader, first), tables_of(reader, first)) == ("dropped", [])
    assert markers_of(reader, third) == {third}


def test_no_reader_sees_an_empty_or_a_mixed_list(database, shard) -> None:
    published(database, shard)
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
                published(database, shard, now)
                drop_unreferenced(database, now=now, cursor_lifetime=timedelta(minutes=3))
        finally:
            done.set()
        assert all(one.result() > 12 for one in readers)


def test_a_crash_before_publishing_leaves_the_old_list_and_is_cleaned(
    database, reader, shard
) -> None:
    served = published(database, shard)
    crashed = loaded(database, shard)
    assert set(pointers_of(reader, shard).values()) == {served}
    early = NOW + LIFETIME - timedelta(seconds=1)
    assert crashed not in drop_unreferenced(database, now=early, cursor_lifetime=LIFETIME).dropped
    later = NOW + LIFETIME
    assert crashed in drop_unreferenced(database, now=later, cursor_lifetime=LIFETIME).dropped
    assert (state_of(reader, crashed), tables_of(reader, crashed)) == ("dropped", [])
    assert markers_of(reader, served) == {served}
    with pytest.raises(GenerationStateError, match="dropped"):
        publish(database, crashed, entity_types=ENTITY_TYPES, now=NOW)


def test_a_crash_while_loading_leaves_nothing(database, reader, shard) -> None:
    generation = opened(database, shard)
    with pytest.raises(psycopg.errors.DataError):
        load_recommendations(database, generation, recommendation_rows(context=b"{"))
    assert tables_of(reader, generation) == []
    load_recommendations(database, generation, recommendation_rows())
    assert tables_of(reader, generation) == [f"recommendations_g{generation}"]


def test_what_is_not_whole_is_not_served(database, reader, shard) -> None:
    generation = opened(database, shard)
    with pytest.raises(GenerationStateError, match="recommendations and mv_user_top_candidates"):
        publish(database, generation, entity_types=ENTITY_TYPES, now=NOW)
    load_recommendations(database, generation, recommendation_rows())
    with pytest.raises(GenerationStateError, match="without its mv_user_top_candidates"):
        publish(database, generation, entity_types=ENTITY_TYPES, now=NOW)
    with pytest.raises(GenerationStateError, match="has its recommendations"):
        load_recommendations(database, generation, recommendation_rows())
    with pytest.raises(UnknownGenerationError):
        publish(database, 10**9, entity_types=ENTITY_TYPES, now=NOW)
    with pytest.raises(UnknownGenerationError):
        load_cards(database, 10**9, card_rows())
    assert pointers_of(reader, shard) == {}


def test_an_empty_generation_does_not_replace_a_full_one(database, reader, shard) -> None:
    before = published(database, shard)
    without_rooms = loaded(database, shard, ["playlist", "artist"])
    with pytest.raises(EmptyGenerationError, match="of type room"):
        publish(database, without_rooms, entity_types=ENTITY_TYPES, now=NOW)
    assert set(pointers_of(reader, shard).values()) == {before}
    publish(database, without_rooms, entity_types=["playlist", "artist"], now=NOW)
    publish(database, without_rooms, entity_types=["room"], now=NOW, allow_empty=True)
    assert set(pointers_of(reader, shard).values()) == {without_rooms}
    # Nothing there before, nothing there now: that is no accident.
    empty = loaded(database, f"{shard}-empty", [])
    publish(database, empty, entity_types=ENTITY_TYPES, now=NOW)


def test_a_generation_given_up_while_it_loads_is_not_attached(database, reader, shard) -> None:
    generation = opened(database, shard)

    class Slow(RecommendationRows):
        def columns(self, number):
            drop_unreferenced(database, now=NOW + LIFETIME, cursor_lifetime=LIFETIME)
            return super().columns(number)

    with pytest.raises(GenerationStateError, match="given up"):
        load_recommendations(database, generation, Slow(**vars(recommendation_rows())))
    assert tables_of(reader, generation) == []


def test_publishers_of_one_shard_take_turns(database, reader, shard) -> None:
    generations = [loaded(database, shard) for _ in range(3)]

    def flip(number: int) -> None:
        generation = generations[number % 3]
        publish(database, generation, entity_types=ENTITY_TYPES, now=NOW)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(flip, range(30)))
    (served,) = set(pointers_of(reader, shard).values())
    states = {generation: state_of(reader, generation) for generation in generations}
    assert states.pop(served) == "published"
    assert set(states.values()) == {"superseded"}


def test_only_one_process_drops(database, reader) -> None:
    reader.execute("select pg_advisory_lock(hashtext('seda.drop_unreferenced'))")
    report = drop_unreferenced(database, now=NOW + 99 * LIFETIME, cursor_lifetime=LIFETIME)
    assert (report.dropped, report.postponed) == ((), ())


def test_types_are_names_or_codes_and_nothing_else(database) -> None:
    rows = recommendation_rows()
    assert rows.codes().tolist() == _cards_codes(rows)
    with pytest.raises(MalformedRowsError, match="track"):
        RecommendationRows(**{**vars(rows), "entity_types": np.array(["room", "track"])}).codes()


def _cards_codes(rows: RecommendationRows) -> list[int]:
    return [ENTITY_TYPES.index(name) for name in rows.entity_types]
