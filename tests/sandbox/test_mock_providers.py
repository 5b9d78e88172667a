"""The mock providers: real wire formats, failures on demand, and a record of what arrived."""

import base64
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seda.sandbox.mock_providers.app import COHERE, OPENAI
from seda.sandbox.mock_providers.profiles import (
    FailureProfile,
    InvalidProfileError,
    Outage,
    Outcome,
    fate_of,
    profiles_of,
)
from seda.sandbox.mock_providers.service import MockProvider
from seda.sandbox.mock_providers.wire import WireFormat, tokens_of, vectors_of
from tests.embeddings.mock_server import KEY, MockServer, mock_server, mock_service

__all__ = ["mock_server", "mock_service"]

TEXTS = ["Björk. art pop", "Sade. soul"]
OPENAI_BODY = {"model": "text-embedding-3-small", "input": TEXTS}
COHERE_BODY = {"model": "embed-v4.0", "texts": TEXTS, "input_type": "search_document"}


def _post(url: str, body: object, *, key: str | None = KEY) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.post(url, json=body, headers=headers, trust_env=False)


def _openai(mock: MockServer, **changes: Any) -> httpx.Response:
    return _post(f"{mock.openai_url}/embeddings", OPENAI_BODY | changes)


def _cohere(mock: MockServer, **changes: Any) -> httpx.Response:
    return _post(f"{mock.cohere_url}/v2/embed", COHERE_BODY | changes)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def _provider(
    clock: Clock, profile: FailureProfile, wire_format: WireFormat = OPENAI
) -> MockProvider:
    return MockProvider(wire_format, [], clock, lambda: datetime(2026, 11, 24, tzinfo=UTC), profile)


def _outcomes(provider: MockProvider, requests: int) -> list[Outcome]:
    body = orjson.dumps(OPENAI_BODY)
    return [provider.handle(KEY, body).recorded.outcome for _ in range(requests)]


def test_openai_answers_floats_or_base64_of_the_same_vectors(mock_server: MockServer) -> None:
    floats = _openai(mock_server).json()
    encoded = _openai(mock_server, encoding_format="base64").json()

    assert floats["object"] == "list"
    assert [row["index"] for row in floats["data"]] == [0, 1]
    assert floats["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    for plain, packed in zip(floats["data"], encoded["data"], strict=True):
        raw = base64.b64decode(packed["embedding"])
        np.testing.assert_array_equal(
            np.frombuffer(raw, "<f4"), np.array(plain["embedding"], np.float32)
        )


def test_a_string_is_one_text_and_dimensions_are_obeyed(mock_server: MockServer) -> None:
    answer = _openai(mock_server, input="Sade", dimensions=64).json()

    assert [len(row["embedding"]) for row in answer["data"]] == [64]


def test_cohere_answers_by_type_with_what_it_bills(mock_server: MockServer) -> None:
    answer = _cohere(mock_server, embedding_types=["float"], output_dimension=256).json()

    assert [len(vector) for vector in answer["embeddings"]["float"]] == [256, 256]
    assert answer["meta"]["billed_units"] == {"input_tokens": 7}


@pytest.mark.parametrize(
    ("changes", "status", "message", "code"),
    [
        ({"input": ["x"] * 2_049}, 400, "maximum length 2048", "array_above_max_length"),
        ({"input": ["x" * 30_000] * 41}, 400, "max 300000 tokens", "max_tokens_per_request"),
        ({"input": ["x" * 40_000]}, 400, "maximum context length is 8192", None),
        ({"input": []}, 400, "'$.input' is invalid", None),
        ({"input": [""]}, 400, "empty string", None),
        ({"dimensions": 1_537}, 400, "dimensions", None),
        ({"encoding_format": "int8"}, 400, "'float' and 'base64'", "invalid_value"),
        ({"model": "gpt-9"}, 404, "does not exist", "model_not_found"),
    ],
)
def test_what_openai_refuses(
    mock_server: MockServer, changes: dict[str, Any], status: int, message: str, code: str | None
) -> None:
    answer = _openai(mock_server, **changes)

    assert answer.status_code == status
    assert message in answer.json()["error"]["message"]
    assert answer.json()["error"]["code"] == code


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"texts": ["x"] * 97}, 400, "total number of texts must be at most 96 - received 97"),
        ({"texts": []}, 400, "valid texts"),
        ({"input_type": None}, 400, "input_type"),
        ({"output_dimension": 100}, 400, "output_dimension"),
        ({"embedding_types": ["int8"]}, 400, "embedding_types"),
        ({"model": "embed-v9"}, 404, "not found"),
    ],
)
def test_what_cohere_refuses(
    mock_server: MockServer, changes: dict[str, Any], status: int, message: str
) -> None:
    answer = _cohere(mock_server, **changes)

    assert answer.status_code == status
    assert message in answer.json()["message"]


def test_without_a_key_nothing_is_served_but_what_was_sent_is_recorded(
    mock_server: MockServer,
) -> None:
    openai = _post(f"{mock_server.openai_url}/embeddings", OPENAI_BODY, key=None)
    cohere = _post(f"{mock_server.cohere_url}/v2/embed", COHERE_BODY, key=None)

    assert (openai.status_code, openai.json()["error"]["code"]) == (401, "invalid_api_key")
    assert (cohere.status_code, cohere.json()) == (401, {"message": "invalid api token"})
    assert mock_server.texts("openai") == mock_server.texts("cohere") == TEXTS
    assert mock_server.billed_tokens("openai") == 0


