"""Numerators and denominators of every KPI, on worlds small enough to count by hand."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from seda.database.regions import Databases, Region
from seda.database.sql_models import ModelCheckFailed, load_models, materialise
from seda.privacy.datamap import data_map
from seda.settings import REPOSITORY

MODELS = {
    name: model
    for name, model in load_models(
        REPOSITORY / "dbt_like_sql", {f"seda.{table}" for table in data_map()}
    ).items()
    if model.layer == "kpis"
}
NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
NOON = NOW - timedelta(days=2)
DAY = NOON.date()
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
ADA, BO, CY = (UUID(int=0x100 + n) for n in range(3))
ONE, TWO, THREE, FOUR = ITEMS = [UUID(int=0x200 + n) for n in range(4)]


class Diary:
    """Writes what people were shown and did, and counts."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    def joined(self, person: UUID, at: datetime) -> None:
        self.connection.execute(
            "insert into seda.users (id, created_at) values (%s, %s)", [person, at]
        )

    def shown(self, person: UUID, at: datetime, items: list[UUID], *, kind: str = "artist",
              again: bool = False, new: list[bool] | None = None,
              friends: list[bool] | None = None, model: str = "m1",
              arm: str = "control") -> None:  # fmt: skip
        self.connection.execute(
            "insert into seda.impression_pages (id, user_id, entity_type, model_version, arm, "
            "surface, shown_at, positions, recommendation_ids, entity_ids, again, is_new, "
            "with_friends) values (gen_random_uuid(), %s, %s, %s, %s, 'feed', %s, %s, %s, %s, %s, "
            "%s, %s)",
            [person, kind, model, arm, at, list(range(1, len(items) + 1)), items, items, again,
             new, friends],
        )  # fmt: skip

    def did(self, person: UUID, what: str, item: object, at: datetime,
            kind: str = "artist") -> None:  # fmt: skip
        self.connection.execute(
            "insert into seda.fact_events (event_id, user_id, event_type, props, created_at) "
            "values (gen_random_uuid(), %s, %s, jsonb_build_object('entity_type', %s::text, "
            "'entity_id', %s::text), %s)",
            [person, what, kind, item, at],
        )

    def count(self, now: datetime = NOW) -> None:
        for model in MODELS.values():
            materialise(self.connection, model, now=now)

    def kpi(self, name: str) -> dict[tuple[date, str, str], tuple[int, ...]]:
        """(day, model version, arm) → (numerator, denominator, …)."""
        columns = ", ".join(MODELS[f"kpi_{name}"].columns[3:])
        rows = self.connection.execute(
            f"select day, model_version, arm, {columns} from seda.kpi_{name}"
        )
        return {(day, model, arm): tuple(counts) for day, model, arm, *counts in rows}


CONTROL = (DAY, "m1", "control")


@pytest.fixture
def diary(shared_databases: Databases) -> Iterator[Diary]:
    """An empty one; what a test writes is rolled back."""
    with shared_databases[Region.GLOBAL].connect() as connection:
        diary = Diary(connection)
        for person in (ADA, BO, CY):
            diary.joined(person, NOW - timedelta(days=300))
        yield diary
        connection.rollback()


def test_without_impressions_there_are_no_shares_rather_than_zeros(diary: Diary) -> None:
    diary.did(ADA, "rec_click", ONE, NOON)
    diary.did(ADA, "track_skip", ONE, NOON)
    diary.count()
    for name in ("click_through", "dismissals", "listens_30s", "skips", "novelty", "social_lift"):
        assert diary.kpi(name) == {}, name
    assert diary.kpi("active_sessions") == {(DAY, "none", "none"): (0, 1)}


def test_a_click_counts_once_and_for_the_newest_impression_before_it(diary: Diary) -> None:
    diary.shown(ADA, NOON, [ONE, TWO], model="m1")
    diary.shown(ADA, NOON + HOUR, [ONE, TWO], model="m2")
    diary.did(ADA, "rec_click", ONE, NOON + 2 * HOUR)
    diary.did(ADA, "rec_click", ONE, NOON + 3 * HOUR)
    diary.count()
    assert diary.kpi("click_through") == {
        CONTROL: (0, 2), (DAY, "m2", "control"): (1, 2),
    }  # fmt: skip


