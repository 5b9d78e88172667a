"""What the demo prints when everything is up: the page that one should open comes first."""

from typing import Literal

import pytest

from seda.cli.demo import _show_addresses
from seda.cli.services import Ports
from seda.settings import Settings


def _shown(capsys: pytest.CaptureFixture[str], env: Literal["local", "production"]) -> list[str]:
    settings = Settings(_env_file=None, env=env)
    _show_addresses(settings, Ports(api=8000, realtime=8001, notifier=8004, dagster=3000), None)
    return capsys.readouterr().out.split()


def test_the_page_s_address_is_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    addresses = [word for word in _shown(capsys, "local") if word.startswith("http")]
    assert addresses[0] == "http://127.0.0.1:8000/demo"
    assert "http://127.0.0.1:3000" in addresses


def test_production_has_no_page_to_print(capsys: pytest.CaptureFixture[str]) -> None:
    assert "http://127.0.0.1:8000/demo" not in _shown(capsys, "production")
