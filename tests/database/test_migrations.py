"""The schema goes up and down on an empty and on a filled database, and every column is classed."""

from seda.database.migrate import downgrade, upgrade
from seda.database.regions import Databases, Region


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
    import psycopg
    import pytest

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
