"""Every table and view × select, insert, update, delete × everybody who may ask, really executed.

The relations come from the catalogue. What is allowed is what stands below; everything that does
not is denied, so a new table fails here until somebody says who may do what with it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import sql

from seda.database.regions import Region
from tests.serving.rows import row_of
from tests.serving.serving_world import Listener, World

VERBS = ("select", "insert", "update", "delete")
PERSONS = ("owner", "other", "artist", "admin", "super_admin")

# What people do with rows of their own: select, insert, update, delete by initials.
OWN = {
    "users": "siu",
    "linked_accounts": "sd",
    "link_attempts": "sid",
    **dict.fromkeys(("notification_preferences", "device_tokens", "suppressions"), "siud"),
    **dict.fromkeys(("fact_events", "event_receipts"), "si"),
    "social_events": "i",
    **dict.fromkeys(
        (
            "activity_counts", "artist_follows", "experiment_assignments", "friends",
            "impression_pages", "impressions", "provider_imports",
            "realtime_rankings",
            "mv_user_top_candidates", "notification_log", "privacy_jobs", "recommendations",
            "region_directory", "room_members", "room_presence", "user_activity_summary",
            "user_profiles", "user_profiles_embedded", "user_vectors",
        ),
        "s",
    ),
}  # fmt: skip
# What everybody reads, signed in or not; and what everybody reads who is.
PUBLIC = {
    "artists", "artist_genres", "artists_embedded", "artists_vectors",
    "embedding_spaces", "entity_popularity", "genre_top_entities", "mv_genre_top_rooms",
    "playlist_artists", "playlists", "playlists_embedded",
    "playlists_vectors", "rooms", "rooms_embedded", "rooms_vectors",
}  # fmt: skip
APPEND_ONLY = {"audit_log"}
MOVED_BY_TRIGGER = {"audit_head"}
SIGNED_IN = {"experiments", "generations", "generation_pointer"}
ROOM_EDITORS = {"owner", "admin", "super_admin"}
# Rows need only be somebody's here, not plausible; the transaction brings the checks back.
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
# Views, which nobody writes through.
_NO_TABLE = (psycopg.errors.ObjectNotInPrerequisiteState, psycopg.errors.FeatureNotSupported)


@dataclass(frozen=True)
class Relation:
    """A table or view of the schema, and the row in it that the owner's statements are about."""

    name: str
    is_view: bool
    is_partition: bool
    row: dict[str, Any]
    place: tuple[int, str] | None  # tableoid and ctid; none for views


def expected(relation: Relation, actor: str) -> set[str]:
    """The verbs that the actor may use on the owner's row."""
    name = relation.name
    if actor == "service_role":
        if relation.name in APPEND_ONLY:
            return {"select", "insert"}
        if relation.is_view or relation.name in MOVED_BY_TRIGGER:
            return {"select"}
        return set(VERBS)
    if relation.is_partition:
        return set()
    if name in PUBLIC:
        edits = name == "rooms" and actor in ROOM_EDITORS
        return {"select", "update"} if edits else {"select"}
    if name in SIGNED_IN and actor != "anon":
        return {"select"}
    if actor == "owner":
        return {verb for verb in VERBS if verb[0] in OWN.get(name, "")}
    return set()