def test_a_click_counts_for_a_day_and_not_before_the_showing(diary: Diary) -> None:
    diary.shown(ADA, NOON, [ONE, TWO, THREE])
    diary.did(ADA, "rec_click", ONE, NOON + timedelta(days=1) - MINUTE)
    diary.did(ADA, "rec_click", TWO, NOON + timedelta(days=1))
    diary.did(ADA, "rec_click", THREE, NOON - MINUTE)
    diary.did(BO, "rec_click", TWO, NOON + MINUTE)  # whom it was not shown
    diary.did(ADA, "rec_click", TWO, NOON + MINUTE, kind="playlist")
    diary.did(ADA, "rec_click", "no id", NOON + MINUTE)
    diary.count()
    assert diary.kpi("click_through") == {CONTROL: (1, 3)}


def test_a_page_that_is_read_again_was_shown_once(diary: Diary) -> None:
    diary.shown(ADA, NOON, [ONE, TWO])
    diary.shown(ADA, NOON + 5 * MINUTE, [ONE, TWO], again=True)
    diary.did(ADA, "rec_click", TWO, NOON + 6 * MINUTE)
    diary.count()
    assert diary.kpi("click_through") == {CONTROL: (1, 2)}


def test_arms_are_counted_apart(diary: Diary) -> None:
    diary.shown(ADA, NOON, [ONE])
    diary.shown(BO, NOON, [ONE, TWO], model="m2", arm="canary")
    diary.did(BO, "rec_click", TWO, NOON + MINUTE)
    diary.count()
    assert diary.kpi("click_through") == {CONTROL: (0, 1), (DAY, "m2", "canary"): (1, 2)}


def test_listens_and_skips_are_shares_of_what_was_tried(diary: Diary) -> None:
    diary.shown(ADA, NOON, ITEMS)
    diary.did(ADA, "rec_click", ONE, NOON + MINUTE)  # opened, no more
    diary.did(ADA, "listen_30s", TWO, NOON + MINUTE)
    diary.did(ADA, "track_skip", TWO, NOON + 3 * MINUTE)  # heard enough of what they liked
    diary.did(ADA, "track_skip", THREE, NOON + MINUTE)
    diary.did(ADA, "rec_dismiss", FOUR, NOON + MINUTE)  # never tried
    diary.count()
    assert diary.kpi("listens_30s") == {CONTROL: (1, 3)}
    assert diary.kpi("skips") == {CONTROL: (1, 3)}
    assert diary.kpi("click_through") == {CONTROL: (1, 4)}
    assert diary.kpi("dismissals") == {CONTROL: (1, 4)}


def test_an_undone_dismissal_is_none_even_where_it_was_counted(diary: Diary) -> None:
    diary.shown(ADA, NOON, [ONE, TWO])
    diary.did(ADA, "rec_dismiss", ONE, NOON + MINUTE)
    diary.count()
    assert diary.kpi("dismissals") == {CONTROL: (1, 2)}
    diary.connection.execute("delete from seda.fact_events")  # as undoing does
    diary.count()
    assert diary.kpi("dismissals") == {CONTROL: (0, 2)}


def test_novelty_is_of_what_was_computed_for_the_person(diary: Diary) -> None:
    diary.shown(ADA, NOON, [ONE, TWO, THREE], new=[True, False, False])
    diary.shown(BO, NOON, ITEMS)  # a fall-back list: nobody knows
    diary.count()
    assert diary.kpi("novelty") == {CONTROL: (1, 3)}
    assert diary.kpi("click_through") == {CONTROL: (0, 7)}


def test_social_lift_compares_rooms_with_and_without_friends(diary: Diary) -> None:
    diary.shown(ADA, NOON, ITEMS, kind="room", friends=[True, True, False, False])
    diary.shown(BO, NOON, [ONE, TWO], kind="room")
    diary.shown(BO, NOON, [THREE], kind="artist")
    diary.did(ADA, "rec_click", TWO, NOON + MINUTE, kind="room")
    diary.did(BO, "rec_click", ONE, NOON + MINUTE, kind="room")
    diary.did(BO, "rec_click", THREE, NOON + MINUTE, kind="artist")
    diary.count()
    assert diary.kpi("social_lift") == {CONTROL: (1, 2, 1, 4)}


