"""Whatever was under way when somebody was deleted does not bring them back."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from seda.activity.snapshot import load_snapshot
from seda.database.regions import Region
from seda.notifications.outbox import Message, queue_pushes
from seda.privacy.erasure import Places, nobody
from seda.publishing.cards import ENTITY_TYPES
from seda.publishing.generations import load_cards, load_recommendations, publish
from tests.privacy.full_world import ask_for_deletion, run_jobs
from tests.publishing.publishing_world import card_rows, loaded, opened, recommendation_rows
from tests.serving.serving_world import Listener, World

ADA, BEN = UUID(int=0xA0), UUID(int=0xB0)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SERVED = "select distinct user_id from seda.{} r join seda.generation_pointer using (generation)"


@pytest.fixture
def ada(world: World) -> Listener:
    """The people of the publishing tests' lists; Ada is the one who goes."""
    ada = world.person("Ada")
    for old, new in ((ada.id, ADA), (world.person("Ben").id, BEN)):
        world.sql("update seda.users set id = %s where id = %s", new, old)
        world.sql("update seda.region_directory set user_id = %s where user_id = %s", new, old)
    return Listener(ADA, ada.sub, Region.GLOBAL, "Ada")


def served(world: World) -> set[UUID]:
    tables = ("recommendations", "mv_user_top_candidates")
    return {person for name in tables for (person,) in world.sql(SERVED.format(name))}


@pytest.mark.parametrize("moment", ["before loading", "before serving", "after serving"])
@pytest.mark.parametrize("scope", ["imports", "account"])
def test_lists_of_a_run_that_was_under_way_are_not_served(
    world: World, places: Places, ada: Listener, moment: str, scope: str
) -> None:
    database = places.databases[Region.GLOBAL]
    generation = opened(database, "global-00", NOW)
    rows, cards = recommendation_rows(), card_rows()
    if moment == "before loading":
        ask_for_deletion(world, ada, scope)
        assert run_jobs(places).jobs == {"delete completed": 1}
    load_recommendations(database, generation, rows)
    load_cards(database, generation, cards)
    if moment == "before serving":
        ask_for_deletion(world, ada, scope)
    publish(database, generation, entity_types=ENTITY_TYPES, now=NOW)
    if moment == "after serving":
        assert ADA in served(world)
        ask_for_deletion(world, ada, scope)
    if moment != "before loading":
        assert run_jobs(places).jobs == {"delete completed": 1}
    assert ADA not in served(world)
    assert BEN in served(world)
    # Nobody, who stands in a stored matrix where Ada stood, gets no vector and breaks no run.
    world.sql(
        "insert into seda.embedding_spaces (id, provider, model, dim, version, state) values "
        "('s', 'local', 'm', 2, '1', 'active')"
    )
    for person in (nobody(UUID(int=1)), BEN):
        world.sql(
            "insert into seda.user_vectors (space_id, entity_id, embedding, content_hash) "
            "values ('s', %s, '[1,0]', 'x')",
            person,
        )
    assert world.sql("select entity_id from seda.user_vectors") == [(BEN,)]
    # A backfill from the same files, however late.
    again = loaded(database, "global-00", now=NOW)
    publish(database, again, entity_types=ENTITY_TYPES, now=NOW)
    assert ADA not in served(world)
    assert BEN in served(world)


def test_who_is_deleted_is_in_no_snapshot_and_their_imports_neither(
    world: World, places: Places, ada: Listener
) -> None:
    artist = world.entity("artist", "theirs")
    for person in (ADA, BEN):
        world.sql(
            "insert into seda.activity_counts (user_id, entity_type, entity_id, source, period, "
            "plays) values (%s, 'artist', %s, 'spotify', '2026-11-01', 9)",
            *(person, artist.id),
        )
    assert load_snapshot(places.databases[Region.GLOBAL]).entities["artist"].plays.nnz == 2
    ask_for_deletion(world, ada, "imports")
    snapshot = load_snapshot(places.databases[Region.GLOBAL])
    assert (len(snapshot.user_ids), snapshot.entities["artist"].plays.nnz) == (2, 1)
    ask_for_deletion(world, ada)
    assert len(load_snapshot(places.databases[Region.GLOBAL]).user_ids) == 1


def test_delayed_events_pushes_and_intents_of_who_is_gone_are_dropped_and_others_kept(
    world: World, places: Places, ada: Listener
) -> None:
    room = world.entity("room", "electronic")
    process = world.sql("select gen_random_uuid()")[0][0]
    world.sql("select seda.register_process(%s, '{}', '{}', '{}', now())", process)
    for token, person in (("of ada", ADA), ("of ben", BEN)):
        world.sql(
            "insert into seda.device_tokens (token, user_id, platform) values (%s, %s, 'ios')",
            *(token, person),
        )
    messages = [Message(UUID(int=n), person, "Hi", "there") for n, person in ((1, ADA), (2, BEN))]
    with places.databases[Region.GLOBAL].transaction() as connection:
        assert queue_pushes(connection, messages, NOW) == {ADA, BEN}
    ask_for_deletion(world, ada)
    # The queued one went with the answer.
    assert world.sql("select user_id from seda.push_outbox") == [(BEN,)]
    for purged in (False, True):
        if purged:
            assert run_jobs(places).jobs == {"delete completed": 1}
        later = NOW + timedelta(days=2 + purged)
        again = [Message(UUID(int=9), person, "Hi", "there") for person in (ADA, BEN)]
        with places.databases[Region.GLOBAL].transaction() as connection:
            assert queue_pushes(connection, again, later) == {BEN}
        # A batch of intents that a process had taken in: Ada's among Ben's.
        ((outcomes,),) = world.sql(
            "select seda.take_intents(%s, array[gen_random_uuid(), gen_random_uuid()], "
            "array[%s, %s]::uuid[], array['x', 'x']::bytea[], array['join', 'join'], "
            "array['room', 'room'], array[%s, %s]::uuid[], array[1, 1], array[now(), now()], "
            "'0', now())",
            *(process, ADA, BEN, room.id, room.id),
        )
        assert outcomes == ["unknown", "taken"]
        for table in ("social_events", "event_receipts", "room_presence", "presence_holds"):
            people = {person for (person,) in world.sql(f"select user_id from seda.{table}")}
            assert people == {BEN}, table
