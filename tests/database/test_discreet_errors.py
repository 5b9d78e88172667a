"""What fails in a database says what, and not whose row it was: neither in logs nor in Dagster."""

import dagster as dg
import psycopg
import pytest

from seda.database.regions import RegionalDatabase

CANARY = "ada.canary@example.org"
_REFUSED = "insert into seda.users (country, email) values ('canary', %s)"


def test_an_error_that_leaves_its_block_says_no_values(database: RegionalDatabase) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as caught, database.transaction() as db:
        db.execute(_REFUSED, [CANARY])
    assert "users_country_check" in str(caught.value)
    assert CANARY not in f"{caught.value} {caught.value!r}"
    with (
        pytest.raises(psycopg.Error) as caught,
        database.connect() as db,
        db.cursor().copy("copy seda.users (email, country) from stdin") as copy,
    ):
        copy.write_row([CANARY, CANARY])
    assert CANARY not in str(caught.value)


def test_nothing_of_a_refused_row_is_in_dagsters_log(database: RegionalDatabase) -> None:
    @dg.op
    def fail() -> None:
        with database.transaction() as db:
            db.execute(_REFUSED, [CANARY])

    @dg.job
    def failing() -> None:
        fail()

    with dg.DagsterInstance.ephemeral() as instance:
        done = failing.execute_in_process(instance=instance, raise_on_error=False)
        said = str(instance.all_logs(done.run_id))
    assert "users_country_check" in said
    assert CANARY not in said
