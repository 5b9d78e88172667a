"""The README's table of settings is the settings class, and its commands exist."""

import re
from pathlib import Path

import typer.main

from seda.cli import app
from seda.settings import REPOSITORY, Settings, environment_name

README = (REPOSITORY / "README.md").read_text()


def _default(name: str) -> str:
    value = Settings.model_fields[name].default
    return "" if value is None else f"`{value}`"


def settings_table() -> str:
    """The table as the README must hold it."""
    rows = [
        f"| `{environment_name(name)}` | {_default(name)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| name | default | what it is |", "| --- | --- | --- |", *rows])


def test_every_setting_stands_in_the_table() -> None:
    assert settings_table() in README, f"put this table into README.md:\n{settings_table()}"


def test_every_command_that_it_names_exists() -> None:
    known = set(typer.main.get_command(app).commands)
    named = set(re.findall(r"`seda ([a-z-]+)", README))
    assert named <= known


def test_every_path_that_it_links_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert [link for link in links if not (Path(REPOSITORY) / link).exists()] == []
