"""A person with a row in every table, a place in every file, and another one beside them."""

import json
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
import psycopg
from psycopg import sql

from seda.database.regions import Databases, Region
from seda.privacy.datamap import data_map, holds_people
from seda.privacy.erasure import Places
from seda.privacy.notices import LocalMail
from seda.privacy.ownership import KEPT, owner_of
from seda.privacy.rewriting import Patience
from seda.privacy.running import PrivacyReport, run_privacy_jobs
from tests.serving.rows import row_of
from tests.serving.serving_world import Listener, World

EMAIL = "ada.lovelace@example.org"
NAME = "Ada Lovelace-Byron"
VECTOR = tuple(float(x) for x in np.float16(np.sin(np.arange(1, 33) * 1.7)))
MATRIX = "interaction_matrices/eu"

_WITHOUT_CHECKS = """
do $$
declare
    each record;
begin
    for each in select conname, conrelid::regclass as relation from pg_constraint
        where connamespace = 'seda'::regnamespace and contype = 'c' and conislocal
          and coninhcount = 0
    loop
        execute format('alter table %s drop constraint %I', each.relation, each.conname);
    end loop;
end
$$
"""


def fill(world: World, places: Places, *people: Listener) -> None:
    """A row of each person in every table of their region that can have one, and files."""
    for person in people:
        region = person.region
        generation = world.publish(person, [world.entity("room", "electronic")])
        with places.databases[region].transaction() as connection:
            connection.execute("set local session_replication_role = replica")
            for relation in sorted(data_map()):
                if holds_people(relation) and relation not in {"users", *KEPT}:
                    _row(world, connection, relation, person, generation)
            connection.execute(
                "insert into seda.playlists (id, name, owner_user_id, visibility) values "
                "(gen_random_uuid(), 'mine', %s, 'private'), (gen_random_uuid(), 'ours', %s, "
                "'public')",
                [person.id, person.id],
            )
        for kept in ("rooms",):
            world.sql(
                f"insert into seda.{kept} (id, name, created_by) "
                "values (gen_random_uuid(), 'room', %s)",
                person.id,
                region=region,
            )
        world.sql(
            "insert into seda.audit_log (actor, action) values (%s, 'tested')",
            str(person.id),
            region=region,
        )
        pushes = places.home / "sink" / region / "pushes"
        pushes.mkdir(parents=True, exist_ok=True)
        (pushes / f"{person.id}.jsonl").write_text(json.dumps({"title": f"Hi {person.name}"}))
    home = people[0].region
    ids = np.frombuffer(b"".join(person.id.bytes for person in people), np.uint8).reshape(-1, 16)
    places.storages[home].put_arrays(MATRIX, {"user_ids": ids, "plays": np.ones(3)})
    places.storages[home].put_arrays(
        "collaborative_factors/eu", {"factors": np.ones((len(people), 4), np.float32)}
    )


def _row(
    world: World,
    connection: psycopg.Connection,
    relation: str,
    person: Listener,
    generation: int,
) -> None:
    row = row_of(lambda q, *v: connection.execute(q, v or None).fetchall(), relation, person)
    if owner_of(relation) not in row or relation in ("recommendations", "mv_user_top_candidates"):
        return
    if relation == "region_directory":
        return  # the world wrote it, in the global database
    # Two people's rows: keys that were guessed alike are told apart.
    for column, value in row.items():
        if value == "x":
            row[column] = f"x{person.id.hex}"
        if column in ("event_id", "idempotency_key"):
            row[column] = UUID(int=person.id.int ^ 1)
    if "generation" in row:
        row["generation"] = generation
    if relation == "user_vectors":
        row["embedding"] = str([v + (0 if person.name == NAME else 1) for v in VECTOR])
    if relation == "embedding_budget_overrides":
        row["approver_id"] = person.id
    if relation == "embeddings_audit":
        row |= {"entity_type": "user", "entity_uuid": person.id}
    connection.execute(
        sql.SQL("insert into seda.{} ({}) overriding system value values ({}) "
                "on conflict do nothing").format(
            sql.Identifier(relation),
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join(sql.Placeholder() * len(row)),
        ),
        list(row.values()),
    )  # fmt: skip


def drop_checks(world: World) -> None:
    """Rows need only be somebody's here, not plausible."""
    for region in Region:
        world.sql(_WITHOUT_CHECKS, region=region)


def contents(world: World, person: Listener) -> dict[str, list[str]]:
    """Every row in which a person's id stands, by table, in both regions."""
    found: dict[str, list[str]] = {}
    for region in Region:
        tables = world.sql(
            "select relname from pg_class where relnamespace = 'seda'::regnamespace "
            "and relkind = 'r'",
            region=region,
        )
        for (table,) in tables:
            rows = world.sql(
                f"select md5(r::text) from seda.{table} r where r::text like %s order by 1",
                f"%{person.id}%",
                region=region,
            )
            if rows:
                found[f"{region}.{table}"] = [row for (row,) in rows]
    return found


_WAITS = """
    select exists (select from seda.tombstones t where t.purged_at is null
                   and t.transaction_id >= pg_snapshot_xmin(pg_current_snapshot()))
"""


def ask_for_deletion(world: World, person: Listener, scope: str = "account") -> UUID:
    """As the API asks: as the person."""
    with world.as_person(person) as connection:
        ((job,),) = connection.execute(
            "select seda.request_deletion(%s, %s)", [scope, datetime.now(UTC)]
        )
    return UUID(str(job))


def settle(databases: Databases) -> None:
    """Wait for transactions that are older than a deletion: a purge does, and other tests that
    share the server have some."""
    for database in databases:
        for _ in range(1200):
            with database.transaction() as connection:
                ((waits,),) = connection.execute(_WAITS).fetchall()
            if not waits:
                break
            time.sleep(0.05)


def run_jobs(
    places: Places,
    later: timedelta = timedelta(),
    *,
    settled: bool = True,
    patience: Patience | None = None,
) -> PrivacyReport:
    """What is due now, or later; `settled`: once nothing older is open. Tables are written anew
    where there is a `patience`."""
    if settled:
        settle(places.databases)

    def clock() -> datetime:
        return datetime.now(UTC) + later

    mail = LocalMail(places.home, clock)
    # The write-ahead log is the whole test run's.
    return run_privacy_jobs(places, mail, clock, patience=patience, renew_log=False)