class Matrix:
    """One transaction of the databases' owner, in which actors try, and nothing stays."""

    def __init__(self, world: World, connection: psycopg.Connection, region: Region) -> None:
        self._connection = connection
        self.owner = world.person("Owner", region=region)
        self.actors: dict[str, Listener | None] = {"anon": None, "owner": self.owner}
        for role in PERSONS[1:]:
            self.actors[role] = world.person(
                role, region=region, role="user" if role == "other" else role
            )
        self.actors["service_role"] = None
        self._generation = world.publish(self.owner, world.entities("room", 1))

    def relations(self) -> list[Relation]:
        """All of them, each with a row of the owner's."""
        found = self._connection.execute(
            "select relname, relkind in ('v', 'm'), relispartition from pg_class "
            "where relnamespace = 'seda'::regnamespace and relkind in ('r', 'p', 'v', 'm') "
            "order by relispartition, relkind in ('v', 'm'), relname"
        ).fetchall()
        self._connection.execute("set local session_replication_role = replica")
        self._connection.execute(_WITHOUT_CHECKS)
        return [self._with_row(*each) for each in found]

    def _rows(self, query: str, *values: object) -> list[tuple]:
        return self._connection.execute(query, values).fetchall()

    def _with_row(self, name: str, is_view: bool, is_partition: bool) -> Relation:
        row = {} if is_view else row_of(self._rows, name, self.owner)
        if "generation" in row:
            row["generation"] = self._generation
        place = None
        if not is_view:
            place = self._stored(name, row) or self._insert(name, row)
        return Relation(name, is_view, is_partition, row, place)

    def _stored(self, name: str, row: dict[str, Any]) -> tuple[int, str] | None:
        """The owner's row, where the world or a parent table has one already."""
        key = {"users": "id", "user_vectors": "entity_id"}.get(name, "user_id")
        if key not in row and name != "users":
            return None
        query = f"select tableoid::int8, ctid::text from seda.{name} where {key} = %s limit 1"
        return self._connection.execute(query, [self.owner.id]).fetchone()

    def _insert(self, name: str, row: dict[str, Any]) -> tuple[int, str]:
        found = self._connection.execute(
            sql.SQL("insert into seda.{} ({}) overriding system value values ({}) "
                    "returning tableoid::int8, ctid::text").format(
                sql.Identifier(name),
                sql.SQL(", ").join(map(sql.Identifier, row)),
                sql.SQL(", ").join(sql.Placeholder() * len(row)),
            ),
            list(row.values()),
        ).fetchone()  # fmt: skip
        assert found is not None
        return found

    def may(self, actor: str, verb: str, relation: Relation) -> bool:
        """Whether the actor's statement takes effect on the owner's row."""
        role = actor if actor in ("anon", "service_role") else "authenticated"
        granted = self._columns(role, verb, relation)
        with self._undone():
            reference = self._reference(granted, relation) if verb == "select" else None
            values = self._values(relation)
            if verb == "insert" and not relation.is_view:
                self._remove(relation)
            self._become(role, self.actors[actor])
            try:
                cursor = self._connection.execute(*self._statement(verb, relation, granted, values))
            except (psycopg.errors.InsufficientPrivilege, *_NO_TABLE):
                return False
            if verb == "select":
                return bool(reference) and set(reference) <= set(cursor.fetchall())
            if verb == "insert":
                return True
            self._connection.execute("reset role")
            return self._gone(relation)

    @contextmanager
    def _undone(self) -> Iterator[None]:
        self._connection.execute("savepoint attempt")
        try:
            yield
        finally:
            self._connection.execute("rollback to savepoint attempt")

    def _become(self, role: str, person: Listener | None) -> None:
        claims = "" if person is None else f'{{"sub": "{person.sub}"}}'
        self._connection.execute(
            "select set_config('request.jwt.claims', %s, true), set_config('role', %s, true)",
            [claims, role],
        )

    def _columns(self, role: str, verb: str, relation: Relation) -> list[str]:
        """What a grant lets the role touch; all columns where there is no grant at all."""
        right = verb if verb != "delete" else "select"
        rows = self._connection.execute(
            "select attname, has_column_privilege(%s, attrelid, attnum, %s), "
            "attgenerated = '' and attidentity = '' "
            "from pg_attribute where attrelid = format('seda.%%I', %s::text)::regclass "
            "and attnum > 0 and not attisdropped order by attnum",
            [role, right, relation.name],
        ).fetchall()
        if verb in ("insert", "update"):
            rows = [row for row in rows if row[2]]
        return [name for name, may, _ in rows if may] or [name for name, *_ in rows]

    def _reference(self, columns: list[str], relation: Relation) -> list[tuple]:
        """The owner's row, or all rows of a view, as who reads these columns would see them."""
        query = _select(relation.name, columns)
        if relation.place is None:
            return self._connection.execute(query).fetchall()
        found = self._connection.execute(
            query + sql.SQL(" where tableoid = %s and ctid = %s::tid"), relation.place
        )
        return found.fetchall()

    def _values(self, relation: Relation) -> dict[str, Any]:
        """The row as it is stored, as text by column."""
        if relation.place is None:
            return {}
        (values,) = self._connection.execute(
            f"select to_jsonb(r) from seda.{relation.name} r "
            "where tableoid = %s and ctid = %s::tid",
            relation.place,
        ).fetchone() or ({},)
        return values

    def _remove(self, relation: Relation) -> None:
        self._connection.execute(
            f"delete from seda.{relation.name} where tableoid = %s and ctid = %s::tid",
            relation.place,
        )

    def _gone(self, relation: Relation) -> bool:
        """Whether the row was changed or deleted: no version of it is where it was."""
        if relation.place is None:
            return True
        found = self._connection.execute(
            f"select from seda.{relation.name} where tableoid = %s and ctid = %s::tid",
            relation.place,
        )
        return found.fetchone() is None

    def _statement(
        self, verb: str, relation: Relation, granted: list[str], values: dict[str, Any]
    ) -> tuple[sql.Composable, list[Any]]:
        name = sql.Identifier(relation.name)
        if verb == "select":
            return _select(relation.name, granted), []
        if verb == "delete":
            return sql.SQL("delete from seda.{}").format(name), []
        if verb == "update":
            column = granted[-1]
            # The stored value by way of a record, so that every type reads its own text.
            query = sql.SQL(
                "update seda.{0} set {1} = (select {1} from "
                "jsonb_populate_record(null::seda.{0}, %s::jsonb))"
            ).format(name, sql.Identifier(column))
            return query, [psycopg.types.json.Jsonb({column: values.get(column)})]
        row = {each: relation.row.get(each) for each in granted if each in relation.row}
        if relation.name == "users":
            row["auth_user_id"] = str(self.owner.sub)
        row = row or dict.fromkeys(granted[:1])
        query = sql.SQL("insert into seda.{} ({}) overriding system value values ({})").format(
            name,
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join(sql.Placeholder() * len(row)),
        )
        return query, list(row.values())


