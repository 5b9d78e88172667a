"""What a provider is: one endpoint that turns a batch of texts into vectors of one space.

A provider makes exactly one request per call and translates every failure into `ProviderError`.
Retries, limits, breakers and budgets are the service's.
"""

from base64 import b64decode
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from seda.embeddings.regional_texts import TextsT_contra
from seda.embeddings.spaces import EmbeddingSpace
from seda.errors import SedaError

CONNECT_SECONDS = 0.3
READ_SECONDS = 2.5
# How far rounding to float32 alone can take a unit row's length from 1, with some room.
_ROUNDING = 2.0**-22


class Failure(StrEnum):
    """Why a request brought no vectors."""

    RATE_LIMITED = "rate_limited"
    """429: asked to come back later."""
    UNREACHABLE = "unreachable"
    """No connection was made."""
    SERVER_ERROR = "server_error"
    """5xx."""
    TIMED_OUT = "timed_out"
    """Sent, and no complete answer in time."""
    BAD_ANSWER = "bad_answer"
    """Sent, and the answer was cut, unreadable, or not what was asked for."""
    UNAUTHORISED = "unauthorised"
    """401 or 403: the key is wrong or revoked."""
    REFUSED = "refused"
    """Any other 4xx: the same request will be refused again."""

    @property
    def is_retryable(self) -> bool:
        """Whether the same request may succeed in a moment."""
        return self not in (Failure.UNAUTHORISED, Failure.REFUSED)

    @property
    def may_be_billed(self) -> bool:
        """Whether the provider may have done, and billed, the work."""
        return self in (Failure.TIMED_OUT, Failure.BAD_ANSWER)

    @property
    def speaks_of_health(self) -> bool:
        """Whether it says something about the provider, rather than about our request."""
        return self is not Failure.REFUSED


class ProviderError(SedaError):
    """A request that brought no vectors; `retry_after` in seconds, when the provider named one."""

    def __init__(
        self, provider: str, failure: Failure, detail: str, *, retry_after: float | None = None
    ) -> None:
        super().__init__(f"{provider}: {failure} ({detail})")
        self.provider = provider
        self.failure = failure
        self.retry_after = retry_after


@dataclass(frozen=True, eq=False)
class Embedded:
    """Unit vectors `(texts, dim)` float32 in the order of the texts, and the tokens billed."""

    vectors: NDArray[np.float32]
    tokens: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What a provider takes; None where it takes any number."""

    batch_size: int | None = None
    """Texts per request."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    in_process: bool = False
    """Computed in this process: there is no endpoint that a breaker could watch."""


class Provider(Protocol[TextsT_contra]):
    """One endpoint, one space, one price."""

    @property
    def name(self) -> str:
        """Its name in the ledger, the breaker and the metrics: `openai`, `cohere`, `runner` …"""

    @property
    def space(self) -> EmbeddingSpace:
        """The space that every vector of it belongs to."""

    @property
    def limits(self) -> Limits:
        """What it takes per request and per minute."""

    @property
    def usd_per_million_tokens(self) -> Decimal:
        """Its price; zero for what runs on our own machines."""

    async def embed(self, texts: TextsT_contra) -> Embedded:
        """One request. Cancelling it closes its connection.

        Raises:
            ProviderError: there are no vectors.
            ForeignTextError: the texts are another region's.
        """

    async def close(self) -> None:
        """Let go of its connections."""


def vector_of(sent: object) -> NDArray[np.float32]:
    """A vector as the wire has it: base64 of little-endian float32, or plain numbers.

    Raises:
        TypeError, ValueError: it is neither.
    """
    if isinstance(sent, str):
        return np.frombuffer(b64decode(sent, validate=True), "<f4")
    return np.array(sent, np.float32)


def unit_rows(
    provider: str, vectors: NDArray[np.float32], *, rows: int, dim: int
) -> NDArray[np.float32]:
    """The vectors scaled to length 1, as float32 `(rows, dim)`; unit rows keep their bits.

    Raises:
        ProviderError: another shape, a number that is not finite, or a row of zeros.
    """
    if vectors.shape != (rows, dim):
        raise ProviderError(
            provider, Failure.BAD_ANSWER, f"asked for {(rows, dim)}, got {vectors.shape}"
        )
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ProviderError(provider, Failure.BAD_ANSWER, "a vector is not finite, or is zero")
    scales = np.where(np.abs(lengths - 1) < _ROUNDING, 1.0, lengths)
    return (vectors / scales[:, None]).astype(np.float32)
