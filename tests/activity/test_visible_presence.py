"""A friend who hides presence is not in the numbers that ranking and reasons see (SOC-4)."""

import json
from uuid import UUID

import numpy as np

from seda.activity.snapshot import load_snapshot, load_visible_presence
from seda.database.regions import RegionalDatabase
from seda.recommender.candidates import friend_counts, social_candidates, with_presence
from seda.recommender.explain import Evidence, ReasonKind, explain
from seda.recommender.signals.social import ATTENTION, STALE_AFTER

ADA, BO, CY, DI = (UUID(int=number) for number in range(1, 5))
ROOM = UUID(int=9)


def present(database: RegionalDatabase, hiding: dict[UUID, object]) -> tuple:
    """Ada's three friends are in one room; those who hide it say so in their settings."""
    with database.transaction() as connection:
        connection.execute("insert into seda.rooms (id, name) values (%s, 'techno')", [ROOM])
        for person in (ADA, BO, CY, DI):
            settings = {"hide_presence": hiding[person]} if person in hiding else {}
            connection.execute(
                "insert into seda.users (id, auth_user_id, privacy_settings) values (%s, %s, %s)",
                [person, str(person), json.dumps(settings)],
            )
        for friend in (BO, CY, DI):
            for pair in ((ADA, friend), (friend, ADA)):
                connection.execute(
                    "insert into seda.friends (user_id, friend_user_id, relationship_type) "
                    "values (%s, %s, 'friend')",
                    pair,
                )
            connection.execute(
                "insert into seda.room_presence (room_id, user_id, joined_at) "
                "values (%s, %s, now())",
                [ROOM, friend],
            )
    snapshot = load_snapshot(database)
    (ada,) = np.flatnonzero((snapshot.user_ids == np.frombuffer(ADA.bytes, np.uint8)).all(axis=1))
    presence = load_visible_presence(
        database, snapshot, attention=ATTENTION, stale_after=STALE_AFTER
    )
    return snapshot, presence.counts[[ada]], ada


def test_only_friends_who_show_themselves_are_counted(database: RegionalDatabase) -> None:
    # Anything but a plain false hides.
    _, presence, _ = present(database, {BO: False, CY: True, DI: "yes"})
    assert presence.toarray().tolist() == [[1.0]]
    reasons = explain(
        np.array([0, 1]), np.array([0], np.int32), np.zeros(1, np.uint8),
        Evidence(presence.copy() * 0, None, 1.0, np.zeros(1, np.bool_), presence=presence),
    )  # fmt: skip
    assert reasons.kinds[0, 0] == ReasonKind.FRIENDS_HERE
    assert reasons.subjects[0, 0] == 1


def test_friends_who_all_hide_propose_nothing_and_explain_nothing(
    database: RegionalDatabase,
) -> None:
    snapshot, presence, ada = present(database, {BO: True, CY: True, DI: True})
    assert presence.nnz == 0
    scores = friend_counts(snapshot.friends[[ada]], snapshot.entities["room"].plays)
    proposed = social_candidates(with_presence(scores, presence), 5)
    assert (proposed.items == -1).all()
    reasons = explain(
        np.array([0, 1]), np.array([0], np.int32), np.zeros(1, np.uint8),
        Evidence(presence, None, 1.0, np.zeros(1, np.bool_), presence=presence),
    )  # fmt: skip
    assert not reasons.kinds.any()


def test_who_ended_the_friendship_is_no_friend_of_anybody_s_lists(
    database: RegionalDatabase,
) -> None:
    present(database, {})
    with database.transaction() as connection:
        connection.execute("delete from seda.friends where user_id = %s", [BO])
        connection.execute("delete from seda.friends where friend_user_id = %s", [CY])
    snapshot = load_snapshot(database)
    ids = [UUID(bytes=each.tobytes()) for each in snapshot.user_ids]
    assert snapshot.friends.sum() == 2
    assert snapshot.friends[ids.index(ADA), ids.index(DI)] == 1
    presence = load_visible_presence(
        database, snapshot, attention=ATTENTION, stale_after=STALE_AFTER
    )
    assert presence.counts.toarray()[ids.index(ADA)].tolist() == [1.0]


def test_presence_of_a_friend_who_was_just_seen_has_all_their_attention(
    database: RegionalDatabase,
) -> None:
    snapshot, _, ada = present(database, {CY: True, DI: True})
    presence = load_visible_presence(
        database, snapshot, attention=ATTENTION, stale_after=STALE_AFTER
    ).rows(slice(ada, ada + 1))
    np.testing.assert_allclose(presence.logs.toarray(), [[np.log(1 - ATTENTION)]], rtol=0.05)
    with database.transaction() as connection:
        connection.execute("update seda.room_presence set last_seen_at = now() - interval '1 day'")
    later = load_visible_presence(
        database, snapshot, attention=ATTENTION, stale_after=STALE_AFTER
    ).rows(slice(ada, ada + 1))
    assert later.counts.toarray().tolist() == [[1.0]]
    assert abs(later.logs.sum()) < 1e-9
