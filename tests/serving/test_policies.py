"""Row security, held against the catalogue: nobody sees another person's row, by any table."""

from typing import Any

import psycopg
import pytest

from seda.database.regions import Region, api_login_url
from tests.serving.rows import row_of
from tests.serving.serving_world import Listener, World, names

# A column that points at a person; `users` and vectors name the person by their own key.
PERSONAL_COLUMNS = (
    "user_id", "friend_user_id", "owner_user_id", "auth_user_id", "created_by", "actor", "subject",
    "email",
)  # fmt: skip
PUBLISHED = ("recommendations", "mv_user_top_candidates", "region_directory")
PERSONAL_TABLES = ("users", "user_vectors", "embeddings_audit")


def _tables_with(world: World, *columns: str) -> list[str]:
    rows = world.sql(
        "select distinct table_name from information_schema.columns c "
        "join information_schema.tables t using (table_schema, table_name) "
        "where table_schema = 'seda' and table_type = 'BASE TABLE' and column_name = any(%s) "
        "order by 1",
        list(columns),
    )
    return [name for (name,) in rows]


def _fill(world: World, table: str, owner: Listener) -> None:
    """One row of the owner's, whatever the table asks for."""
    row = row_of(world.sql, table, owner)
    places = ", ".join(["%s"] * len(row))
    world.sql("set session_replication_role = replica")  # the rows point at nothing
    world.sql(f"insert into seda.{table} ({', '.join(row)}) values ({places})", *row.values())
    world.sql("set session_replication_role = origin")


def _visible(world: World, viewer: Listener, table: str, key: str) -> set[Any] | None:
    """The keys of the rows that the viewer sees; None where the table is refused."""
    with world.as_person(viewer) as connection:
        try:
            return {value for (value,) in connection.execute(f"select {key} from seda.{table}")}
        except psycopg.errors.InsufficientPrivilege:
            return None


def test_nobody_sees_another_persons_row_in_any_table(world: World) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    generation = world.publish(ben, world.entities("room", 1))
    parents = _tables_with(world, "user_id")
    seen_by_owner = []
    for table in parents:
        if f"_g{generation}" not in table and "_default" not in table:
            if table not in PUBLISHED:
                _fill(world, table, ben)
            assert world.sql(f"select 1 from seda.{table} where user_id = %s", ben.id)
        assert (_visible(world, ada, table, "user_id") or set()) <= {ada.id}, table
        if _visible(world, ben, table, "user_id"):
            seen_by_owner.append(table)
    # Not vacuous: the owner does see these.
    assert {
        "recommendations", "mv_user_top_candidates", "suppressions", "impression_pages",
        "fact_events",
        "user_profiles", "user_activity_summary", "linked_accounts", "device_tokens",
        "notification_log", "privacy_jobs", "room_presence", "region_directory",
    } <= set(seen_by_owner)  # fmt: skip
    assert _visible(world, ada, "users", "id") == {ada.id}
    for table in ("audit_log", "embeddings_audit", "tombstones"):
        assert _visible(world, ada, table, "*") is None


async def test_the_api_shows_each_their_own(api, world: World) -> None:
    ada, ben = world.person("Ada"), world.person("Ben")
    world.publish(ada, [world.entity("room", "for Ada")])
    world.publish(ben, [world.entity("room", "for Ben")])
    assert names(await api.page("/feed", ben)) == ["for Ben"]
    assert names(await api.page("/feed", ada)) == ["for Ada"]


def test_every_table_of_persons_has_forced_row_security(world: World) -> None:
    world.publish(world.person("Ada"), world.entities("room", 1))
    world.sql("select seda.ensure_day_partitions('seda.social_events', '2031-01-01', 1)")
    world.sql("select seda.ensure_day_partitions('seda.impression_pages', '2031-01-01', 1)")
    personal = {*_tables_with(world, *PERSONAL_COLUMNS), *PERSONAL_TABLES}
    try:
        loose = world.sql(
            "select relname from pg_class where relnamespace = 'seda'::regnamespace "
            "and relname = any(%s) and not (relrowsecurity and relforcerowsecurity)",
            sorted(personal),
        )
    finally:
        world.sql("drop table seda.social_events_20310101, seda.impression_pages_20310101")
    assert loose == []
    assert len(personal) > 30