def _select(name: str, columns: list[str]) -> sql.Composed:
    # As text: arrays and documents have no hash.
    each = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(c)) for c in columns)
    return sql.SQL("select {} from seda.{}").format(each, sql.Identifier(name))


@pytest.mark.parametrize("region", Region)
def test_everybody_may_do_what_is_declared_and_nothing_else(world: World, region: Region) -> None:
    wrong: list[str] = []
    seen: set[str] = set()
    attempts = 0
    with world.databases[region].connect() as connection:
        matrix = Matrix(world, connection, region)
        for relation in matrix.relations():
            seen.add(relation.name)
            for actor in matrix.actors:
                if actor == "service_role" and relation.is_partition:
                    continue  # it writes partitions through their parents, and bypasses policies
                allowed = expected(relation, actor)
                for verb in VERBS:
                    if relation.is_view and actor == "service_role" and verb != "select":
                        continue
                    attempts += 1
                    if matrix.may(actor, verb, relation) != (verb in allowed):
                        may = "may not" if verb in allowed else "may"
                        wrong.append(f"{actor} {may} {verb} {relation.name}")
        connection.rollback()
    assert wrong == []
    # Not vacuous: what is declared exists, and everything was tried.
    assert {*OWN, *PUBLIC, *SIGNED_IN} <= seen
    assert attempts > 1000
