"""`seda status`, `reset`, `token` and `seed`, and homes that others left in a bad state."""

import json
import uuid
from pathlib import Path

import jwt
import psutil
import pytest

from seda.cli.embedded_cluster import end_cluster
from seda.cli.processes import lock
from seda.cli.session import open_databases
from seda.database.regions import Databases, Region
from seda.settings import Settings
from tests.cli.cli_runs import Seda, sentence


def settings_of(home: Path) -> Settings:
    return Settings(_env_file=None, home=home)


def test_an_empty_home_has_nothing_to_show_and_starts_nothing(seda: Seda, tmp_path: Path) -> None:
    answer = seda("status")

    assert "Nothing runs" in answer.stdout
    assert "There are no databases yet" in answer.stdout
    assert not (tmp_path / "home" / "postgres").exists()


def test_the_status_counts_rows_by_region(seda_here: Seda) -> None:
    seeded = seda_here("seed", "--profile", "smoke")
    assert seeded.returncode == 0, seeded.stderr
    again = seda_here("seed", "--profile", "smoke")

    answer = seda_here("status")

    assert "300 people (30 in the EU)" in seeded.stdout
    assert "0 rows were written" in again.stdout
    assert "270 users" in answer.stdout
    assert "30 users" in answer.stdout
    assert "Nothing is published yet" in answer.stdout


def test_a_token_speaks_for_the_person_by_any_of_their_ids(
    seda_here: Seda, databases: Databases, tmp_path: Path
) -> None:
    user, subject = uuid.uuid4(), uuid.uuid4()
    with databases[Region.EU].transaction() as connection:
        connection.execute(
            "insert into seda.users (id, auth_user_id, external_ids) values (%s, %s, %s)",
            [user, str(subject), '{"lastfm": "2100"}'],
        )

    for given in (user, subject, 2100):
        token = seda_here("token", "--user", given, "--hours", 1).stdout.strip()
        claims = jwt.decode(
            token,
            settings_of(tmp_path / "home").signing_secret(),
            algorithms=["HS256"],
            audience="authenticated",
        )
        assert claims["sub"] == str(subject)
        assert claims["exp"] - claims["iat"] == 3600


def test_a_token_for_nobody_is_refused(seda_here: Seda) -> None:
    said = sentence(seda_here("token", "--user", "nobody"))

    assert said == "There is no user nobody in either region: give a value of seda.users.id."


@pytest.mark.parametrize(
    "setting", [{"SEDA_JWKS_URL": "https://id.example/keys"}, {"SEDA_ENV": "production"}]
)
def test_tokens_of_an_identity_provider_are_not_ours_to_mint(
    seda_here: Seda, databases: Databases, setting: dict[str, str]
) -> None:
    with databases[Region.GLOBAL].transaction() as connection:
        connection.execute(
            "insert into seda.users (auth_user_id, external_ids) values (%s, %s)",
            [str(uuid.uuid4()), '{"lastfm": "2"}'],
        )

    said = sentence(seda_here("token", "--user", 2, **setting))

    assert "only the identity provider mints tokens" in said


def test_a_first_start_that_was_killed_halfway_is_made_anew(tmp_path: Path) -> None:
    cluster = tmp_path / "postgres"
    cluster.mkdir()
    (cluster / "PG_VERSION").write_text("18\n")
    (cluster / "base").mkdir()

    with open_databases(settings_of(tmp_path)) as databases:
        server = psutil.Process(databases.embedded.pid())

    server.wait(5)
    _reset_deletes_the_cluster_of_a_server_that_somebody_left_running(tmp_path)


def _reset_deletes_the_cluster_of_a_server_that_somebody_left_running(home: Path) -> None:
    # One cluster for both: making one takes a second or two.
    with open_databases(settings_of(home)) as databases:
        server = psutil.Process(databases.embedded.pid())
        (home / "postgres" / ".handle_pids.json").write_text(json.dumps([999_999_999]))

        end_cluster(home / "postgres")

        server.wait(5)


def test_reset_deletes_what_was_computed_and_keeps_the_secrets(seda: Seda, tmp_path: Path) -> None:
    home = tmp_path / "home"
    for name in ("postgres", "storage", "dagster", "secrets"):
        (home / name).mkdir(parents=True)
        (home / name / "file").touch()

    answer = seda("reset", "--yes")

    assert answer.returncode == 0, answer.stderr
    assert not {"postgres", "storage", "dagster"} & {path.name for path in home.iterdir()}
    assert (home / "secrets" / "file").exists()
    assert "nothing to delete" in seda("reset", "--yes").stdout


def test_reset_asks_and_takes_silence_for_a_no(seda: Seda, tmp_path: Path) -> None:
    (tmp_path / "home" / "storage").mkdir(parents=True)

    assert seda("reset").returncode == 1
    assert (tmp_path / "home" / "storage").exists()


def test_reset_leaves_a_running_demo_alone(seda: Seda, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "storage").mkdir(parents=True)
    with lock(home):
        said = sentence(seda("reset", "--yes"))

    assert "is at work in" in said
    assert (home / "storage").exists()


def test_reset_does_not_pretend_to_empty_another_server(seda_here: Seda, tmp_path: Path) -> None:
    (tmp_path / "home" / "storage").mkdir(parents=True)

    said = sentence(seda_here("reset"))

    assert "empty it there, or pass --yes" in said
    assert (tmp_path / "home" / "storage").exists()
