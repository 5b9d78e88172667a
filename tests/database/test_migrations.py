"""The schema goes up and down on an empty and on a filled database, and keeps what it finds."""

import psycopg
import pytest

from seda.database.embedded import EmbeddedServer
from seda.database.migrate import downgrade, upgrade
from seda.database.regions import Databases, Region, RegionalDatabase


def _tables(connection) -> set[str]:
    rows = connection.execute(
        "select table_name from information_schema.tables where table_schema = 'seda'"
    )
    return {name for (name,) in rows}


def test_up_and_down_leave_nothing_on_empty_and_filled(databases: Databases) -> None:
    for database in databases:
        with database.transaction() as connection:
            before = _tables(connection)
            connection.execute("insert into seda.users (display_name) values ('Ada')")
            connection.execute(
                "insert into seda.artists (id, name) values (gen_random_uuid(), 'Autechre')"
            )
        downgrade(database, "base")
        with database.transaction() as connection:
            assert _tables(connection) == set()
        upgrade(database)
        upgrade(database)
        with database.transaction() as connection:
            assert _tables(connection) == before


def test_each_database_knows_its_region_and_refuses_the_other(databases: Databases) -> None:
    for database in databases:
        other = Region.EU if database.region is Region.GLOBAL else Region.GLOBAL
        with database.connect(autocommit=True) as connection:
            assert connection.execute("select seda.database_region()").fetchone() == (
                str(database.region),
            )
            with pytest.raises(psycopg.errors.CheckViolation):
                connection.execute("insert into seda.users (region) values (%s)", [str(other)])


def test_the_deciding_functions_do_not_leak_to_the_public(databases: Databases) -> None:
    with databases[Region.EU].transaction() as connection:
        loose = connection.execute(
            "select proname from pg_proc p join pg_namespace n on n.oid = pronamespace "
            "where nspname = 'seda' and prosecdef and has_function_privilege('anon', p.oid, "
            "'execute')"
        ).fetchall()
    assert loose == []


def test_a_hosting_platforms_own_roles_and_uid_function_stay(server: EmbeddedServer) -> None:
    database = RegionalDatabase(Region.EU, server.uri("with_its_own_auth"))
    with database.connect(autocommit=True) as connection:
        connection.execute("create schema auth")
        connection.execute(
            "create function auth.uid() returns uuid language sql stable as "
            "$$ select '00000000-0000-0000-0000-000000000007'::uuid $$"
        )
        upgrade(database)  # the roles exist already: another database made them
        assert str(connection.execute("select auth.uid()").fetchone()[0]).endswith("0007")
        roles = connection.execute(
            "select rolname, rolcanlogin, rolinherit, rolbypassrls, rolsuper from pg_roles "
            "where rolname in ('anon', 'authenticated', 'service_role', 'seda_api') order by 1"
        ).fetchall()
    assert roles == [
        ("anon", False, False, False, False),
        ("authenticated", False, False, False, False),
        ("seda_api", True, False, False, False),
        ("service_role", False, False, True, False),
    ]


def test_the_apis_login_owns_nothing_and_is_a_member_of_the_public_roles_only(
    databases: Databases,
) -> None:
    with databases[Region.GLOBAL].transaction() as connection:
        owned = connection.execute(
            "select count(*) from pg_class where relowner = 'seda_api'::regrole"
        ).fetchone()
        member_of = connection.execute(
            "select array_agg(roleid::regrole::text order by roleid::regrole::text) "
            "from pg_auth_members where member = 'seda_api'::regrole"
        ).fetchone()
    assert owned == (0,)
    assert member_of == (["anon", "authenticated"],)
