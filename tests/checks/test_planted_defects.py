"""What is planted after a good night is stopped by a blocking check; the old lists serve on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import dagster as dg
import numpy as np
import pytest

from seda.database.identifiers import ids_of
from seda.database.regions import Region
from seda.publishing.inspection import LoadedGeneration, inspect
from seda.recommender.recommend import RankedLists
from tests.checks.conftest import PUBLISHED, Night
from tests.checks.planting import SHARD, evaluations, put, someone, stored


@contextmanager
def deleted_user(night: Night) -> Iterator[None]:
    person, _ = night.sql("select id, 1 from seda.users where deleted_at is null order by id "
                          "desc limit 1")[0]  # fmt: skip
    night.sql("update seda.users set deleted_at = now() - interval '1 hour' where id = %s", person)
    yield
    night.sql("update seda.users set deleted_at = null where id = %s", person)


@contextmanager
def suppressed_item(night: Night) -> Iterator[None]:
    person, subject = someone(night)
    kind, _, entities = night.feed(subject)[0]
    listed = UUID(bytes=bytes(entities[-16:]))
    night.sql(
        "insert into seda.suppressions (user_id, entity_type, entity_id, kind) "
        "values (%s, %s, %s, 'never')",
        *(person, kind, listed),
    )
    yield
    night.sql("delete from seda.suppressions where user_id = %s and kind = 'never'", person)


@contextmanager
def cross_region_row(night: Night) -> Iterator[None]:
    ((european,),) = night.sql("select id from seda.users limit 1", region=Region.EU)
    with stored(night, "interaction_matrices/global") as snapshot:
        rows = snapshot.rows_of(night.platform.shards[SHARD])
        ids = snapshot.user_ids.copy()
        ids[rows.start] = ids_of([european])[0]
        put(night, "interaction_matrices/global", replace(snapshot, user_ids=ids))
        yield


def changed_lists(night: Night, kind: str, change: Any) -> Any:
    path = f"ranked_recommendations/{SHARD}"
    with stored(night, path) as ranked:
        ranked.value[kind] = change(ranked.value[kind])
        put(night, path, ranked)
        yield


@contextmanager
def half_published_shard(night: Night) -> Iterator[None]:
    yield from changed_lists(
        night, "artist", lambda lists: replace(lists, items=np.full_like(lists.items, -1))
    )


@contextmanager
def exploded_row_count(night: Night) -> Iterator[None]:
    def twice(lists: RankedLists) -> RankedLists:
        people, places = lists.items.shape
        doubled = {
            field.name: np.concatenate([values, values], axis=1)
            for field in fields(lists)
            if (values := getattr(lists, field.name)).shape[:2] == (people, places)
        }
        others = [np.setdiff1d(np.arange(4 * places), row)[:places] for row in lists.items]
        doubled["items"] = np.concatenate([lists.items, np.array(others)], axis=1).astype(
            lists.items.dtype
        )
        doubled["is_new"][:, places:] = False
        return replace(lists, **doubled)

    yield from changed_lists(night, "artist", twice)


@contextmanager
def late_novelty(night: Night) -> Iterator[None]:
    def late(lists: RankedLists) -> RankedLists:
        places = np.arange(lists.items.shape[1])
        return replace(lists, is_new=np.broadcast_to(places >= 20, lists.is_new.shape))

    yield from changed_lists(night, "artist", late)


@pytest.mark.parametrize(
    ("planted", "check"),
    [
        (deleted_user, "no_deleted_user"),
        (cross_region_row, "no_cross_region_row"),
        (suppressed_item, "no_suppressed_entity"),
        (half_published_shard, "whole_generation"),
        (exploded_row_count, "row_count_against_served"),
        (late_novelty, "novelty_quota"),
    ],
)
def test_a_planted_defect_is_stopped_while_the_old_lists_are_served(
    night: Night, planted: Any, check: str
) -> None:
    _, subject = someone(night)
    pointers, before = night.pointers(), night.feed(subject)
    assert len(before) == 3
    with planted(night):
        result = night.publish()
        served = night.pointers(), night.feed(subject)
    assert not result.success
    failed = evaluations(result)
    assert check in failed
    assert failed[check].metadata["failed"].value > 0
    assert not result.get_asset_materialization_events()
    assert served == (pointers, before)
    # What is shown of it names nobody, and nothing of what they are served.
    said = str([each.metadata for each in failed.values()])
    people = [str(row[0]) for region in Region for row in night.sql(
        "select id from seda.users", region=region)]  # fmt: skip
    assert not any(person in said for person in people)
    assert SHARD.split("-")[0] in said


SERVED = "(select max(generation) from seda.generation_pointer where shard = %s)"


@pytest.mark.parametrize(
    ("planted", "invariant"),
    [
        ("update seda.mv_user_top_candidates set scores[1] = 'NaN' where generation = ",
         "score_range"),
        ("update seda.mv_user_top_candidates set scores[1] = -0.1 where generation = ",
         "score_range"),
        ("delete from seda.mv_user_top_candidates where entity_type = 'room' and generation = ",
         "whole_generation"),
        ("delete from seda.recommendations where rank = 7 and generation = ", "whole_generation"),
        ("update seda.recommendations set entity_id = gen_random_uuid() where rank = 3 "
         "and generation = ", "no_withdrawn_entity"),
        ("update seda.playlists set visibility = 'private' where id in (select entity_id "
         "from seda.recommendations where rank = 1 and generation = ", "no_withdrawn_entity"),
    ],
)  # fmt: skip
def test_an_inspection_finds_what_is_wrong_with_rows(
    night: Night, planted: str, invariant: str
) -> None:
    """Planted in the generation that is served, in a transaction that is rolled back."""
    shard = night.platform.shards[SHARD]
    with night.platform.databases[Region.GLOBAL].connect() as connection:
        ((generation,),) = connection.execute(f"select {SERVED}", [SHARD])
        loaded = [LoadedGeneration(generation, shard)]
        assert inspect(connection, loaded, begun=datetime.now(UTC)) == []
        connection.execute(f"{planted}{SERVED}{')' * planted.count('(select')}", [SHARD])
        findings = inspect(connection, loaded, begun=datetime.now(UTC))
        connection.rollback()
    assert {each.invariant for each in findings} == {invariant}
    assert {each.shard for each in findings} == {SHARD}
    assert all(each.count > 0 for each in findings)


def test_when_the_defect_is_gone_the_next_run_publishes(night: Night) -> None:
    before = night.pointers()
    result = night.publish()
    assert result.success
    assert not evaluations(result)
    assert all(now > then for (*_, then), (*_, now) in zip(before, night.pointers(), strict=True))
    checked = {each.check_name for each in result.get_asset_check_evaluations() if each.passed}
    assert {"no_deleted_user", "novelty_quota", "score_range"} <= checked
    assert {key.path[-1] for key in PUBLISHED} <= {
        event.asset_key.path[-1] for event in result.get_asset_materialization_events()
    }


def test_who_goes_or_hides_something_meanwhile_holds_up_nobody(night: Night) -> None:
    person, subject = someone(night)
    kind, _, entities = night.feed(subject)[0]
    night.sql(
        "insert into seda.suppressions (user_id, entity_type, entity_id, kind, created_at) "
        "values (%s, %s, %s, 'never', now() + interval '1 hour')",
        *(person, kind, UUID(bytes=bytes(entities[-16:]))),
    )
    night.sql("update seda.users set deleted_at = now() + interval '1 hour' where id = %s", person)
    result = night.publish()
    night.sql("delete from seda.suppressions where user_id = %s and kind = 'never'", person)
    night.sql("update seda.users set deleted_at = null where id = %s", person)
    assert result.success


def test_a_vector_of_another_length_stops_the_night_before_anything_reads_it(night: Night) -> None:
    _, subject = someone(night)
    pointers, before = night.pointers(), night.feed(subject)
    # An index of the space would refuse it: whoever wrote it wrote where there was none yet.
    for (index,) in night.sql("select indexrelid::regclass::text from pg_index where indrelid = "
                              "'seda.artists_vectors'::regclass and not indisprimary"):  # fmt: skip
        night.sql(f"drop index {index}")
    ((space, entity, vector),) = night.sql(
        "select space_id, entity_id, embedding::text from seda.artists_vectors limit 1"
    )
    update = (
        "update seda.artists_vectors set embedding = %s::halfvec "
        "where space_id = %s and entity_id = %s"
    )
    night.sql(update, "[1,0,0]", space, entity)
    result = night.run("nightly")
    served = night.pointers(), night.feed(subject)
    night.sql(update, vector, space, entity)
    assert not result.success
    failed = evaluations(result)
    assert set(failed) == {"dimension"}
    assert failed["dimension"].asset_key == dg.AssetKey(["seda", "artists_vectors"])
    assert "a vector has the dimensions of its space" in str(failed["dimension"].metadata)
    run = {event.step_key for event in result.all_events if event.is_step_start}
    assert not {"taste_vectors", "ranked_recommendations", "published_lists"} & run
    assert served == (pointers, before)


def test_who_is_deleted_during_a_run_is_dropped_from_it_and_holds_up_nobody(night: Night) -> None:
    """Last here, since the night loses somebody."""
    person, _ = someone(night)
    night.sql("select seda.withdraw_person(%s, now() + interval '1 hour')", person)
    before = night.pointers()
    assert night.publish().success
    assert all(now > then for (*_, then), (*_, now) in zip(before, night.pointers(), strict=True))
    for table in ("recommendations", "mv_user_top_candidates"):
        assert night.sql(
            f"select count(*) from seda.{table} l join seda.generation_pointer p "
            "using (generation, entity_type) where l.user_id = %s", person,
        ) == [(0,)]  # fmt: skip