def test_a_refused_request_is_recorded_with_its_texts(mock_server: MockServer) -> None:
    _cohere(mock_server, texts=["x"] * 97)

    (request,) = mock_server.requests("cohere")
    assert (request["outcome"], request["billed_tokens"]) == ("refused", 0)
    assert len(request["texts"]) == 97


def test_an_answer_that_is_cut_was_billed(mock_server: MockServer) -> None:
    mock_server.set_profile("openai", cut_rate=1)

    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message"):
        _openai(mock_server)

    assert mock_server.billed_tokens("openai") == tokens_of(tuple(TEXTS))


def test_the_models_are_listed(mock_server: MockServer) -> None:
    listed = httpx.get(f"{mock_server.openai_url}/models", trust_env=False).json()

    assert [model["id"] for model in listed["data"]] == ["text-embedding-3-small"]


def test_the_control_plane_shows_what_it_was_told_and_refuses_nonsense(
    mock_server: MockServer,
) -> None:
    control = f"{mock_server.url}/control"
    mock_server.set_profile("cohere", error_rate=0.25, outages=[{"start": 1, "end": 2}])

    shown = httpx.get(f"{control}/cohere", trust_env=False).json()
    assert (shown["error_rate"], shown["outages"]) == (0.25, [{"start": 1, "end": 2}])
    for profile in ({"error_rate": 2}, {"errorrate": 0.1}, {"outages": [{"start": 1}]}):
        refused = httpx.put(f"{control}/cohere", json=profile, trust_env=False)
        assert refused.status_code == 422, refused.text
    assert httpx.get(f"{control}/nobody", trust_env=False).status_code == 404
    assert httpx.get(f"{control}/cohere", trust_env=False).json() == shown


def test_a_minutes_requests_are_limited_and_the_answer_says_when_to_come_back() -> None:
    clock = Clock()
    provider = _provider(clock, FailureProfile(requests_per_minute=2))
    body = orjson.dumps(OPENAI_BODY)

    assert _outcomes(provider, 2) == [Outcome.SERVED] * 2
    clock.seconds += 12.5
    refused = provider.handle(KEY, body)
    assert (refused.status, refused.headers["retry-after"]) == (429, "48")
    clock.seconds += 47.5
    assert _outcomes(provider, 3) == [Outcome.SERVED] * 2 + [Outcome.RATE_LIMITED]


def test_retry_after_can_be_a_date() -> None:
    profile = FailureProfile(rate_limit_rate=1, retry_after_seconds=90, retry_after_as_date=True)

    answer = _provider(Clock(), profile, COHERE).handle(KEY, orjson.dumps(COHERE_BODY))

    assert answer.headers["retry-after"] == "Tue, 24 Nov 2026 00:01:30 GMT"


def test_an_outage_starts_and_ends_counted_from_the_profile() -> None:
    clock = Clock()
    provider = _provider(clock, FailureProfile(outages=(Outage(10, 20),)))

    seen = []
    for _ in range(4):
        seen += _outcomes(provider, 1)
        clock.seconds += 7
    assert seen == [Outcome.SERVED, Outcome.SERVED, Outcome.OUTAGE, Outcome.SERVED]

    provider.behave(FailureProfile(outages=(Outage(0, 1),)))
    assert _outcomes(provider, 1) == [Outcome.OUTAGE]


def test_shares_are_met_and_the_same_seed_fails_the_same_requests() -> None:
    profile = FailureProfile(
        error_rate=0.1, rate_limit_rate=0.05, slow_share=0.08, slow_latency_seconds=1.5
    )
    fates = [fate_of(profile, number, 0) for number in range(20_000)]

    assert fates == [fate_of(profile, number, 0) for number in range(20_000)]
    errors = sum(fate.outcome is Outcome.ERROR for fate in fates) / len(fates)
    latencies = [fate.latency_seconds for fate in fates]
    assert errors == pytest.approx(0.095, abs=0.01)
    assert np.percentile(latencies, [90, 95]).tolist() == [0.0, 1.5]


@given(st.integers(0, 10_000), st.integers(0, 99), st.floats(0, 1))
def test_another_rate_moves_no_other_failure(number: int, seed: int, rate: float) -> None:
    before = fate_of(FailureProfile(error_rate=0.3, seed=seed), number, 0)
    after = fate_of(FailureProfile(error_rate=0.3, cut_rate=rate, seed=seed), number, 0)

    assert (before.outcome is Outcome.ERROR) == (after.outcome is Outcome.ERROR)


def test_each_provider_has_a_space_of_its_own_and_the_same_bits_every_time() -> None:
    texts = tuple(TEXTS)

    np.testing.assert_array_equal(
        vectors_of("openai", texts, 1536), vectors_of("openai", texts, 1536)
    )
    assert not np.array_equal(vectors_of("openai", texts, 1536), vectors_of("cohere", texts, 1536))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b'{"tidal": {}}',
            "no provider 'tidal': the providers are openai, cohere, runner, spotify",
        ),
        (b'{"openai": {"cut": 1}}', r"cannot be used: openai\.cut"),
        (b'{"openai": {"cut_rate": 1.5}}', "cut_rate is a share between 0 and 1; got 1.5"),
        (b"{", "cannot be used"),
    ],
)
def test_a_file_of_profiles_that_cannot_be_followed(content: bytes, said: str) -> None:
    with pytest.raises(InvalidProfileError, match=said):
        profiles_of(content)
