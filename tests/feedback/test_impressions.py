"""What was shown and answered comes out of the database as it went in, person by person."""

from datetime import timedelta
from uuid import UUID, uuid5

import numpy as np
import pytest

from seda.activity.snapshot import load_snapshot
from seda.database.regions import RegionalDatabase
from seda.feedback.impressions import (
    count_answers,
    load_logged,
    load_responses,
    load_shown,
)
from seda.recommender.fatigue import ignored_impressions
from seda.recommender.ranking import INPUTS

ADA, BO = UUID(int=1), UUID(int=2)
ROOMS = [UUID(int=number) for number in (11, 12, 13)]


def show(connection, person, room, days, *, position=1, request="r", features=None, propensity=1):
    connection.execute(
        "insert into seda.impression_pages (id, user_id, recommendation_ids, entity_type, "
        "entity_ids, surface, positions, propensities, features, model_version, request_id, "
        "shown_at) values (%s, %s, %s, 'room', %s, 'feed', %s, %s, %s, 'm', %s, now() - %s)",
        [
            uuid5(person, f"{room}{days}{request}"), person, [UUID(int=5)], [room], [position],
            [propensity], features and [features], request, timedelta(days=days),
        ],
    )  # fmt: skip


def answer(connection, person, room, days, kind="rec_click"):
    connection.execute(
        "insert into seda.fact_events (event_id, user_id, event_type, props, created_at) values "
        "(gen_random_uuid(), %s, %s, jsonb_build_object('entity_id', %s::text), now() - %s)",
        [person, kind, room, timedelta(days=days)],
    )


@pytest.fixture
def shown(database: RegionalDatabase):
    """Ada saw the first room three times and the second one twice, which she entered; Bo saw the
    second one, and skipped it."""
    features = [float(place) for place in range(len(INPUTS))]
    with database.transaction() as connection:
        for room in ROOMS:
            connection.execute("insert into seda.rooms (id, name) values (%s, 'room')", [room])
        for person in (ADA, BO):
            connection.execute(
                "insert into seda.users (id, auth_user_id) values (%s, %s)", [person, str(person)]
            )
        for days in (1, 2, 3):
            show(connection, ADA, ROOMS[0], days, request=f"day {days}", features=features)
        show(connection, ADA, ROOMS[1], 2, position=2, request="day 2", features=features,
             propensity=0.25)  # fmt: skip
        show(connection, ADA, ROOMS[1], 3, position=70, request="day 3", features=[1.0])
        answer(connection, ADA, ROOMS[1], 1.9, "room_join")
        show(connection, BO, ROOMS[1], 1)
        answer(connection, BO, ROOMS[1], 0.9, "track_skip")
        show(connection, BO, ROOMS[2], 80)
    return load_snapshot(database)


def test_what_was_shown_in_vain_counts_and_what_was_answered_does_not(
    database: RegionalDatabase, shown
) -> None:
    found = load_shown(database, shown, "room")
    assert found.counts.toarray().tolist() == [[3, 2, 0], [0, 1, 0]]
    np.testing.assert_allclose(found.ages.toarray(), [[2, 2.5, 0], [0, 1, 0]], atol=0.01)
    assert found.answered.toarray().tolist() == [[0, 1, 0], [0, 0, 0]]
    ada = found.rows(slice(0, 1))
    ignored = ignored_impressions(ada.counts, ada.ages.data, ada.answered)
    assert 0 < ignored.toarray()[0, 0] < 3
    assert ignored.toarray()[0, 1:].tolist() == [0, 0]


def test_answers_are_counted_by_item_and_place(database: RegionalDatabase, shown) -> None:
    found = load_responses(database, shown, "room")
    rows = sorted(zip(found.items, found.positions, found.shown, found.answered, strict=True))
    # Three days after, the room that was entered within two days had not been answered within one.
    assert rows == [(0, 1, 3, 0), (1, 1, 1, 0), (1, 2, 1, 1), (1, 50, 1, 0)]


def test_impressions_with_the_inputs_of_this_version_are_logged_by_request(
    database: RegionalDatabase, shown
) -> None:
    logged = load_logged(database, "room")
    assert count_answers(database, "room") == logged.answered.sum() > 0
    assert logged.inputs.tolist() == [list(range(len(INPUTS)))] * 4
    assert logged.answered.sum() == 1
    (place,) = np.flatnonzero(logged.answered)
    assert logged.positions[place] == 2
    assert logged.propensities[place] == 0.25
    assert logged.requests[place] == logged.requests[place - 1]
    assert np.unique(logged.people).size == 1
    assert sorted(np.unique(logged.requests, return_counts=True)[1].tolist()) == [1, 1, 2]
    assert load_logged(database, "artist").inputs.shape == (0, len(INPUTS))


def test_what_an_app_sent_that_is_no_id_hurts_nobody(database: RegionalDatabase, shown) -> None:
    with database.transaction() as connection:
        connection.execute(
            "insert into seda.fact_events (event_id, user_id, event_type, props) values "
            "(gen_random_uuid(), %s, 'rec_click', '{\"entity_id\": \"no id\"}')", [ADA],
        )  # fmt: skip
    assert load_shown(database, shown, "room").answered.nnz == 1
