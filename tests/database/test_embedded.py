"""The embedded server: tuned, shared by its holders, and honest about a start that fails."""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from seda.database import embedded
from seda.database.embedded import EmbeddedServer, EmbeddedServerError, live_holders


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="seda-") as path:
        Path(path).chmod(0o755)
        yield Path(path) / "pg"


def test_it_is_tuned_and_stops_with_its_last_holder(folder: Path) -> None:
    server = EmbeddedServer(folder)
    with psycopg.connect(server.uri("one")) as connection:
        assert connection.execute("show jit").fetchone() == ("off",)
        assert connection.execute("show shared_buffers").fetchone() == ("512MB",)
        assert connection.execute("show fsync").fetchone() == ("on",)
        assert connection.execute("show hnsw.iterative_scan").fetchone() == ("relaxed_order",)
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        connection.execute("drop database one")
    psycopg.connect(server.uri("one")).close()  # made again, because it is asked for again
    assert live_holders(folder) == [os.getpid()]
    server.stop()
    assert not (folder / "postmaster.pid").exists()


def test_a_holder_that_died_does_not_keep_it_up(folder: Path) -> None:
    server = EmbeddedServer(folder)
    holders = folder / ".handle_pids.json"
    holders.write_text(json.dumps([*json.loads(holders.read_text()), 2**22 - 1]))
    assert live_holders(folder) == [os.getpid()]
    EmbeddedServer(folder)  # signs in again, and forgets the dead
    server.stop()
    assert not (folder / "postmaster.pid").exists()


def test_a_start_that_fails_is_one_sentence_and_the_next_one_works(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    EmbeddedServer(folder).stop()
    monkeypatch.setattr(embedded, "_RETRY_SECONDS", 0.0)
    configuration = folder / "postgresql.conf"
    good = configuration.read_text()
    configuration.write_text(good + "no_such_setting = 1\n")
    with pytest.raises(EmbeddedServerError, match=r"did not start: read .*log"):
        EmbeddedServer(folder)
    configuration.write_text(good)
    server = EmbeddedServer(folder)
    with psycopg.connect(server.uri("one")) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    server.stop()
