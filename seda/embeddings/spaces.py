"""An embedding space as a type: who computed a vector, with what model, how long, and where.

Two vectors may be compared, averaged or put in one index only when their spaces are equal, so
everything that stores or reads a vector names its space. Which space is active in a region is a
row, not a matter of this module.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self

import numpy as np

from seda.errors import SedaError

REGIONS: Final = ("global", "eu")
# pgvector's HNSW index takes halfvec columns of up to 4,000 dimensions.
MAX_DIM: Final = 4000
# A colon separates the parts of an id, so no part may hold one.
_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")


class InvalidSpaceError(SedaError):
    """An embedding space was described in a way that cannot be stored or compared."""


@dataclass(frozen=True, slots=True, order=True)
class EmbeddingSpace:
    """The five facts that decide whether two vectors can be compared."""

    provider: str
    model: str
    dim: int
    version: str
    region: str

    def __post_init__(self) -> None:
        for field in ("provider", "model", "version"):
            value = getattr(self, field)
            if not _PART.fullmatch(value):
                raise InvalidSpaceError(
                    f"An embedding space's {field} must be letters, digits and . _ / - "
                    f"and start with a letter or digit; got {value!r}."
                )
        if not 1 <= self.dim <= MAX_DIM:
            raise InvalidSpaceError(
                f"An embedding space has between 1 and {MAX_DIM} dimensions; got {self.dim}."
            )
        if self.region not in REGIONS:
            raise InvalidSpaceError(
                f"An embedding space's region is one of {', '.join(REGIONS)}; got {self.region!r}."
            )

    @property
    def id(self) -> str:
        """The stable text key, such as `local:hashed-words:1536:1:global`."""
        return f"{self.provider}:{self.model}:{self.dim}:{self.version}:{self.region}"

    @classmethod
    def parse(cls, space_id: str) -> Self:
        """The space that an `id` names; raises `InvalidSpaceError` for any other text."""
        parts = space_id.split(":")
        if len(parts) != 5 or not re.fullmatch(r"[1-9][0-9]{0,4}", parts[2]):
            raise InvalidSpaceError(
                f"{space_id!r} is no embedding space id; write provider:model:dim:version:region."
            )
        provider, model, dim, version, region = parts
        return cls(provider, model, int(dim), version, region)

    def embedding_meta(self, computed_at: datetime) -> dict[str, str | int]:
        """The JSON that accompanies a vector of this space; `computed_at` must have a zone."""
        if computed_at.utcoffset() is None:
            raise InvalidSpaceError("embedding_meta needs a computed_at with a time zone.")
        return {
            "provider": self.provider,
            "model": self.model,
            "dim": self.dim,
            "region": self.region,
            "version": self.version,
            "computed_at": computed_at.astimezone(UTC).isoformat(),
        }


@dataclass(frozen=True, eq=False)
class InSpace:
    """Vectors (n, dim) and the id of the space that they belong to, for what is kept in files."""

    space_id: str
    vectors: np.ndarray

    @property
    def space(self) -> EmbeddingSpace:
        """The space itself."""
        return EmbeddingSpace.parse(self.space_id)
