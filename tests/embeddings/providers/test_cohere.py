"""Cohere through its SDK."""

from decimal import Decimal
from typing import Any

import numpy as np

from seda.embeddings.providers.cohere import CohereProvider
from seda.embeddings.providers.provider import Limits
from seda.embeddings.regional_texts import EuTexts, GlobalTexts
from seda.embeddings.spaces import EmbeddingSpace
from seda.sandbox.mock_providers.wire import vectors_of
from tests.embeddings.mock_server import KEY, MockServer
from tests.embeddings.providers.hosted_contract import TEXTS, HostedProviderContract, secret


class TestCohere(HostedProviderContract):
    name = "cohere"
    space = EmbeddingSpace("cohere", "embed-v4.0", 1536, "1", "global")
    price = Decimal("0.12")
    limits = Limits(96, 20, None)
    largest_batch = 96
    own = GlobalTexts
    foreign = EuTexts

    def make(self, url: str, key: str = KEY, **options: Any) -> CohereProvider:
        return CohereProvider(secret(key), url, **options)

    def url(self, mock: MockServer) -> str:
        return mock.cohere_url


def test_its_space_has_nothing_to_do_with_openais() -> None:
    ours, theirs = (vectors_of(name, TEXTS, 1536) for name in ("cohere", "openai"))

    np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, atol=1e-6)
    assert np.abs(ours @ theirs.T).max() < 0.2
