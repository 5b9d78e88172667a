"""Every column has one privacy class, and every table with a person's rows has forced RLS."""

from seda.database.regions import RegionalDatabase
from seda.privacy.datamap import data_map, holds_people

_COLUMNS = """
    select c.relname, a.attname from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where n.nspname = 'seda' and c.relkind in ('r', 'p') and not c.relispartition
"""


def test_every_column_has_exactly_one_class(database: RegionalDatabase) -> None:
    with database.transaction() as connection:
        actual = set(connection.execute(_COLUMNS).fetchall())
    classified = {(table, column) for table, columns in data_map().items() for column in columns}
    assert actual - classified == set(), "give these columns a class in seda/privacy/datamap.toml"
    assert classified - actual == set(), "these columns are gone: take them out of datamap.toml"


def test_every_table_with_a_persons_rows_has_forced_row_level_security(
    database: RegionalDatabase,
) -> None:
    with database.transaction() as connection:
        unprotected = connection.execute(
            "select coalesce(parent.relname, c.relname), c.relname from pg_class c "
            "join pg_namespace n on n.oid = c.relnamespace "
            "left join pg_inherits i on i.inhrelid = c.oid "
            "left join pg_class parent on parent.oid = i.inhparent "
            "where n.nspname = 'seda' and c.relkind in ('r', 'p') "
            "and not (c.relrowsecurity and c.relforcerowsecurity)"
        ).fetchall()
    assert [name for table, name in unprotected if holds_people(table)] == []
