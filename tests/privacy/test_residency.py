"""Who lives in the EU has nothing outside of it: refused when written, found where it got in."""

import re

import numpy as np
import psycopg
import pytest

from seda.database.regions import Databases, Region
from seda.people.residence import EEA
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
        "insert into seda.privacy_jobs (user_id, kind) values ({}, 'export')",
        "insert into seda.tombstones (user_id, scope) values ({}, 'imports')",
        "insert into seda.embeddings_audit (entity_uuid, entity_type, provider, model, dim, "
        "version, computed_at) values ({}, 'user', 'local', 'm', 4, '1', now())",
        "copy seda.social_events (event_id, user_id, kind, entity_type, entity_id, occurred_at) "
        "from program 'printf \"%s\\t%s\\tjoin\\troom\\t%s\\tnow\\n\" {0} {0} {0}'",
    ],
)
def test_a_row_of_somebody_of_the_other_region_is_refused(world: World, insert: str) -> None:
    ada = world.person("Ada", EU)
    with pytest.raises(psycopg.DatabaseError):
        world.sql(insert.format(f"'{ada.id}'"))


def test_a_row_does_not_change_hands_into_the_other_region(world: World) -> None:
    ada, ben = world.person("Ada", EU), world.person("Ben")
    world.sql("insert into seda.event_receipts (event_id, user_id, body_hash) "
              "values (gen_random_uuid(), %s, 'x')", ben.id)  # fmt: skip
    for statement in ("update seda.event_receipts set user_id = %s",
                      "update seda.users set id = %s"):  # fmt: skip
        with pytest.raises(psycopg.DatabaseError):
            world.sql(statement, ada.id)


def test_who_lives_in_a_country_of_the_eea_is_in_no_row_outside_of_it(databases: Databases) -> None:
    insert = "insert into seda.users (country) values (%s)"
    for region, country in ((EU, "PT"), (EU, "US"), (GLOBAL, "US")):
        with databases[region].transaction() as connection:
            connection.execute(insert, [country])
    for statement in (insert, "update seda.users set country = %s"):
        with (
            databases[GLOBAL].connect() as connection,
            pytest.raises(psycopg.errors.CheckViolation) as caught,
        ):
            connection.execute(statement, ["PT"])
        assert caught.value.diag.constraint_name == "users_residence"
    with databases[GLOBAL].transaction() as connection:
        ((definition,),) = connection.execute(
            "select pg_get_constraintdef(oid) from pg_constraint where conname = 'users_residence'"
        )
    assert set(re.findall(r"'([A-Z]{2})'", definition)) == EEA


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
    # As from before the constraint.
    world.sql("alter table seda.users drop constraint if exists users_residence")
    world.sql("update seda.users set country = 'PT' where id = %s", ben.id)
    world.sql("set session_replication_role = replica")
    world.sql("insert into seda.user_profiles (user_id) values (%s)", ada.id)
    world.sql("set session_replication_role = origin")
    ids = np.frombuffer(ada.id.bytes + ben.id.bytes, np.uint8).reshape(2, 16)
    places.storages[GLOBAL].put_arrays("interaction_matrices/global", {"user_ids/array": ids})
    places.storages[GLOBAL].put_bytes("notes.txt", b"no matrix")
    found = {(each.region, each.where, each.count) for each in scan(places.databases,
                                                                    places.storages)}  # fmt: skip
    places.storages[GLOBAL].delete("interaction_matrices/global")
    places.storages[GLOBAL].delete("notes.txt")
    assert found == {
        (GLOBAL, "user_profiles", 1),
        (GLOBAL, "users", 1),
        (GLOBAL, "interaction_matrices/global", 1),
    }
