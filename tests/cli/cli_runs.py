"""Runs the command line, in an environment without the developer's settings."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest
from typer.testing import CliRunner

from seda.cli import app
from seda.settings import load_settings

Answer = subprocess.CompletedProcess[str]
_OWN = re.compile(r"(SEDA|DAGSTER|PG|MAKE|OPENAI|COHERE)[A-Z_]*|MFLAGS")


class Seda(Protocol):
    """Runs `seda` with these arguments and settings, in a folder and a home of its own."""

    def __call__(self, *arguments: object, **settings: object) -> Answer: ...


def clean_environment(**settings: object) -> dict[str, str]:
    """This process's environment with these settings and no other of ours, nor make's."""
    inherited = {name: value for name, value in os.environ.items() if not _OWN.fullmatch(name)}
    return inherited | {name: str(value) for name, value in settings.items()}


def run_seda(folder: Path, *arguments: object, **settings: object) -> Answer:
    """The console script's answer."""
    return subprocess.run(
        [Path(sys.executable).with_name("seda"), *map(str, arguments)],
        env=clean_environment(**{"SEDA_HOME": folder / "home"} | settings),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def invoke_seda(
    monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: object, **settings: object
) -> Answer:
    """The same in this process: without a second of imports."""
    for name in [name for name in os.environ if _OWN.fullmatch(name)]:
        monkeypatch.delenv(name)
    for name, value in ({"SEDA_HOME": folder / "home"} | settings).items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.chdir(folder)
    load_settings.cache_clear()
    try:
        result = CliRunner().invoke(app, list(map(str, arguments)))
    finally:
        load_settings.cache_clear()
    return Answer(arguments, result.exit_code, result.stdout, result.stderr)


def sentence(answer: Answer) -> str:
    """The one line that a refused command left on stderr."""
    assert answer.returncode == 1, answer
    lines = answer.stderr.splitlines()
    assert len(lines) == 1, answer.stderr
    return lines[0]
