"""Who lives in the EU has nothing outside of it: refused when written, found where it got in."""

import numpy as np
import psycopg
import pytest

from seda.database.regions import Region
from seda.privacy.erasure import Places
from seda.privacy.residency import scan
from tests.serving.serving_world import World

EU, GLOBAL = Region.EU, Region.GLOBAL


@pytest.mark.parametrize(
    "insert",
    [
        "insert into seda.users (id) values ({})",
        "insert into seda.social_events (event_id, user_id, kind, entity_type, entity_id, "
        "occurred_at) values (gen_random_uuid(), {}, 'join', 'room', gen_random_uuid(), now())",
        "insert into seda.event_receipts (event_id, user_id, body_hash) "
        "values (gen_random_uuid(), {}, 'x')",
        "insert into seda.impression_pages (id, user_id, entity_type, model_version, surface, "
        "shown_at, positions, recommendation_ids, entity_ids) values (gen_random_uuid(), {}, "
        "'room', '1', 'feed', now(), '{{1}}', array[gen_random_uuid()], array[gen_random_uuid()])",
        "insert into seda.activity_counts (user_id, entity_type, entity_id, source, period, plays) "
        "values ({}, 'artist', gen_random_uuid(), 'seda', '2026-11-01', 1)",
        "insert into seda.user_profiles (user_id) values ({})",
    ],
)
def test_a_row_of_somebody_of_the_other_region_is_refused(world: World, insert: str) -> None:
    ada = world.person("Ada", EU)
    with pytest.raises(psycopg.DatabaseError):
        world.sql(insert.format(f"'{ada.id}'"))


def test_friendships_cross_by_pseudonym_and_nothing_else_does(world: World, places: Places) -> None:
    ada, ben = world.person("Ada", EU), world.person("Ben")
    world.befriend(ada, ben)
    assert scan(places.databases, places.storages) == []
    for region, foreigner in ((GLOBAL, ada), (EU, ben)):
        tables = [name for (name,) in world.sql(
            "select relname from pg_class where relnamespace = 'seda'::regnamespace "
            "and relkind = 'r'", region=region,
        )]  # fmt: skip
        there = [
            name
            for name in tables
            if world.sql(
                f"select from seda.{name} r where r::text like %s",
                f"%{foreigner.id}%",
                region=region,
            )
        ]
        assert set(there) <= {"friends", "region_directory"}


def test_what_got_in_all_the_same_is_found(world: World, places: Places) -> None:
    ada, ben = world.person("Ada", EU), world.person("Ben")
    world.sql("update seda.users set country = 'PT' where id = %s", ben.id)
    world.sql("set session_replication_role = replica")
    world.sql("insert into seda.user_profiles (user_id) values (%s)", ada.id)
    world.sql("set session_replication_role = origin")
    ids = np.frombuffer(ada.id.bytes + ben.id.bytes, np.uint8).reshape(2, 16)
    places.storages[GLOBAL].put_arrays("interaction_matrices/global", {"user_ids/array": ids})
    found = {(each.region, each.where, each.count) for each in scan(places.databases,
                                                                    places.storages)}  # fmt: skip
    places.storages[GLOBAL].delete("interaction_matrices/global")
    assert found == {
        (GLOBAL, "user_profiles", 1),
        (GLOBAL, "users", 1),
        (GLOBAL, "interaction_matrices/global", 1),
    }