def test_a_session_over_midnight_is_one_of_the_day_on_which_it_began(diary: Diary) -> None:
    midnight = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC) + timedelta(days=1)
    diary.shown(ADA, midnight - 20 * MINUTE, [ONE])
    diary.did(ADA, "rec_click", ONE, midnight + 5 * MINUTE)
    diary.did(ADA, "track_skip", ONE, midnight + 30 * MINUTE)
    diary.shown(BO, midnight - MINUTE, [ONE])
    diary.shown(BO, midnight + 29 * MINUTE, [ONE], model="m2")  # half an hour: another session
    diary.count()
    assert diary.kpi("active_sessions") == {
        CONTROL: (1, 2), (DAY + timedelta(days=1), "m2", "control"): (0, 1),
    }  # fmt: skip


def test_a_session_is_active_by_what_had_been_shown_within_a_day(diary: Diary) -> None:
    diary.shown(ADA, NOON - 3 * HOUR, [ONE, TWO])
    diary.did(ADA, "listen_30s", ONE, NOON)  # of what was shown in an earlier session
    diary.did(BO, "listen_30s", ONE, NOON)  # found without us
    diary.shown(CY, NOON, [ONE])
    diary.did(CY, "rec_dismiss", ONE, NOON + MINUTE)  # no activity that we want
    diary.count()
    assert diary.kpi("active_sessions") == {
        CONTROL: (0, 2), (DAY, "none", "none"): (1, 2),
    }  # fmt: skip


def test_a_session_that_began_before_the_window_is_not_cut_at_it(diary: Diary) -> None:
    edge = datetime(2026, 3, 22, tzinfo=UTC)  # the first of the ten days
    diary.shown(ADA, edge - MINUTE, [ONE])
    diary.did(ADA, "rec_click", ONE, edge + MINUTE)
    diary.count()
    assert diary.kpi("active_sessions") == {}


def test_retention_is_of_who_joined_and_came_on_the_seventh_day(diary: Diary) -> None:
    born = datetime(2026, 3, 20, 23, 59, tzinfo=UTC)
    seventh = datetime(2026, 3, 27, tzinfo=UTC)
    people = [UUID(int=0x500 + n) for n in range(5)]
    for person in people:
        diary.joined(person, born)
    early, late, on_it, _never, shown_later = people
    diary.shown(on_it, born + timedelta(seconds=30), [ONE])
    diary.did(on_it, "track_skip", ONE, seventh + HOUR)
    diary.did(early, "rec_click", ONE, seventh - MINUTE)
    diary.shown(late, seventh + timedelta(days=1), [ONE])
    diary.shown(shown_later, seventh + 23 * HOUR, [ONE], model="m2")
    diary.joined(UUID(int=0x600), NOW - timedelta(days=7))  # whose days are not over
    diary.count()
    joined = born.date()
    assert diary.kpi("retention_d7") == {
        (joined, "m1", "control"): (1, 1), (joined, "none", "none"): (1, 4),
    }  # fmt: skip


def test_days_that_are_final_outlive_what_they_were_counted_from(diary: Diary) -> None:
    diary.shown(ADA, NOON, [ONE, TWO], new=[True, True])
    diary.did(ADA, "rec_click", ONE, NOON + MINUTE)
    diary.count()
    before = {name: diary.kpi(name.removeprefix("kpi_")) for name in MODELS if "kpi_" in name}
    assert before["kpi_click_through"] == {CONTROL: (1, 2)}
    diary.connection.execute("delete from seda.fact_events; delete from seda.impression_pages")
    diary.count(NOW + timedelta(days=40))
    after = {name: diary.kpi(name.removeprefix("kpi_")) for name in before}
    assert after == before


def test_recent_days_are_counted_anew_when_apps_report_late(diary: Diary) -> None:
    diary.shown(ADA, NOON, [ONE])
    diary.count()
    assert diary.kpi("click_through") == {CONTROL: (0, 1)}
    diary.did(ADA, "rec_click", ONE, NOON + MINUTE)
    diary.count(NOW + timedelta(days=7))
    assert diary.kpi("click_through") == {CONTROL: (1, 1)}


def test_an_incremental_model_that_reaches_behind_its_days_writes_nothing(diary: Diary) -> None:
    model = MODELS["daily_impressions"]
    shorter = replace(model, header=replace(model.header, lookback=2))
    diary.shown(ADA, NOON, [ONE])
    with pytest.raises(ModelCheckFailed, match="lookback"):
        materialise(diary.connection, shorter, now=NOW)
    assert diary.connection.execute("select day from seda.daily_impressions").fetchall() == []
