"""`seda replay` says in one sentence what it cannot do. What it measures: tests/serving."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from seda.cli import app
from tests.cli.cli_runs import Seda


@pytest.fixture
def port() -> Iterator[int]:
    """Somebody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def sentence(answer) -> str:
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert len(answer.stderr.strip().splitlines()) == 1
    return answer.stderr


def test_production_is_refused(seda_here: Seda, port: int) -> None:
    answer = seda_here("replay", SEDA_ENV="production", SEDA_REALTIME_PORT=port)
    assert "SEDA_ENV is production" in sentence(answer)


def test_where_no_service_listens_it_says_how_to_start_one(seda_here: Seda) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = listener.getsockname()[1]
    answer = seda_here("replay", SEDA_REALTIME_PORT=free)
    assert f"Nothing listens on port {free}" in sentence(answer)


def test_an_empty_region_needs_a_sandbox(seda_here: Seda, port: int) -> None:
    assert "run `seda seed`" in sentence(seda_here("replay", SEDA_REALTIME_PORT=port))


def test_a_report_needs_a_folder(seda_here: Seda, port: int, tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "replay.html"
    answer = seda_here("replay", "--report", file, SEDA_REALTIME_PORT=port)
    assert "There is no folder" in sentence(answer)


@pytest.mark.parametrize("mistake", [("--clients", "0"), ("--rate", "0"), ("--scenario", "riot")])
def test_impossible_wishes_exit_with_two(mistake: tuple[str, str]) -> None:
    assert CliRunner().invoke(app, ["replay", *mistake]).exit_code == 2
