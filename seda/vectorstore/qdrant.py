"""The vector store in Qdrant: one collection per space and entity, behind an alias.

Genres and languages are copied into the payload when a vector is written, and checked against the
catalogue when it is found: what is gone or has changed is corrected, and the search repeated.
Which store a search goes to is not decided here.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ApiException

from seda.database.identifiers import Ids, ids_of, uuids_of
from seda.database.regions import Region
from seda.embeddings.spaces import EmbeddingSpace
from seda.errors import SedaError
from seda.settings import Settings
from seda.vectorstore.facts import Facts, FactsOf
from seda.vectorstore.rows import check_vectors
from seda.vectorstore.store import (
    EVERYTHING,
    RECALL,
    Filter,
    Neighbours,
    SpaceVector,
    StoreStats,
    StoreUnreachableError,
    Upsert,
    check,
)

_BATCH: Final = 256
_TIMEOUT_SECONDS: Final = 10
_DEFAULT_EF: Final = 128
_COLOURS: Final = ("blue", "green")
PLAYLISTS: Final = "seda_playlist_"
"""Beginning of the names of collections of playlists."""


class QdrantSettingError(SedaError):
    """Qdrant is not configured for a region, or two regions share one."""


def qdrant_store(settings: Settings, region: Region, facts_of: FactsOf) -> "QdrantStore":
    """The region's own Qdrant: `http(s)://…`, a folder, or `:memory:`.

    Raises:
        QdrantSettingError: none is set, or both regions have the same.
        StoreUnreachableError: another process has the folder open.
    """
    local = "://" not in _url(settings, region)
    return QdrantStore(open_client(settings, region), region, facts_of, local=local)


def open_client(settings: Settings, region: Region) -> QdrantClient:
    """A client of the region's own Qdrant; raises what `qdrant_store` does."""
    url = _url(settings, region)
    if url == ":memory:":
        return QdrantClient(":memory:")
    if "://" not in url:
        try:
            return QdrantClient(path=url)
        except RuntimeError as problem:
            raise StoreUnreachableError(
                f"Another process has the {region} region's Qdrant folder open: stop it, or use a "
                "server."
            ) from problem
    key = settings.qdrant_api_key
    return QdrantClient(
        url=url,
        api_key=key.get_secret_value() if key else None,
        timeout=_TIMEOUT_SECONDS,
        check_compatibility=False,
    )


def local_folder(settings: Settings, region: Region) -> Path | None:
    """Where the region's Qdrant keeps its files, if it is a folder of ours."""
    url = _url(settings, region)
    return None if url == ":memory:" or "://" in url else Path(url)


def _url(settings: Settings, region: Region) -> str:
    urls = {Region.GLOBAL: settings.qdrant_url, Region.EU: settings.eu_qdrant_url}
    url = urls[region]
    variable = "SEDA_QDRANT_URL" if region is Region.GLOBAL else "SEDA_EU_QDRANT_URL"
    if not url:
        raise QdrantSettingError(
            f"The {region} region has no Qdrant: set {variable} to its address or a folder."
        )
    if url != ":memory:" and len({(each or "").rstrip("/") for each in urls.values()}) == 1:
        raise QdrantSettingError(
            "SEDA_QDRANT_URL and SEDA_EU_QDRANT_URL are the same place: vectors of the EU region "
            "stay in their own."
        )
    return url


