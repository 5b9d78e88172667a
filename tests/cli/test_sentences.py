"""What goes wrong outside the program is one sentence that says what to do, and exit status 1."""

import shutil
import socket
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
import sqlalchemy.exc
from pydantic import ValidationError

from seda.cli.processes import lock
from seda.cli.sentences import sentence_of
from seda.cli.session import FullHomeError, open_databases
from seda.settings import Settings
from tests.cli.cli_runs import Seda, sentence

NOWHERE = {
    "SEDA_DATABASE_URL": "postgresql://127.0.0.1:1/none",
    "SEDA_EU_DATABASE_URL": "postgresql://127.0.0.1:1/none",
}


def test_a_busy_port_is_named_before_anything_starts(seda: Seda, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        said = sentence(seda("demo", SEDA_API_PORT=port))

    assert said == f"Port {port} is in use: stop what listens there or set SEDA_API_PORT."
    assert not (tmp_path / "home" / "postgres").exists()


@pytest.mark.parametrize("place", ["/dev/full", "/proc/nothing"])
def test_a_home_that_cannot_be_written(seda: Seda, place: str) -> None:
    said = sentence(seda("demo", SEDA_HOME=place))

    assert said.startswith(f"SEDA_HOME {place} cannot be written (")
    assert said.endswith("or set SEDA_HOME to another folder.")


def test_a_home_without_room_is_refused_before_a_server_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=3 << 20))

    with (
        pytest.raises(FullHomeError, match=r"has 3 MB left and 150 MB are needed: free some"),
        open_databases(Settings(_env_file=None, home=tmp_path)),
    ):
        pass

    assert not (tmp_path / "postgres").exists()


@pytest.mark.parametrize("command", [["demo"], ["migrate"]])
def test_a_database_that_nobody_answers_for(seda: Seda, command: list[str]) -> None:
    ports = {f"SEDA_{name}_PORT": 0 for name in ("API", "REALTIME", "DAGSTER")}

    said = sentence(seda(*command, **NOWHERE, **ports))

    assert "global database does not answer" in said
    assert said.endswith("check SEDA_DATABASE_URL and that the server is up.")


def test_a_database_of_dagster_that_nobody_answers_for(seda_here: Seda) -> None:
    nowhere = NOWHERE["SEDA_DATABASE_URL"]

    said = sentence(seda_here("materialize", SEDA_DAGSTER_DATABASE_URL=nowhere))

    assert said.endswith("check SEDA_DAGSTER_DATABASE_URL and that the server is up.")


@pytest.mark.parametrize("url", ["nonsense", "postgresql://127.0.0.1/x?color=red"])
def test_a_url_that_is_none(seda: Seda, url: str) -> None:
    said = sentence(seda("migrate", SEDA_DATABASE_URL=url, SEDA_EU_DATABASE_URL=url))

    assert "postgresql://user@host/database" in said


def test_a_setting_of_the_wrong_type_is_named(seda: Seda) -> None:
    said = sentence(seda("demo", SEDA_API_PORT="eight"))

    assert said.startswith("SEDA_API_PORT is not usable (")


def test_a_setting_without_our_prefix_is_named_as_it_is_written() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(_env_file=None, openai_api_key=7)  # type: ignore[arg-type]

    assert (sentence_of(caught.value) or "").startswith("OPENAI_API_KEY is not usable (")


def test_an_import_that_is_refused(seda_here: Seda, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    assert "neither the benchmark package" in sentence(seda_here("import", "lastfm", "empty"))
    assert "is not a folder" in sentence(seda_here("import", "lastfm", "missing"))


@pytest.mark.parametrize("command", [["demo"], ["reset", "--yes"]])
def test_production_is_left_alone(seda: Seda, command: list[str]) -> None:
    assert "SEDA_ENV is production" in sentence(seda(*command, SEDA_ENV="production"))


def test_a_second_demo_in_one_home(seda: Seda, tmp_path: Path) -> None:
    with lock(tmp_path / "home"):
        said = sentence(seda("demo"))

    assert said.startswith("Another seda (process ")
    assert said.endswith("or set SEDA_HOME to another folder.")


def test_tables_that_are_missing(seda: Seda, server) -> None:  # type: ignore[no-untyped-def]
    url = server.uri("never_migrated")

    said = sentence(seda("status", SEDA_DATABASE_URL=url, SEDA_EU_DATABASE_URL=url))

    assert said == "The database is not migrated: run `seda migrate` first."


def test_a_disk_that_fills_up_halfway_is_a_sentence_whatever_reports_it() -> None:
    full = psycopg.errors.DiskFull("could not extend file: No space left on device")
    wrapped = sqlalchemy.exc.OperationalError("insert", {}, full)

    for problem in (full, wrapped, OSError(28, "No space left on device", "/here")):
        assert "No space left on device" in (sentence_of(problem) or "")


def test_a_mistake_of_the_program_stays_a_traceback() -> None:
    assert sentence_of(KeyError("x")) is None
    assert sentence_of(psycopg.errors.UndefinedColumn("no such column")) is None
