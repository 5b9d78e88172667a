"""Cohere, the standby of the global region, with a space of its own."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import SecretStr

from seda.embeddings.prices import usd_per_million_tokens
from seda.embeddings.providers.failures import (
    bad_answer,
    error_of_status,
    failure_of_transport,
    require_own,
    require_url,
    require_usable,
    whole_tokens,
)
from seda.embeddings.providers.openai_endpoint import utc_now
from seda.embeddings.providers.provider import (
    CONNECT_SECONDS,
    READ_SECONDS,
    Embedded,
    Limits,
    ProviderError,
    unit_rows,
    vector_of,
)
from seda.embeddings.regional_texts import GlobalTexts
from seda.embeddings.spaces import EmbeddingSpace

if TYPE_CHECKING:
    from cohere import AsyncClientV2

MODEL = "embed-v4.0"
SPACE = EmbeddingSpace("cohere", MODEL, 1536, "1", "global")
BASE_URL = "https://api.cohere.com"
_BATCH = 96
_TEXTS_PER_MINUTE = 2_000
# Cohere counts texts, not requests: so many full batches stay below its limit.
LIMITS = Limits(batch_size=_BATCH, requests_per_minute=_TEXTS_PER_MINUTE // _BATCH)


class CohereProvider:
    """A `Provider[GlobalTexts]` on `embed-v4.0`.

    Raises:
        UnusableKeyError, UnusableUrlError: on construction.
    """

    name = "cohere"
    space = SPACE

    def __init__(
        self,
        api_key: SecretStr,
        base_url: str | None = None,
        *,
        limits: Limits = LIMITS,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        # Here, and not in the first request: the import takes most of a second.
        import cohere  # noqa: F401

        self.limits = limits
        self._key = require_usable(api_key, "COHERE_API_KEY")
        self._base_url = require_url(base_url or BASE_URL, "SEDA_COHERE_BASE_URL")
        self._now = now
        self._client: AsyncClientV2 | None = None
        self._close: Callable[[], Any] | None = None

    @property
    def usd_per_million_tokens(self) -> Decimal:
        """The price list's."""
        return usd_per_million_tokens(MODEL)

    async def embed(self, texts: GlobalTexts) -> Embedded:
        """One request; `Provider.embed` says what it raises."""
        require_own(texts, GlobalTexts, self.name)
        try:
            response = await self._connected().embed(
                model=MODEL,
                texts=list(texts.texts),
                # Vectors are only ever compared with each other: all are documents.
                input_type="search_document",
                output_dimension=SPACE.dim,
                # As numbers, the SDK takes a second of its processor to look at a batch.
                embedding_types=["base64"],
            )
        except Exception as problem:
            error = self._error_of(problem)
        else:
            return self._read(response, len(texts.texts))
        raise error

    async def close(self) -> None:
        """Let go of the connections; the next request makes new ones."""
        close, self._close, self._client = self._close, None, None
        if close is not None:
            await close()

    def _connected(self) -> "AsyncClientV2":
        if self._client is None:
            import httpx
            from cohere import AsyncClientV2

            transport = httpx.AsyncClient(
                timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
            )
            self._close = transport.aclose
            self._client = AsyncClientV2(
                self._key,
                base_url=self._base_url,
                max_retries=0,
                httpx_client=transport,
                log_warning_experimental_features=False,
            )
        return self._client

    def _error_of(self, problem: Exception) -> ProviderError:
        import httpx
        from cohere.core.api_error import ApiError

        if isinstance(problem, ApiError) and problem.status_code not in (None, 200):
            body = problem.body if isinstance(problem.body, dict) else {}
            return error_of_status(
                self.name,
                problem.status_code,
                problem.headers or {},
                self._now(),
                message=body.get("message"),
                key=self._key,
            )
        if isinstance(problem, httpx.TransportError):
            failure = failure_of_transport(problem, httpx)
            return ProviderError(self.name, failure, type(problem).__name__)
        return bad_answer(self.name, f"unreadable: {type(problem).__name__}")

    def _read(self, response: Any, rows: int) -> Embedded:
        try:
            matrix = np.array([vector_of(sent) for sent in response.embeddings.base64], np.float32)
            tokens = response.meta.billed_units.input_tokens
        except (AttributeError, TypeError, ValueError) as problem:
            error = bad_answer(self.name, f"not an answer: {type(problem).__name__}")
        else:
            units = unit_rows(self.name, matrix, rows=rows, dim=SPACE.dim)
            return Embedded(units, whole_tokens(self.name, tokens))
        raise error