class QdrantStore:
    """One region's vectors in its Qdrant; a `local` one is always exact."""

    def __init__(
        self, client: QdrantClient, region: str, facts_of: FactsOf, *, local: bool = False
    ) -> None:
        self._client, self._region, self._facts_of = client, region, facts_of
        self._local = local

    def upsert(self, entity: str, space: EmbeddingSpace, rows: Upsert, *, now: datetime) -> int:
        """See `VectorStore`; what is private is left out, too."""
        check(self._region, entity, space)
        check_vectors(space, rows.ids, rows.vectors, rows.content_hashes)
        facts = self._facts_of(entity, rows.ids)
        uuids = [str(uuid) for uuid in uuids_of(rows.ids)]
        points = [
            models.PointStruct(id=uuid, vector=vector.tolist(), payload=_payload(fact))
            for uuid, vector, fact in zip(uuids, rows.vectors, facts, strict=True)
            if fact is not None
        ]
        hidden: list[Any] = [uuid for uuid, fact in zip(uuids, facts, strict=True) if fact is None]
        with reachable():
            name = self._ensured(entity, space)
            for start in range(0, len(points), _BATCH):
                self._client.upsert(name, points[start : start + _BATCH], wait=True)
            if hidden:
                self._client.delete(name, hidden, wait=True)
        return len(points)

    def delete(self, entity: str, space: EmbeddingSpace, ids: Ids, *, now: datetime) -> int:
        """See `VectorStore`."""
        check(self._region, entity, space)
        uuids: list[Any] = [str(uuid) for uuid in uuids_of(ids)]
        with reachable():
            name = self._live(entity, space)
            if name is None or not uuids:
                return 0
            present = len(self._client.retrieve(name, uuids, with_payload=False))
            self._client.delete(name, uuids, wait=True)
        return present

    def nearest(
        self,
        entity: str,
        query: SpaceVector,
        k: int,
        where: Filter = EVERYTHING,
        *,
        recall: float = RECALL,
        ef: int | None = None,
    ) -> Neighbours:
        """See `VectorStore`; a `recall` of 1 compares with every matching vector."""
        check(self._region, entity, query.space, k)
        with reachable():
            name = self._live(entity, query.space)
            points: Sequence[models.ScoredPoint] = []
            while name is not None:
                points = self._found(name, query, k, where, recall, ef)
                if not self._corrected(name, entity, points):
                    break
        ids = ids_of(UUID(str(point.id)) for point in points)
        return Neighbours(ids, np.array([point.score for point in points], np.float32))

    def count(self, entity: str, space: EmbeddingSpace, where: Filter = EVERYTHING) -> int:
        """See `VectorStore`; what the catalogue hid since its vector was written still counts."""
        check(self._region, entity, space)
        with reachable():
            name = self._live(entity, space)
            if name is None:
                return 0
            return self._client.count(name, count_filter=_filter(where), exact=True).count

    def stats(self, entity: str, space: EmbeddingSpace) -> StoreStats:
        """See `VectorStore`; Qdrant does not tell how large an index is."""
        vectors = self.count(entity, space)
        with reachable():
            name = self._live(entity, space)
            indexed = name is not None and bool(
                self._client.get_collection(name).indexed_vectors_count
            )
        return StoreStats(vectors, indexed, 0)

    def rebuild(self, entity: str, space: EmbeddingSpace, *, now: datetime) -> StoreStats:
        """Copy into a new collection, point the alias to it, drop the old one.

        Raises:
            StoreUnreachableError: something was written meanwhile; the old one serves on.
        """
        check(self._region, entity, space)
        with reachable():
            old = self._ensured(entity, space)
            alias = _alias(entity, space)
            new = next(f"{alias}_{colour}" for colour in _COLOURS if f"{alias}_{colour}" != old)
            self._make(new, space)
            offset: Any = None
            while True:
                records, offset = self._client.scroll(
                    old, limit=_BATCH, offset=offset, with_vectors=True
                )
                points = [
                    models.PointStruct(id=each.id, vector=each.vector, payload=each.payload)
                    for each in records
                ]
                if points:
                    self._client.upsert(new, points, wait=True)
                if offset is None:
                    break
            counts = [self._client.count(name, exact=True).count for name in (old, new)]
            if counts[0] != counts[1]:
                self._client.delete_collection(new)
                raise StoreUnreachableError(
                    f"The {entity} collection of {space.id} was written to while it was copied: "
                    "rebuild it again."
                )
            self._point(alias, new)
            self._client.delete_collection(old)
        return self.stats(entity, space)

    def close(self) -> None:
        """Close the client."""
        self._client.close()

    def _found(
        self, name: str, query: SpaceVector, k: int, where: Filter, recall: float, ef: int | None
    ) -> Sequence[models.ScoredPoint]:
        def search(exact: bool) -> Sequence[models.ScoredPoint]:
            return self._client.query_points(
                name,
                query=query.vector.tolist(),
                limit=k,
                query_filter=_filter(where),
                search_params=None
                if self._local
                else models.SearchParams(hnsw_ef=max(ef or _DEFAULT_EF, k), exact=exact),
                with_payload=True,
            ).points

        points = search(exact=recall >= 1)
        if len(points) < k:
            matching = self._client.count(name, count_filter=_filter(where), exact=True).count
            if len(points) < min(k, matching):
                points = search(exact=True)
        return points

    def _corrected(self, name: str, entity: str, points: Sequence[models.ScoredPoint]) -> bool:
        """Whether something found was not what the catalogue says; then it is now."""
        facts = self._facts_of(entity, ids_of(UUID(str(point.id)) for point in points))
        stale = False
        for point, fact in zip(points, facts, strict=True):
            if fact is None:
                self._client.delete(name, [point.id], wait=True)
            elif point.payload != _payload(fact):
                self._client.overwrite_payload(
                    name, payload=_payload(fact), points=[point.id], wait=True
                )
            else:
                continue
            stale = True
        return stale

    def _live(self, entity: str, space: EmbeddingSpace) -> str | None:
        """The collection that the alias points to."""
        alias = _alias(entity, space)
        for each in self._client.get_aliases().aliases:
            if each.alias_name == alias:
                return each.collection_name
        return None

    def _ensured(self, entity: str, space: EmbeddingSpace) -> str:
        name = self._live(entity, space)
        if name is None:
            name = f"{_alias(entity, space)}_{_COLOURS[0]}"
            self._make(name, space)
            self._point(_alias(entity, space), name)
        return name

    def _make(self, name: str, space: EmbeddingSpace) -> None:
        if self._client.collection_exists(name):
            # What a killed rebuild left: no alias points to it.
            self._client.delete_collection(name)
        self._client.create_collection(
            name,
            vectors_config=models.VectorParams(
                size=space.dim,
                distance=models.Distance.COSINE,
                datatype=models.Datatype.FLOAT16,
                hnsw_config=models.HnswConfigDiff(m=16, ef_construct=200),
            ),
        )

    def _point(self, alias: str, name: str) -> None:
        self._client.update_collection_aliases(
            [
                models.CreateAliasOperation(
                    create_alias=models.CreateAlias(collection_name=name, alias_name=alias)
                )
            ]
        )


