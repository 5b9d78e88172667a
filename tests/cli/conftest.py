"""The command line over nothing, and over a test's own two databases."""

from functools import partial
from pathlib import Path

import pytest

from seda.database.regions import Databases, Region
from tests.cli.cli_runs import Seda, invoke_seda, run_seda


@pytest.fixture
def seda(tmp_path: Path) -> Seda:
    """`seda("status", SEDA_API_PORT=1)`, with a home of its own."""
    return partial(run_seda, tmp_path)


@pytest.fixture
def seda_here(tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch) -> Seda:
    """The same over this test's two migrated databases, in this process."""
    return partial(
        invoke_seda,
        monkeypatch,
        tmp_path,
        SEDA_DATABASE_URL=databases[Region.GLOBAL].url,
        SEDA_EU_DATABASE_URL=databases[Region.EU].url,
    )
