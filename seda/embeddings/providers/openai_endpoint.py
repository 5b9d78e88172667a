"""An endpoint that speaks OpenAI's wire format, through OpenAI's SDK: one request per call.

OpenAI itself and the EU runner are such endpoints; whose texts may go there is theirs to check.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from seda.embeddings.providers.failures import (
    bad_answer,
    error_of_status,
    failure_of_transport,
    whole_tokens,
)
from seda.embeddings.providers.provider import (
    CONNECT_SECONDS,
    READ_SECONDS,
    Embedded,
    ProviderError,
    unit_rows,
    vector_of,
)

if TYPE_CHECKING:
    from openai import AsyncOpenAI


def utc_now() -> datetime:
    """The time of day, which an HTTP date is compared with."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Answer:
    """Unit vectors in the order of the texts with their tokens, and what computed them."""

    embedded: Embedded
    model: object
    version: object
    """Only our own runner names one."""


class OpenAIEndpoint:
    """Texts to vectors of one model at one base URL; it connects when it is first used.

    After `close` it can be used again, on another event loop too.
    """

    def __init__(
        self, provider: str, key: str, base_url: str, model: str, now: Callable[[], datetime]
    ) -> None:
        # Here, and not in the first request: the import takes most of a second.
        import openai  # noqa: F401

        self._provider = provider
        self._key = key
        self._base_url = base_url
        self._model = model
        self._now = now
        self._client: AsyncOpenAI | None = None

    async def embed(self, texts: Sequence[str], dim: int) -> Answer:
        """One request; `Provider.embed` says what it raises."""
        try:
            response: Any = await self._connected().embeddings.create(
                # Named, so that the SDK leaves the decoding, and its errors, to us.
                model=self._model, input=list(texts), encoding_format="base64",
            )  # fmt: skip
        except Exception as problem:
            error = self._error_of(problem)
        else:
            return self._read(response, len(texts), dim)
        raise error

    async def close(self) -> None:
        """Let go of the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _connected(self) -> "AsyncOpenAI":
        if self._client is None:
            import httpx2
            from openai import AsyncOpenAI, DefaultAsyncHttpxClient

            timeout = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
            self._client = AsyncOpenAI(
                api_key=self._key,
                base_url=self._base_url,
                timeout=timeout,
                max_retries=0,
                # A redirect would carry the texts to an endpoint that nobody configured.
                http_client=DefaultAsyncHttpxClient(timeout=timeout, follow_redirects=False),
            )
        return self._client

    def _error_of(self, problem: Exception) -> ProviderError:
        import httpx2
        import openai

        if isinstance(problem, openai.APIStatusError):
            body = problem.body if isinstance(problem.body, dict) else {}
            return error_of_status(
                self._provider,
                problem.status_code,
                problem.response.headers,
                self._now(),
                message=body.get("message"),
                code=body.get("code"),
                key=self._key,
            )
        if isinstance(problem, openai.APIConnectionError) and problem.__cause__ is not None:
            cause = problem.__cause__
            failure = failure_of_transport(cause, httpx2)
            return ProviderError(self._provider, failure, type(cause).__name__)
        return bad_answer(self._provider, f"unreadable: {type(problem).__name__}")

    def _read(self, response: Any, rows: int, dim: int) -> Answer:
        try:
            data = [(each.index, each.embedding) for each in response.data]
            vectors = [vector_of(embedding) for _, embedding in data]
            order = sorted(range(len(data)), key=lambda position: data[position][0])
            indices = [data[position][0] for position in order]
            matrix = np.array([vectors[position] for position in order], np.float32)
            tokens, model = response.usage.total_tokens, response.model
        except (AttributeError, TypeError, ValueError) as problem:
            error = bad_answer(self._provider, f"not an answer: {type(problem).__name__}")
        else:
            if indices != list(range(rows)):
                raise bad_answer(self._provider, f"{len(indices)} vectors for {rows} texts")
            units = unit_rows(self._provider, matrix, rows=rows, dim=dim)
            embedded = Embedded(units, whole_tokens(self._provider, tokens))
            return Answer(embedded, model, getattr(response, "version", None))
        raise error
