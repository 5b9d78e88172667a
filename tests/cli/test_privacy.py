"""`seda privacy` and `seda audit`: what they do, tell, and end with."""

from uuid import uuid4

from seda.database.regions import Databases, Region
from tests.cli.cli_runs import Seda, sentence
from tests.privacy.full_world import settle


def test_an_account_is_deleted_proved_to_be_gone_and_found_where_it_is_not(
    seda_here: Seda, databases: Databases
) -> None:
    person, sub = uuid4(), uuid4()
    with databases[Region.EU].transaction() as connection:
        connection.execute(
            "insert into seda.users (id, auth_user_id, email, display_name) "
            "values (%s, %s, 'ada@example.org', 'Ada')",
            [person, str(sub)],
        )
        connection.execute(
            "insert into seda.privacy_jobs (user_id, kind, scope) values (%s, 'delete', 'account')",
            [person],
        )
        connection.execute("select seda.withdraw_person(%s, now())", [person])
    settings = {"SEDA_DAGSTER_DATABASE_URL": databases[Region.GLOBAL].url}
    verify = ("privacy", "verify-erasure", "--user", person, "--also", "ada@example.org",
              "--also", sub, "--no-server-files")  # fmt: skip
    before = seda_here(*verify, **settings)
    assert before.returncode == 3
    assert "LEFT  eu database: seda.users (1 rows)" in before.stdout
    assert "ada@example.org" not in before.stdout
    settle(databases)
    ran = seda_here("privacy", "run", SEDA_REWRITE_AT_ONCE_MIB="0")
    assert ran.returncode == 0, ran.stderr
    assert "Jobs: 1 delete completed." in ran.stdout
    # Deleted, and its bytes still in the free room of the tables' files.
    left = seda_here(*verify, **settings).stdout
    assert "LEFT  eu database files: seda.users" in left
    assert "Tables that are still to be written anew: global: all, eu: all." in left
    again = seda_here("privacy", "run").stdout
    assert "Jobs: none was due." in again
    assert "tables are written anew." in again
    after = seda_here(*verify, **settings)
    assert after.returncode == 0, after.stdout
    assert "Nothing is left." in after.stdout
    assert "Not looked at – Redis: SEDA_REDIS_URL is not set." in after.stdout
    with databases[Region.EU].transaction() as connection:
        rows = connection.execute("select r::text from seda.audit_log r").fetchall()
    assert len(rows) == 5
    assert not any(str(person) in row or "ada@" in row for (row,) in rows)


def test_the_audit_log_and_residency_are_checked(seda_here: Seda, databases: Databases) -> None:
    assert (
        "Everybody's data is in their own region." in seda_here("privacy", "scan-residency").stdout
    )
    with databases[Region.EU].transaction() as connection:
        connection.execute("insert into seda.audit_log (actor, action) values ('a', 'b')")
    assert "eu: 1 rows, and the chain holds." in seda_here("audit", "verify").stdout
    with databases[Region.EU].transaction() as connection:
        connection.execute("set local session_replication_role = replica")
        connection.execute("update seda.audit_log set action = 'c'")
    broken = seda_here("audit", "verify")
    assert broken.returncode == 3
    assert "eu: row 1 is broken: its contents are not what was hashed." in broken.stdout
    assert "0 rows were taken out" in seda_here("audit", "trim").stdout


def test_a_text_that_is_found_by_chance_is_refused(seda_here: Seda, databases: Databases) -> None:
    answer = seda_here("privacy", "verify-erasure", "--user", uuid4(), "--also", "Ada")
    assert "found by chance" in sentence(answer)
