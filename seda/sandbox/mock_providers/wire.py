"""What every wire format of the mock service has in common: questions, refusals, vectors, tokens.

A format reads a request's JSON and writes answers; it knows nothing of HTTP, time or failures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from seda.embeddings.providers.local import LocalEmbedder
from seda.errors import SedaError
from seda.sandbox.mock_providers.profiles import Malformation, Outcome

BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Question:
    """What a request asks for."""

    texts: tuple[str, ...]
    model: str
    dim: int
    base64: bool


class RefusedRequestError(SedaError):
    """A request that the real provider answers with a 4xx of its own."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        super().__init__(f"{status}: {document}")
        self.status = status
        self.document = document


class WireFormat(Protocol):
    """One provider's endpoint."""

    @property
    def name(self) -> str:
        """The provider's name on the control plane."""

    @property
    def path(self) -> str:
        """Where texts are posted."""

    @property
    def needs_key(self) -> bool:
        """Whether a request without a key is refused."""

    def sent_texts(self, document: object) -> tuple[str, ...]:
        """Every text in a request's JSON, whether or not it is taken."""

    def read(self, document: object) -> Question:
        """The question that a request's JSON asks.

        Raises:
            RefusedRequestError: the real provider would not take it.
        """

    def answer(
        self, question: Question, vectors: NDArray[np.float32], tokens: int, *, out_of_order: bool
    ) -> dict[str, Any]:
        """The JSON of a 200."""

    def spoil(self, document: dict[str, Any], kind: Malformation) -> bool:
        """Damage an answer in place; False where the format knows no such damage."""

    def failure(self, outcome: Outcome) -> tuple[int, dict[str, Any]]:
        """Status and JSON of what is not the request's own fault, or of a missing key."""


def strings_in(given: object) -> tuple[str, ...]:
    """The strings of a list, or the one string itself."""
    if isinstance(given, str):
        return (given,)
    return tuple(each for each in given if isinstance(each, str)) if isinstance(given, list) else ()


def tokens_of(texts: tuple[str, ...]) -> int:
    """Tokens billed: about four bytes each, and one at least per text."""
    return sum(max(1, -(-len(text.encode()) // BYTES_PER_TOKEN)) for text in texts)


def vectors_of(provider: str, texts: tuple[str, ...], dim: int) -> NDArray[np.float32]:
    """Unit vectors `(len(texts), dim)` float32 of the provider's own space, always the same bits.

    The local embedder's, turned by a fixed shuffle and flip of the dimensions: distances within a
    provider's space are kept, vectors of two providers have nothing to do with each other.
    """
    order, signs = _rotation(provider, dim)
    return LocalEmbedder(dim).embed(texts)[:, order] * signs


@lru_cache(maxsize=32)
def _rotation(provider: str, dim: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    draws = np.random.default_rng(list(provider.encode()))
    return draws.permutation(dim), draws.choice(np.array([-1, 1], np.float32), dim)
