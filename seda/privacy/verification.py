"""Proves that nothing of a person is left, by looking everywhere and not where it should have been.

Both regions and Dagster's storage as rows and as bytes on disk, the regions' file storages, what
lies under `SEDA_HOME`, Qdrant, and Redis. What was looked at is reported beside what was found.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from seda.database.regions import Databases, Region, libpq_url
from seda.database.storage import NotStoredError, RegionalStorage
from seda.privacy.rewriting import standing
from seda.privacy.sweep_database import (
    Finding,
    data_directory,
    sweep_files,
    sweep_rows,
    sweep_server,
    unreadable,
)
from seda.privacy.sweep_redis import sweep_redis
from seda.privacy.traces import Traces
from seda.settings import Settings
from seda.vectorstore.opening import has_second_store
from seda.vectorstore.store import StoreUnreachableError

_ELSEWHERE: Final = frozenset({"postgres", "storage"})
"""Folders of the home that are looked at as databases and as storages."""


@dataclass(frozen=True)
class Verification:
    """What was found, where it was looked, and what could not be looked at, and why.

    `stale`: files that a deletion listed as made from the person's data and that no later run has
    made again. They hold none of the person's bytes.
    `waiting`: tables, by region, that are still to be written anew since somebody was erased.
    """

    findings: tuple[Finding, ...]
    places: tuple[str, ...]
    unseen: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Nothing was found, wherever it could be looked."""
        return not self.findings


@dataclass
class _Sweep:
    findings: list[Finding] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    servers: set[Path] = field(default_factory=set)
    stale: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)

    def look(self, place: str, found: Iterator[Finding]) -> None:
        self.places.append(place)
        self.findings.extend(found)

    def result(self) -> Verification:
        return Verification(
            tuple(sorted(set(self.findings))),
            tuple(self.places),
            tuple(self.unseen),
            tuple(sorted(self.stale)),
            tuple(self.waiting),
        )


def verify_erasure(
    databases: Databases,
    storages: dict[Region, RegionalStorage],
    traces: Traces,
    *,
    server_files: bool = True,
) -> Verification:
    """Look everywhere. `server_files`: also at what a database server keeps for all of its
    databases (write-ahead log, log), which belongs to others' databases too where it is shared."""
    sweep = _Sweep()
    for database in databases:
        with closing(database.connect(autocommit=True)) as connection:
            _database(sweep, connection, f"{database.region} database", traces, server_files)
            sweep.stale += _not_remade(connection)
            left = standing(connection)
            tables = ("all",) if left.erased else (*left.locked, *left.large)
            sweep.waiting += [f"{database.region}: {name}" for name in tables]
        _second_store(sweep, databases.settings, database.region, traces)
    with closing(psycopg.connect(libpq_url(databases.dagster_url), autocommit=True)) as connection:
        _database(sweep, connection, "Dagster's storage", traces, server_files)
    for region, storage in storages.items():
        sweep.look(f"{region} storage", _storage(region, storage, traces))
    home = databases.settings.home_directory()
    sweep.look("SEDA_HOME", _home(home, traces))
    if databases.settings.redis_url is None:
        sweep.unseen.append("Redis: SEDA_REDIS_URL is not set")
    else:
        url = databases.settings.redis_url.get_secret_value()
        sweep.look("Redis", sweep_redis(url, traces))
    return sweep.result()


def record_verification(
    connection: psycopg.Connection, user_id: UUID, found: Verification, now: datetime
) -> None:
    """An audit row: whether it was clean, and where it was looked; of a digest, not of a person."""
    details = {
        "clean": found.clean,
        "findings": len(found.findings),
        "places": list(found.places),
        "unseen": list(found.unseen),
    }
    connection.execute(
        "insert into seda.audit_log (occurred_at, actor, action, subject, details) "
        "values (%s, 'operator', 'privacy.erasure_verified', %s, %s)",
        [now, f"sha256:{sha256(user_id.bytes).hexdigest()}", Jsonb(details)],
    )


def _database(
    sweep: _Sweep,
    connection: psycopg.Connection,
    place: str,
    traces: Traces,
    server_files: bool,
) -> None:
    sweep.look(place, sweep_rows(connection, place, traces))
    if hidden := unreadable(connection):
        sweep.unseen.append(f"{place}: {hidden} relations that this login may not read")
    folder = data_directory(connection)
    if folder is None:
        sweep.unseen.append(f"{place}: its files are not on this machine, or not ours to read")
        return
    sweep.look(f"{place} files", sweep_files(connection, place, traces))
    if server_files and folder not in sweep.servers:
        sweep.servers.add(folder)
        sweep.look("database server", sweep_server(connection, traces))


def _second_store(sweep: _Sweep, settings: Settings, region: Region, traces: Traces) -> None:
    place = f"{region} Qdrant"
    if not has_second_store(settings, region):
        sweep.unseen.append(f"{place}: none is set")
        return
    # Its client costs most of a second, which only those who have a second store should pay.
    from seda.privacy.second_store import in_memory, sweep_second_store

    if in_memory(settings, region):
        sweep.unseen.append(f"{place}: it is in the memory of its process")
        return
    try:
        sweep.look(place, sweep_second_store(settings, region, traces))
    except StoreUnreachableError as problem:
        sweep.places.remove(place)
        sweep.unseen.append(f"{place}: {problem}")


def _not_remade(connection: psycopg.Connection) -> list[str]:
    rows = connection.execute(
        "select distinct key from seda.stale_artefacts where remade_at is null"
    )
    return [f"{key}" for (key,) in rows]


def _storage(region: Region, storage: RegionalStorage, traces: Traces) -> Iterator[Finding]:
    for key in storage.list():
        named = traces.in_bytes(key.encode())
        try:
            found = traces.in_file(storage.get_bytes(key))
        except NotStoredError:
            continue  # replaced or deleted meanwhile
        for what in dict.fromkeys([*named, *found]):
            yield Finding(f"{region} storage", "(its name)" if named else key, what)


def _home(home: Path, traces: Traces) -> Iterator[Finding]:
    for top in sorted(home.iterdir()):
        if top.name in _ELSEWHERE:
            continue
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            named = traces.in_bytes(str(path.relative_to(home)).encode())
            found = traces.in_file(_content(path))
            for what in dict.fromkeys([*named, *found]):
                yield Finding("SEDA_HOME", str(path.parent.relative_to(home)), what)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.is_file() else b""
    except FileNotFoundError:
        return b""
