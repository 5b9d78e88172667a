"""What a vector store is: its contract, and the values that go in and come out.

A store answers which vectors are nearest to a query, of one kind of entity, within one embedding
space. How it does that is in `pgvector` and `qdrant`; whole tables of vectors are in `rows`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, Protocol, TypeAlias
from uuid import UUID

import numpy as np
import numpy.typing as npt

from seda.database.identifiers import Ids
from seda.embeddings.spaces import EmbeddingSpace
from seda.errors import SedaError
from seda.vectorstore.rows import ForeignRegionError, UnknownEntityError, Vectors

Searchable: TypeAlias = Literal["artist", "playlist", "room"]

SEARCHABLE: Final = ("artist", "playlist", "room")
RECALL: Final = 0.98


class InvalidQueryError(SedaError):
    """A query does not fit its space, or asks for nothing."""


class StoreUnreachableError(SedaError):
    """A vector store does not answer."""


@dataclass(frozen=True, eq=False)
class SpaceVector:
    """A query `(dim,)` float with the space that it lives in: there is no comparing without it.

    Raises:
        InvalidQueryError: another length, zero, or not finite.
    """

    space: EmbeddingSpace
    vector: npt.NDArray[np.floating]

    def __post_init__(self) -> None:
        if self.vector.shape != (self.space.dim,):
            raise InvalidQueryError(
                f"{self.space.id} is searched with a vector of {self.space.dim} dimensions; got "
                f"{self.vector.shape}."
            )
        norm = np.linalg.norm(self.vector.astype(np.float64))
        # Written so that NaN, too, is refused.
        if not 0 < norm < np.inf:
            raise InvalidQueryError("A query must be finite and not zero: it has no direction.")


@dataclass(frozen=True)
class Filter:
    """Which entities count: any of the genres, any of the languages, none of the ids.

    An empty part allows everything.
    """

    genres: Sequence[str] = ()
    languages: Sequence[str] = ()
    exclude: Sequence[UUID] = ()


EVERYTHING: Final = Filter()


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Ids `(n, 16)` uint8 and their cosines with the query `(n,)` float32, best first."""

    ids: Ids
    similarities: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class StoreStats:
    """Vectors of an entity in a space, and whether an index serves them."""

    vectors: int
    indexed: bool
    index_bytes: int


@dataclass(frozen=True, eq=False)
class Upsert:
    """Unit vectors `(n, dim)` of distinct entities `(n, 16)` uint8, with their texts' hashes.

    Genres and languages are the catalogue's: no caller can say something else.
    """

    ids: Ids
    vectors: Vectors
    content_hashes: Sequence[str]


class VectorStore(Protocol):
    """Nearest neighbours within one space.

    Every method raises `UnknownEntityError` for what is never searched, and `ForeignRegionError`
    for a space of the other region. What is deleted or private is in no answer.
    """

    def upsert(self, entity: str, space: EmbeddingSpace, rows: Upsert, *, now: datetime) -> int:
        """Insert or replace; returns how many (entities deleted meanwhile are left out)."""
        ...

    def delete(self, entity: str, space: EmbeddingSpace, ids: Ids, *, now: datetime) -> int:
        """Delete vectors; returns how many there were."""
        ...

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
        """Exactly min(k, number matching) entities that match, best first.

        `recall` is the share of the true k to aim for; `ef` overrides the breadth of search that
        was chosen for it.

        Raises:
            InvalidQueryError: k < 1.
        """
        ...

    def count(self, entity: str, space: EmbeddingSpace, where: Filter = EVERYTHING) -> int:
        """How many entities match."""
        ...

    def stats(self, entity: str, space: EmbeddingSpace) -> StoreStats:
        """How much is stored, and how it is served."""
        ...

    def rebuild(self, entity: str, space: EmbeddingSpace, *, now: datetime) -> StoreStats:
        """Build the index anew while the old one serves."""
        ...

    def close(self) -> None:
        """Let go of its connections."""
        ...


def check(region: str, entity: str, space: EmbeddingSpace, k: int = 1) -> None:
    """Refuse what no store can answer.

    Raises:
        UnknownEntityError, ForeignRegionError, InvalidQueryError: see `VectorStore`.
    """
    if entity not in SEARCHABLE:
        raise UnknownEntityError(f"{entity!r} is not searched; {', '.join(SEARCHABLE)} are.")
    if space.region != region:
        raise ForeignRegionError(
            f"{space.id} is a space of {space.region}; this is the vector store of {region}."
        )
    if k < 1:
        raise InvalidQueryError(f"Ask for one neighbour at least; got k = {k}.")
