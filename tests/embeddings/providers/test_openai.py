"""OpenAI through its SDK."""

from decimal import Decimal
from typing import Any

import numpy as np

from seda.embeddings.providers.openai import OpenAIProvider
from seda.embeddings.providers.provider import Failure, Limits
from seda.embeddings.regional_texts import EuTexts, GlobalTexts
from seda.embeddings.spaces import EmbeddingSpace
from tests.embeddings.mock_server import KEY, MockServer
from tests.embeddings.providers.hosted_contract import TEXTS, HostedProviderContract, secret


class TestOpenAI(HostedProviderContract):
    name = "openai"
    space = EmbeddingSpace("openai", "text-embedding-3-small", 1536, "1", "global")
    price = Decimal("0.02")
    limits = Limits(None, 3_000, 1_000_000)
    largest_batch = 2_048
    own = GlobalTexts
    foreign = EuTexts

    def make(self, url: str, key: str = KEY, **options: Any) -> OpenAIProvider:
        return OpenAIProvider(secret(key), url, **options)

    def url(self, mock: MockServer) -> str:
        return mock.openai_url

    async def test_vectors_are_put_into_the_order_of_the_texts(
        self, mock_server: MockServer
    ) -> None:
        provider = self.make(self.url(mock_server))
        in_order = await provider.embed(GlobalTexts(TEXTS))
        mock_server.set_profile("openai", out_of_order=True)

        shuffled = await provider.embed(GlobalTexts(TEXTS))
        await provider.close()

        np.testing.assert_array_equal(shuffled.vectors, in_order.vectors)

    async def test_a_text_that_it_does_not_take_is_refused_in_its_own_words(
        self, mock_server: MockServer
    ) -> None:
        error = await self.failing(self.make(self.url(mock_server)), ("",))

        assert error.failure is Failure.REFUSED
        assert "empty string" in str(error)


def test_without_a_base_url_it_is_openai_whatever_the_environment_says(monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere.invalid/v1")

    provider = OpenAIProvider(secret(KEY))

    assert str(provider._endpoint._connected().base_url) == "https://api.openai.com/v1/"
