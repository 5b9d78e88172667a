"""The mock providers behave like the real ones, fail as told, and remember what reached them."""

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from seda.sandbox.mock_providers.app import create_app
from seda.sandbox.mock_providers.profiles import FailureProfile, InvalidProfileError, Outage
from tests.cli.cli_runs import clean_environment, run_seda, sentence

QUESTION = {"model": "text-embedding-3-small", "input": ["a", "b"]}
DOCUMENTS = {
    "model": "embed-v4.0",
    "texts": ["a", "b"],
    "input_type": "search_document",
    "embedding_types": ["float"],
    "output_dimension": 1536,
}
AUTHORISED = {"Authorization": "Bearer sk-test"}


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
async def client(clock):
    transport = httpx.ASGITransport(create_app(clock=clock))
    async with httpx.AsyncClient(transport=transport, base_url="http://mock") as client:
        yield client


async def _openai(client, **more) -> httpx.Response:
    return await client.post("/openai/v1/embeddings", json=QUESTION | more, headers=AUTHORISED)


async def test_it_answers_in_both_wire_formats_with_spaces_of_their_own(client) -> None:
    one = (await _openai(client)).json()
    other = (await client.post("/cohere/v2/embed", json=DOCUMENTS, headers=AUTHORISED)).json()
    first, second = one["data"][0]["embedding"], other["embeddings"]["float"][0]
    assert (len(first), len(second)) == (1536, 1536)
    assert first != pytest.approx(second)
    assert one["usage"]["total_tokens"] == other["meta"]["billed_units"]["input_tokens"] > 0
    assert (await _openai(client)).json()["data"] == one["data"]


async def test_without_a_key_it_is_401_and_a_batch_too_large_is_400(client) -> None:
    assert (await client.post("/openai/v1/embeddings", json=QUESTION)).status_code == 401
    assert (await _openai(client, input=["a"] * 2049)).status_code == 400
    many = DOCUMENTS | {"texts": ["a"] * 97}
    refused = await client.post("/cohere/v2/embed", json=many, headers=AUTHORISED)
    assert refused.status_code == 400
    assert "message" in refused.json()


async def test_an_outage_begins_and_ends_when_it_was_told_to(client, clock) -> None:
    profile = {"outages": [{"start": 10, "end": 20}]}
    assert (await client.put("/control/openai", json=profile)).status_code == 200
    seen = []
    for now in (0, 9.9, 10, 19.9, 20):
        clock.now = now
        seen.append((await _openai(client)).status_code)
    assert seen == [200, 200, 503, 503, 200]


async def test_a_hard_limit_says_when_to_come_back(client, clock) -> None:
    await client.put("/control/openai", json={"requests_per_minute": 2})
    for now in (0, 20):
        clock.now = now
        assert (await _openai(client)).status_code == 200
    clock.now = 30
    refused = await _openai(client)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "30")
    clock.now = 60
    assert (await _openai(client)).status_code == 200


async def test_the_same_seed_fails_the_same_requests(client) -> None:
    async def pattern(seed: int) -> list[int]:
        await client.put("/control/openai", json={"error_rate": 0.5, "seed": seed})
        return [(await _openai(client)).status_code for _ in range(20)]

    first = await pattern(1)
    assert await pattern(1) == first
    assert await pattern(2) != first
    assert set(first) == {200, 500}


async def test_it_remembers_what_reached_it_and_what_was_billed(client) -> None:
    await _openai(client)
    await client.put("/control/openai", json={"error_rate": 1.0})
    await _openai(client)
    served, failed = (await client.get("/control/requests")).json()
    assert served["texts"] == failed["texts"] == ["a", "b"]
    assert served["billed_tokens"] > 0
    assert failed["billed_tokens"] == 0
    await client.delete("/control/requests")
    assert (await client.get("/control/requests")).json() == []


async def test_a_profile_that_cannot_be_is_refused_and_changes_nothing(client) -> None:
    for wrong in ({"error_rate": 2}, {"latency_seconds": -1}, {"nonsense": 1}):
        assert (await client.put("/control/openai", json=wrong)).status_code == 422
    assert (await _openai(client)).status_code == 200
    with pytest.raises(InvalidProfileError):
        FailureProfile(cut_rate=1.5)
    assert Outage(0, 1).end == 1


def test_the_command_prints_settings_to_copy_and_stops_on_ctrl_c(tmp_path: Path) -> None:
    command = [Path(sys.executable).with_name("seda"), "mock-providers", "--port", "0"]
    mock = subprocess.Popen(
        command, env=clean_environment(SEDA_HOME=tmp_path), stdout=subprocess.PIPE, text=True
    )
    lines = [mock.stdout.readline().strip() for _ in range(7)]
    told = dict(line.split("=", 1) for line in lines[1:6])
    answer = httpx.post(f"{told['SEDA_OPENAI_BASE_URL']}/embeddings", json=QUESTION,
                        headers={"Authorization": f"Bearer {told['OPENAI_API_KEY']}"})  # fmt: skip
    mock.send_signal(signal.SIGINT)
    assert mock.wait(timeout=30) == 0
    assert answer.status_code == 200


def test_it_does_not_run_in_production_or_with_an_unreadable_profile(tmp_path: Path) -> None:
    refused = run_seda(tmp_path, "mock-providers", SEDA_ENV="production")
    assert "production" in sentence(refused)
    missing = run_seda(tmp_path, "mock-providers", "--profile", tmp_path / "none.json")
    assert "cannot be read" in sentence(missing)
