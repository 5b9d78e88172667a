"""The EU region's own endpoint, through OpenAI's SDK."""

from decimal import Decimal
from typing import Any

import pytest

from seda.embeddings.providers.provider import Failure, Limits
from seda.embeddings.providers.runner import RunnerProvider, runner_space
from seda.embeddings.regional_texts import EuTexts, GlobalTexts
from seda.embeddings.spaces import EmbeddingSpace
from tests.embeddings.mock_server import KEY, MockServer
from tests.embeddings.providers.hosted_contract import HostedProviderContract, secret


class TestRunner(HostedProviderContract):
    name = "runner"
    space = EmbeddingSpace("local", "hashed-words", 1536, "1", "eu")
    price = Decimal(0)
    limits = Limits()
    largest_batch = 2_048
    own = EuTexts
    foreign = GlobalTexts

    def make(self, url: str, key: str = KEY, **options: Any) -> RunnerProvider:
        given = {"model": "hashed-words", "dim": 1536, "version": "1"} | options
        return RunnerProvider(url, api_key=secret(key), **given)

    def url(self, mock: MockServer) -> str:
        return mock.runner_url

    @pytest.mark.parametrize(
        ("expected", "named"),
        [({"dim": 384}, "384"), ({"model": "text-embedding-3-small"}, "does not exist")],
    )
    async def test_another_model_than_expected_gives_no_vectors(
        self, mock_server: MockServer, expected: dict[str, Any], named: str
    ) -> None:
        error = await self.failing(self.make(self.url(mock_server), **expected))

        assert error.failure in (Failure.BAD_ANSWER, Failure.REFUSED)
        assert named in str(error)


def test_a_real_models_space_is_its_own() -> None:
    assert runner_space("minilm", 384, "6fceb34132ad").id == (
        "sentence-transformers:minilm:384:6fceb34132ad:eu"
    )
