"""The service through the real SDKs and real HTTP: batches, retries, limits, breaker, budget."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import psycopg
import pytest
from pydantic import SecretStr

from seda.database.regions import RegionalDatabase
from seda.embeddings import ledger
from seda.embeddings.batching import at_once
from seda.embeddings.breaker import BreakerPolicy
from seda.embeddings.budget import Budget, Job
from seda.embeddings.ledger import Rules
from seda.embeddings.providers.cohere import CohereProvider
from seda.embeddings.providers.openai import OpenAIProvider
from seda.embeddings.providers.provider import Limits
from seda.embeddings.regional_texts import GlobalTexts
from seda.embeddings.service import EmbeddingsService, Item, ServicePolicy, Vectors, Waiting
from tests.embeddings.mock_server import KEY, MockServer

POLICY = ServicePolicy(Rules(Budget(Decimal(1500))), batch_size=64, first_backoff_seconds=0.01)


@pytest.fixture
def connection(database: RegionalDatabase) -> Iterator[psycopg.Connection]:
    with database.connect(autocommit=True) as connection:
        yield connection


@asynccontextmanager
async def _service(
    connection, mock: MockServer, *, policy=POLICY, cohere=False, **options
) -> AsyncIterator[EmbeddingsService]:
    kind, url = (CohereProvider, mock.cohere_url) if cohere else (OpenAIProvider, mock.openai_url)
    limits = options.pop("limits", None)
    provider = kind(SecretStr(KEY), url, **({"limits": limits} if limits else {}))
    yield EmbeddingsService(provider, GlobalTexts, connection, policy, "worker", **options)
    await provider.close()


async def _embed(
    service: EmbeddingsService, texts: Sequence[str], job: Job = Job.NEW_TEXT
) -> list[Vectors | Waiting]:
    items = [Item(position, text) for position, text in enumerate(texts)]
    return [outcome async for outcome in service.embed(at_once(items), job)]


def _texts(count: int) -> list[str]:
    return [f"Artist {number}. techno, house" for number in range(count)]


def _positions(outcomes, kind) -> list[int]:
    return sorted(p for outcome in outcomes if isinstance(outcome, kind) for p in outcome.positions)


def _rows(connection, what: str) -> list[tuple]:
    return connection.execute(
        f"select {what} from seda.embedding_spend order by reserved_at, id"
    ).fetchall()


async def test_each_text_gets_the_vector_of_its_own_batch(connection, mock_server) -> None:
    async with _service(connection, mock_server) as service:
        together = await _embed(service, _texts(150))
        alone = await _embed(service, [_texts(150)[149]])
    assert _positions(together, Vectors) == list(range(150))
    last = next(o for o in together if 149 in o.positions)
    np.testing.assert_array_equal(last.vectors[last.positions.index(149)], alone[0].vectors[0])
    sizes = [len(request["texts"]) for request in mock_server.requests("openai")]
    assert sorted(sizes) == [1, 22, 64, 64]


async def test_a_providers_own_batch_limit_wins(connection, mock_server) -> None:
    policy = replace(POLICY, batch_size=128)
    async with _service(connection, mock_server, policy=policy, cohere=True) as service:
        await _embed(service, _texts(100))
    assert sorted(len(r["texts"]) for r in mock_server.requests("cohere")) == [4, 96]


async def test_what_the_provider_billed_is_in_the_ledger(connection, mock_server) -> None:
    async with _service(connection, mock_server) as service:
        for outcome in await _embed(service, _texts(100)):
            ledger.settle(connection, outcome.reservation, now=service.clock())
    rows = _rows(connection, "state, job, texts, tokens, usd, outcome")
    assert {row[:2] for row in rows} == {("settled", "new_text")}
    assert sum(row[2] for row in rows) == 100
    tokens = mock_server.billed_tokens("openai")
    assert sum(row[3] for row in rows) == tokens
    assert sum(row[4] for row in rows) == pytest.approx(Decimal(tokens) * Decimal("2e-8"))


async def test_passing_errors_are_tried_again_and_each_attempt_is_a_row(
    connection, mock_server
) -> None:
    mock_server.set_profile("openai", error_rate=0.4, seed=5)
    async with _service(connection, mock_server) as service:
        outcomes = await _embed(service, _texts(640))
    assert _positions(outcomes, Vectors) == list(range(640))
    outcomes_noted = [row[0] for row in _rows(connection, "outcome")]
    assert outcomes_noted.count("ok") == 10
    assert outcomes_noted.count("server_error") == len(outcomes_noted) - 10 > 0
    assert len(outcomes_noted) == len(mock_server.requests("openai"))


async def test_it_waits_as_long_as_the_provider_asks(connection, mock_server) -> None:
    mock_server.set_profile("openai", rate_limit_rate=1.0, retry_after_seconds=1)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        mock_server.set_profile("openai")

    async with _service(connection, mock_server, sleep=sleep) as service:
        outcomes = await _embed(service, _texts(1))
    assert _positions(outcomes, Vectors) == [0]
    assert len(slept) == 1
    assert slept[0] >= 1


async def test_it_gives_up_when_the_next_attempt_would_be_too_late(connection, mock_server) -> None:
    mock_server.set_profile("openai", rate_limit_rate=1.0, retry_after_seconds=30)
    async with _service(connection, mock_server) as service:
        outcomes = await _embed(service, _texts(3))
    assert [(o.positions, o.reason) for o in outcomes] == [([0, 1, 2], "rate_limited")]
    assert len(mock_server.requests("openai")) == 1


async def test_an_answer_that_trickles_is_cut_off_at_the_deadline(connection, mock_server) -> None:
    mock_server.set_profile("openai", latency_seconds=2.0)
    policy = replace(POLICY, total_seconds=0.3)
    async with _service(connection, mock_server, policy=policy) as service:
        outcomes = await _embed(service, _texts(1))
    assert outcomes[0].reason == "timed_out"
    # It may have been billed, so it stays spent.
    assert _rows(connection, "state, outcome, usd > 0") == [("settled", "timed_out", True)]


@pytest.mark.parametrize("profile", [{"cut_rate": 1.0}, {"malformed_rate": 1.0}])
async def test_what_was_billed_and_lost_on_the_way_counts_as_spent(
    connection, mock_server, profile
) -> None:
    mock_server.set_profile("openai", **profile)
    policy = replace(POLICY, total_seconds=1.5, first_backoff_seconds=0.3)
    async with _service(connection, mock_server, policy=policy) as service:
        outcomes = await _embed(service, _texts(5))
    assert outcomes[0].reason in ("bad_answer", "timed_out")
    spent = sum(row[0] for row in _rows(connection, "tokens"))
    assert spent >= mock_server.billed_tokens("openai") > 0


async def test_one_bad_text_does_not_spoil_the_others(connection, mock_server) -> None:
    texts = [*_texts(40), "", *_texts(20)]  # OpenAI refuses an empty text, and the batch with it
    async with _service(connection, mock_server) as service:
        outcomes = await _embed(service, texts)
    assert _positions(outcomes, Waiting) == [40]
    assert _positions(outcomes, Vectors) == [p for p in range(61) if p != 40]


async def test_limits_per_minute_are_waited_for(connection, mock_server) -> None:
    clock = _Clock()
    limits = Limits(requests_per_minute=2)
    async with _service(
        connection, mock_server, clock=clock.now, sleep=clock.sleep, limits=limits
    ) as service:
        outcomes = await _embed(service, _texts(64 * 5))
    assert _positions(outcomes, Vectors) == list(range(320))
    starts = [row[0] for row in _rows(connection, "reserved_at")]
    for first, third in zip(starts, starts[2:], strict=False):
        assert third - first >= timedelta(minutes=1)


async def test_the_breaker_opens_and_the_rest_is_not_even_sent(connection, mock_server) -> None:
    mock_server.set_profile("openai", error_rate=1.0)
    breaker = BreakerPolicy(sustained=timedelta(seconds=0.05), minimum_calls=3)
    policy = replace(
        POLICY, rules=replace(POLICY.rules, breaker=breaker), total_seconds=0.3, concurrency=1
    )
    async with _service(connection, mock_server, policy=policy) as service:
        outcomes = await _embed(service, _texts(64 * 20))
    assert _positions(outcomes, Waiting) == list(range(1280))
    assert {o.reason for o in outcomes} >= {"breaker_open"}
    assert len(mock_server.requests("openai")) < 60
    log = connection.execute(
        "select from_phase, to_phase from seda.circuit_breaker_transitions"
    ).fetchall()
    assert log == [("closed", "open")]


async def test_after_an_outage_probes_close_the_breaker(connection, mock_server) -> None:
    connection.execute(
        "insert into seda.circuit_breakers (provider, phase, since) "
        "values ('openai', 'open', now() - interval '61 seconds')"
    )
    policy = replace(POLICY, concurrency=1)
    async with _service(connection, mock_server, policy=policy) as service:
        outcomes = await _embed(service, _texts(64 * 6))
    assert _positions(outcomes, Vectors) == list(range(384))
    log = connection.execute(
        "select to_phase from seda.circuit_breaker_transitions order by id"
    ).fetchall()
    assert log == [("half_open",), ("closed",)]


async def test_nothing_is_sent_beyond_the_cap(connection, mock_server) -> None:
    policy = replace(POLICY, rules=Rules(Budget(Decimal("0.0001"))), concurrency=1)
    async with _service(connection, mock_server, policy=policy) as service:
        outcomes = await _embed(service, _texts(64 * 10))
    assert {o.reason for o in outcomes if isinstance(o, Waiting)} == {"budget_stopped"}
    assert 0 < mock_server.billed_tokens("openai") * Decimal("2e-8") <= Decimal("0.0001")


async def test_a_wrong_key_waits_and_is_not_repeated(connection, mock_server) -> None:
    provider = OpenAIProvider(SecretStr("sk-wrong"), mock_server.openai_url)
    mock_server.set_profile("openai", revoked=True)
    service = EmbeddingsService(provider, GlobalTexts, connection, POLICY, "worker")
    outcomes = await _embed(service, _texts(2))
    await provider.close()
    assert [o.reason for o in outcomes] == ["unauthorised"]
    assert len(mock_server.requests("openai")) == 1


async def test_who_stops_listening_cancels_what_is_under_way(connection, mock_server) -> None:
    mock_server.set_profile("openai", latency_seconds=0.2)
    async with _service(connection, mock_server) as service:
        items = [Item(position, text) for position, text in enumerate(_texts(64 * 8))]
        outcomes = service.embed(at_once(items), Job.NEW_TEXT)
        await anext(outcomes)
        await outcomes.aclose()
    # What was sent and never answered is settled at its most when it expires.
    states = {row[0] for row in _rows(connection, "state")}
    assert states <= {"sent", "reserved"}
    ledger.expire(connection, now=service.clock() + ledger.LIFETIME)
    assert {row[0] for row in _rows(connection, "state")} <= {"settled", "released"}


class _Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self._now = datetime(2026, 11, 10, tzinfo=UTC)

    def now(self) -> datetime:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        await asyncio.sleep(0)