def _alias(entity: str, space: EmbeddingSpace) -> str:
    return f"seda_{entity}_{blake2b(space.id.encode(), digest_size=8).hexdigest()}"


def _payload(fact: Facts) -> dict[str, Any]:
    return {"genres": list(fact.genres), "language": fact.language}


def _filter(where: Filter) -> models.Filter | None:
    must: list[Any] = []
    if where.genres:
        must.append(
            models.FieldCondition(key="genres", match=models.MatchAny(any=list(where.genres)))
        )
    if where.languages:
        must.append(
            models.FieldCondition(key="language", match=models.MatchAny(any=list(where.languages)))
        )
    excluded: list[Any] = [str(uuid) for uuid in where.exclude]
    must_not = [models.HasIdCondition(has_id=excluded)] if excluded else []
    return models.Filter(must=must, must_not=must_not) if must or must_not else None


@contextmanager
def reachable() -> Iterator[None]:
    """Turn what a client raises into `StoreUnreachableError`."""
    try:
        yield
    except (ApiException, httpx.HTTPError) as problem:
        raise StoreUnreachableError(
            f"Qdrant does not do its work ({str(problem).strip().splitlines()[0][:200]}): check "
            "SEDA_QDRANT_URL, SEDA_EU_QDRANT_URL and the server."
        ) from problem
