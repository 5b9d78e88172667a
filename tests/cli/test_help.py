"""Every command explains itself, at once."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from seda.cli import app

COMMANDS = [
    ["demo"],
    ["up"],
    ["migrate"],
    ["seed"],
    ["import"],
    ["import", "lastfm"],
    ["materialize"],
    ["kpis"],
    ["export"],
    ["export", "recommendations"],
    ["embed-server"],
    ["mock-providers"],
    ["reindex"],
    ["vectors"],
    ["vectors", "status"],
    ["vectors", "fill"],
    ["vectors", "compare"],
    ["vectors", "stage"],
    ["vectors", "back"],
    ["embeddings"],
    ["embeddings", "status"],
    ["embeddings", "fill"],
    ["embeddings", "promote"],
    ["embeddings", "override"],
    ["model"],
    ["model", "list"],
    ["model", "show"],
    ["model", "register"],
    ["model", "canary"],
    ["model", "promote"],
    ["model", "rollback"],
    ["model", "retire"],
    ["model", "shadow"],
    ["gate"],
    ["replay"],
    ["token"],
    ["status"],
    ["reset"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(command: list[str]) -> None:
    answer = CliRunner().invoke(app, [*command, "--help"])

    assert answer.exit_code == 0
    assert "Usage:" in answer.output
    assert len(answer.output.splitlines()) > 4


def test_the_overview_cuts_no_description() -> None:
    answer = CliRunner().invoke(app, ["--help"])

    assert "..." not in answer.output.partition("Commands:")[2]


def test_help_imports_none_of_the_work() -> None:
    heavy = "{'numpy', 'sqlalchemy', 'psycopg', 'dagster', 'pydantic_settings', 'pyarrow', "
    heavy += "'openai', 'cohere', 'starlette', 'uvicorn'}"
    program = f"import sys, seda.cli; print(sorted({heavy} & set(sys.modules)))"

    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert answer.stdout.strip() == "[]", answer.stderr


@pytest.mark.parametrize("mistake", [["sed"], ["seed"], ["seed", "--profile", "huge"], ["token"]])
def test_bad_usage_exits_with_two(mistake: list[str]) -> None:
    assert CliRunner().invoke(app, mistake).exit_code == 2
