"""OpenAI, the primary provider of the global region."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from pydantic import SecretStr

from seda.embeddings.prices import usd_per_million_tokens
from seda.embeddings.providers.failures import require_own, require_url, require_usable
from seda.embeddings.providers.openai_endpoint import OpenAIEndpoint, utc_now
from seda.embeddings.providers.provider import Embedded, Limits
from seda.embeddings.regional_texts import GlobalTexts
from seda.embeddings.spaces import EmbeddingSpace

MODEL = "text-embedding-3-small"
SPACE = EmbeddingSpace("openai", MODEL, 1536, "1", "global")
BASE_URL = "https://api.openai.com/v1"
# What OpenAI gives this model in usage tier 1, the lowest that pays.
LIMITS = Limits(batch_size=None, requests_per_minute=3_000, tokens_per_minute=1_000_000)


class OpenAIProvider:
    """A `Provider[GlobalTexts]` on `text-embedding-3-small`.

    Raises:
        UnusableKeyError, UnusableUrlError: on construction.
    """

    name = "openai"
    space = SPACE

    def __init__(
        self,
        api_key: SecretStr,
        base_url: str | None = None,
        *,
        limits: Limits = LIMITS,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        key = require_usable(api_key, "OPENAI_API_KEY")
        self.limits = limits
        url = require_url(base_url or BASE_URL, "SEDA_OPENAI_BASE_URL")
        self._endpoint = OpenAIEndpoint(self.name, key, url, MODEL, now)

    @property
    def usd_per_million_tokens(self) -> Decimal:
        """The price list's."""
        return usd_per_million_tokens(MODEL)

    async def embed(self, texts: GlobalTexts) -> Embedded:
        """One request; `Provider.embed` says what it raises."""
        require_own(texts, GlobalTexts, self.name)
        answer = await self._endpoint.embed(texts.texts, SPACE.dim)
        return answer.embedded

    async def close(self) -> None:
        """Let go of the connections; the next request makes new ones."""
        await self._endpoint.close()