def test_no_partition_is_granted_to_anybody_but_the_pipelines(world: World) -> None:
    world.publish(world.person("Ada"), world.entities("room", 1))
    granted = world.sql(
        "select relname, role from pg_class, unnest(array['anon', 'authenticated', 'seda_api']) "
        "as role where relnamespace = 'seda'::regnamespace and relispartition and relkind = 'r' "
        "and has_table_privilege(role, pg_class.oid, 'select, insert, update, delete')"
    )
    assert granted == []


def test_every_view_asks_with_the_rights_of_who_asks(world: World) -> None:
    views = world.sql(
        "select relname, 'security_invoker=true' = any(coalesce(reloptions, '{}')) from pg_class "
        "where relnamespace = 'seda'::regnamespace and relkind in ('v', 'm')"
    )
    assert views
    assert [name for name, invoker in views if not invoker] == []


@pytest.mark.parametrize("region", list(Region))
def test_a_forgotten_role_fails_closed(world: World, region: Region) -> None:
    url = api_login_url(world.databases[region], world.settings)
    with psycopg.connect(url, autocommit=True) as connection:
        for (table,) in world.sql(
            "select relname from pg_class where relnamespace = 'seda'::regnamespace "
            "and relkind in ('r', 'p', 'v')",
            region=region,
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"select 1 from seda.{table} limit 1")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("set role service_role")


def test_the_apis_login_owns_nothing_and_inherits_nothing(world: World) -> None:
    assert world.sql(
        "select rolinherit, rolbypassrls, rolsuper, rolcreaterole, rolcreatedb "
        "from pg_roles where rolname = 'seda_api'"
    ) == [(False,) * 5]
    assert world.sql(
        "select array_agg(roleid::regrole::text order by 1) from pg_auth_members "
        "where member = 'seda_api'::regrole"
    ) == [(["anon", "authenticated"],)]
    assert world.sql("select 1 from pg_class where relowner = 'seda_api'::regrole") == []


def test_a_nameless_session_sees_no_person(world: World) -> None:
    world.publish(world.person("Ada"), world.entities("room", 1))
    for role in ("anon", "authenticated"):
        for table in ("users", "recommendations", "mv_user_top_candidates"):
            with world.as_person(None, role) as connection:
                try:
                    assert not connection.execute(f"select 1 from seda.{table}").fetchall()
                except psycopg.errors.InsufficientPrivilege:
                    assert role == "anon"


def test_owners_and_administrators_may_change_a_room_and_nobody_else(world: World) -> None:
    room = world.entity("room", "electronic")
    people = {
        "owner": world.person("Owner"),
        "artist": world.person("Artist", role="artist"),
        "admin": world.person("Admin", role="admin"),
        "super_admin": world.person("Super", role="super_admin"),
        "other": world.person("Other"),
        "deleted": world.person("Gone", role="admin", deleted=True),
    }
    world.sql("update seda.rooms set created_by = %s", people["owner"].id)
    changed = {}
    for who, person in people.items():
        with world.as_person(person) as connection:
            cursor = connection.execute(
                "update seda.rooms set name = %s where id = %s", [f"by {who}", room.id]
            )
            changed[who] = cursor.rowcount
    assert changed == {
        "owner": 1, "artist": 0, "admin": 1, "super_admin": 1, "other": 0, "deleted": 0,
    }  # fmt: skip
    with (
        world.as_person(people["owner"]) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("update seda.rooms set created_by = %s", [people["other"].id])


def test_a_role_is_what_the_database_says_never_a_claim(world: World) -> None:
    ada = world.person("Ada")
    world.entity("room", "electronic")
    with world.as_person(ada) as connection:
        connection.execute(
            "select set_config('request.jwt.claims', %s, true)",
            [f'{{"sub": "{ada.sub}", "role": "service_role", "user_role": "super_admin"}}'],
        )
        assert connection.execute("update seda.rooms set name = 'mine'").rowcount == 0
    with (
        world.as_person(ada) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("update seda.users set role = 'admin'")
