"""`seda mock-providers`: prints what to copy, misbehaves as told, stops at Ctrl-C."""

import json
import os
import socket
from pathlib import Path

import httpx
import pytest

from seda.embeddings.providers.openai import OpenAIProvider
from seda.embeddings.providers.provider import Failure, ProviderError
from seda.embeddings.regional_texts import GlobalTexts
from seda.settings import Settings
from tests.cli.cli_runs import Seda, sentence
from tests.cli.server_runs import serving


async def test_the_printed_settings_lead_a_provider_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path, "mock-providers", "--port", 0) as printed:
        for name, value in printed.items():
            monkeypatch.setitem(os.environ, name, value)
        settings = Settings(_env_file=None)
        assert settings.openai_api_key is not None
        provider = OpenAIProvider(settings.openai_api_key, settings.openai_base_url)
        embedded = await provider.embed(GlobalTexts(("Sade",)))
        await provider.close()

    assert embedded.vectors.shape == (1, 1536)


async def test_a_file_of_profiles_is_followed(tmp_path: Path) -> None:
    (tmp_path / "drill.json").write_text(json.dumps({"openai": {"error_rate": 1}}))

    with serving(tmp_path, "mock-providers", "--port", 0, "--profile", "drill.json") as printed:
        key = Settings(_env_file=None, openai_api_key="sk-mock").openai_api_key
        assert key is not None
        provider = OpenAIProvider(key, printed["SEDA_OPENAI_BASE_URL"])
        with pytest.raises(ProviderError) as caught:
            await provider.embed(GlobalTexts(("Sade",)))
        await provider.close()

    assert caught.value.failure is Failure.SERVER_ERROR


def test_options_hold_for_every_provider(tmp_path: Path) -> None:
    with serving(tmp_path, "mock-providers", "--port", 0, "--error-rate", 1) as printed:
        url = f"{printed['SEDA_COHERE_BASE_URL']}/v2/embed"
        body = {"model": "embed-v4.0", "texts": ["x"], "input_type": "search_document"}
        answer = httpx.post(url, json=body, headers={"authorization": "Bearer x"}, trust_env=False)

    assert answer.status_code == 500


def test_production_is_refused(seda: Seda) -> None:
    assert "SEDA_ENV is production" in sentence(seda("mock-providers", SEDA_ENV="production"))


def test_a_busy_port_and_unusable_profiles_are_sentences(seda: Seda, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        said = sentence(seda("mock-providers", SEDA_MOCK_PROVIDERS_PORT=port))
    assert said.endswith("stop what listens there or set SEDA_MOCK_PROVIDERS_PORT.")
    assert "error_rate is a share" in sentence(seda("mock-providers", "--error-rate", 7))
    assert "cannot be read" in sentence(seda("mock-providers", "--profile", "missing.json"))
