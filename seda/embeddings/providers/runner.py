"""The EU region's own endpoint: our `seda embed-server`, or any that speaks OpenAI's format."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from pydantic import SecretStr

from seda.embeddings.providers.failures import (
    bad_answer,
    require_own,
    require_url,
    require_usable,
)
from seda.embeddings.providers.openai_endpoint import OpenAIEndpoint, utc_now
from seda.embeddings.providers.provider import Embedded, Limits, ProviderError
from seda.embeddings.regional_texts import EuTexts
from seda.embeddings.spaces import EmbeddingSpace

HASHED_WORDS = "hashed-words"
# The SDK insists on a key; a runner without one of its own looks at none.
_NO_KEY = "none"


def runner_space(model: str, dim: int, version: str) -> EmbeddingSpace:
    """The space of a model on the runner.

    `hashed-words` gives the same bits wherever it runs, so there it is the local embedder's space:
    a region may move from one to the other without embedding anything again.
    """
    computed_by = "local" if model == HASHED_WORDS else "sentence-transformers"
    return EmbeddingSpace(computed_by, model, dim, version, "eu")


class RunnerProvider:
    """A `Provider[EuTexts]` that costs nothing and, by default, limits nothing.

    Raises:
        UnusableKeyError, UnusableUrlError, InvalidSpaceError: on construction.
    """

    name = "runner"
    usd_per_million_tokens = Decimal(0)

    def __init__(
        self,
        base_url: str,
        model: str,
        dim: int,
        version: str,
        *,
        api_key: SecretStr | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        key = _NO_KEY if api_key is None else require_usable(api_key, "SEDA_EU_EMBEDDER_API_KEY")
        self.space = runner_space(model, dim, version)
        self.limits = limits
        url = require_url(base_url, "SEDA_EU_EMBEDDER_URL")
        self._endpoint = OpenAIEndpoint(self.name, key, url, model, now)

    async def embed(self, texts: EuTexts) -> Embedded:
        """One request; `Provider.embed` says what it raises.

        An answer of another model, version or length is a BAD_ANSWER: it would be of another space.
        """
        require_own(texts, EuTexts, self.name)
        answer = await self._endpoint.embed(texts.texts, self.space.dim)
        if answer.model != self.space.model:
            raise self._other("model", answer.model, self.space.model, "SEDA_EU_EMBEDDER_MODEL")
        if answer.version not in (None, self.space.version):
            raise self._other(
                "version", answer.version, self.space.version, "SEDA_EU_EMBEDDER_VERSION"
            )
        return answer.embedded

    async def close(self) -> None:
        """Let go of the connections; the next request makes new ones."""
        await self._endpoint.close()

    def _other(self, what: str, got: object, expected: str, setting: str) -> ProviderError:
        return bad_answer(
            self.name,
            f"it serves the {what} {got!r} and not {expected!r}: correct {setting} or the runner, "
            "for another one makes another space",
        )
