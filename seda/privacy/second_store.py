"""The second vector store (Qdrant): what a person may have left there, deleted and searched for.

It is written vectors of the catalogue only. A person leaves there the vector of a playlist that was
public once, since a row that is gone tells it nothing; whatever else has their id goes, too.
"""

import json
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from qdrant_client import QdrantClient

from seda.database.identifiers import ids_of
from seda.database.regions import Databases, Region, RegionalDatabase
from seda.privacy.sweep_database import Finding, in_path
from seda.privacy.traces import Traces
from seda.settings import Settings
from seda.vectorstore.facts import catalogue_facts
from seda.vectorstore.opening import has_second_store
from seda.vectorstore.qdrant import PLAYLISTS, local_folder, open_client, reachable

_BATCH: Final = 1000


def in_memory(settings: Settings, region: Region) -> bool:
    """Whether the region's Qdrant is one that only its own process sees."""
    url = settings.eu_qdrant_url if region is Region.EU else settings.qdrant_url
    return url == ":memory:"


def purge_second_stores(databases: Databases, ids: Collection[UUID]) -> int:
    """Delete these points in every collection of both regions, and those of playlists that the
    catalogue does not show any more; how many there were.

    Raises:
        StoreUnreachableError: a store does not answer, or another process has its folder open.
    """
    return sum(
        _purge(databases.settings, database, ids)
        for database in databases
        if has_second_store(databases.settings, database.region)
        and not in_memory(databases.settings, database.region)
    )


def _purge(settings: Settings, database: RegionalDatabase, ids: Collection[UUID]) -> int:
    deleted = 0
    with reachable(), closing(open_client(settings, database.region)) as client:
        for name in _collections(client):
            known: list[Any] = [str(each) for each in ids]
            gone = {str(point.id) for point in client.retrieve(name, known, with_payload=False)}
            if name.startswith(PLAYLISTS):
                gone |= _hidden(client, name, database)
            if gone:
                client.delete(name, list[Any](gone), wait=True)
            deleted += len(gone)
    folder = local_folder(settings, database.region)
    if deleted and folder is not None:
        _compact(folder)
    return deleted


def _hidden(client: QdrantClient, name: str, database: RegionalDatabase) -> set[str]:
    """Points of playlists that are deleted or private."""
    facts_of, hidden = catalogue_facts(database), set[str]()
    for points in _pages(client, name, whole=False):
        uuids = [str(point.id) for point in points]
        facts = facts_of("playlist", ids_of(map(UUID, uuids)))
        hidden |= {uuid for uuid, fact in zip(uuids, facts, strict=True) if fact is None}
    return hidden


def sweep_second_store(settings: Settings, region: Region, traces: Traces) -> Iterator[Finding]:
    """Every collection of a region's Qdrant: names, ids, payloads and vectors of its points, and
    the bytes of its files where it is a folder.

    Raises:
        StoreUnreachableError: as `purge_second_stores`.
    """
    place = f"{region} Qdrant"
    with reachable(), closing(open_client(settings, region)) as client:
        for name in _collections(client):
            named = traces.in_bytes(name.encode())
            shown = "(its name)" if named else name
            yield from (Finding(place, shown, what) for what in named)
            for points in _pages(client, name, whole=True):
                for point in points:
                    told = json.dumps([str(point.id), point.payload], ensure_ascii=False)
                    found = traces.in_bytes(told.encode())
                    for vector in _vectors(point.vector):
                        found += traces.like(vector)
                    yield from (Finding(place, shown, what) for what in found)
    folder = local_folder(settings, region)
    for path in sorted(folder.rglob("*")) if folder else ():
        if path.is_file():
            for what in in_path(path, traces):
                yield Finding(f"{place} files", path.parent.name, what)


def _collections(client: QdrantClient) -> list[str]:
    return sorted(each.name for each in client.get_collections().collections)


def _pages(client: QdrantClient, name: str, *, whole: bool) -> Iterator[list[Any]]:
    offset: Any = None
    while True:
        points, offset = client.scroll(
            name, limit=_BATCH, offset=offset, with_payload=whole, with_vectors=whole
        )
        yield list(points)
        if offset is None:
            return


def _vectors(stored: Any) -> list[Any]:
    """A point's vectors: one, several by name, or none."""
    each = list(stored.values()) if isinstance(stored, dict) else [stored]
    return [vector for vector in each if isinstance(vector, list)]


def _compact(folder: Path) -> None:
    # A row that was deleted stays in the free pages of its file.
    for path in folder.glob("collection/*/storage.sqlite"):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("vacuum")
