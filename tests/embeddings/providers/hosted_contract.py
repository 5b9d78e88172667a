"""What every provider over HTTP must do; each one's tests inherit this battery."""

import asyncio
import logging
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from seda.embeddings.providers.failures import UnusableKeyError, UnusableUrlError
from seda.embeddings.providers.provider import Failure, Limits, Provider, ProviderError
from seda.embeddings.regional_texts import EuTexts, ForeignTextError, GlobalTexts
from seda.embeddings.spaces import EmbeddingSpace
from seda.sandbox.mock_providers.profiles import Malformation
from seda.sandbox.mock_providers.wire import tokens_of, vectors_of
from tests.embeddings.mock_server import KEY, MockServer

TEXTS = (
    "Björk. art pop",
    "坂本龍一。アンビエント",
    "Radiohead. rock",
    "Sade. soul",
    "Can. krautrock",
)
OUTAGE = [{"start": 0, "end": 1e9}]
# What a profile makes of every request, and what the provider must make of that.
FAILURES: list[tuple[dict[str, Any], Failure]] = [
    ({"rate_limit_rate": 1, "retry_after_seconds": 7}, Failure.RATE_LIMITED),
    ({"error_rate": 1}, Failure.SERVER_ERROR),
    ({"outages": OUTAGE}, Failure.SERVER_ERROR),
    ({"revoked": True}, Failure.UNAUTHORISED),
    ({"cut_rate": 1}, Failure.BAD_ANSWER),
    *(
        ({"malformed_rate": 1, "malformed_as": kind}, Failure.BAD_ANSWER)
        for kind in map(str, Malformation)
    ),
]
NAMES = [str(profile.get("malformed_as", next(iter(profile)))) for profile, _ in FAILURES]


class HostedProviderContract:
    """Subclasses say how the provider is made, and whose texts it takes."""

    name: str
    space: EmbeddingSpace
    price: Decimal
    limits: Limits
    largest_batch: int
    own: type[GlobalTexts] | type[EuTexts]
    foreign: type[GlobalTexts] | type[EuTexts]

    def make(self, url: str, key: str = KEY, **options: Any) -> Provider[Any]:
        """The provider at this base URL."""
        raise NotImplementedError

    def url(self, mock: MockServer) -> str:
        """Its base URL at the mock service."""
        raise NotImplementedError

    async def failing(
        self, provider: Provider[Any], texts: tuple[str, ...] = TEXTS
    ) -> ProviderError:
        """The error of a request that brings no vectors."""
        with pytest.raises(ProviderError) as caught:
            await provider.embed(self.own(texts))
        await provider.close()
        return caught.value

    def test_it_says_what_it_is(self) -> None:
        provider = self.make("http://127.0.0.1:9")

        assert provider.name == self.name
        assert provider.space == self.space
        assert provider.usd_per_million_tokens == self.price
        assert provider.limits == self.limits
        assert self.make("http://127.0.0.1:9", limits=Limits(5)).limits == Limits(5)

    async def test_one_request_brings_the_vectors_in_the_order_of_the_texts(
        self, mock_server: MockServer
    ) -> None:
        provider = self.make(self.url(mock_server))

        embedded = await provider.embed(self.own(TEXTS))
        await provider.close()

        expected = vectors_of(self.name, TEXTS, self.space.dim)
        assert embedded.vectors.dtype == np.float32
        np.testing.assert_array_equal(embedded.vectors, expected)
        (request,) = mock_server.requests()
        assert request["provider"] == self.name
        assert tuple(request["texts"]) == TEXTS
        assert embedded.tokens == request["billed_tokens"] == tokens_of(TEXTS)

    async def test_its_largest_batch_is_taken_and_one_more_is_refused(
        self, mock_server: MockServer
    ) -> None:
        provider = self.make(self.url(mock_server))
        texts = tuple(f"text {number}" for number in range(self.largest_batch + 1))

        embedded = await provider.embed(self.own(texts[:-1]))
        assert len(embedded.vectors) == self.largest_batch
        error = await self.failing(provider, texts)

        assert error.failure is Failure.REFUSED
        assert str(len(texts)) in str(error)

    @pytest.mark.parametrize(("profile", "failure"), FAILURES, ids=NAMES)
    async def test_every_failure_has_its_kind_and_none_shows_the_key(
        self,
        mock_server: MockServer,
        caplog: pytest.LogCaptureFixture,
        profile: dict[str, Any],
        failure: Failure,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        mock_server.set_profile(self.name, **profile)
        provider = self.make(self.url(mock_server))

        error = await self.failing(provider)

        assert (error.failure, error.provider) == (failure, self.name)
        assert error.retry_after == (7 if failure is Failure.RATE_LIMITED else None)
        assert error.failure.may_be_billed >= (mock_server.billed_tokens(self.name) > 0)
        # No chain either: the SDK's exceptions hold the request and its headers.
        assert error.__cause__ is None
        assert error.__context__ is None
        said = [str(error), repr(error), repr(provider), caplog.text, *_trace(error)]
        assert not [text for text in said if KEY in text]

    async def test_a_date_to_retry_after_becomes_seconds(self, mock_server: MockServer) -> None:
        mock_server.set_profile(self.name, rate_limit_rate=1, retry_after_as_date=True)
        provider = self.make(self.url(mock_server), now=lambda: datetime(2020, 1, 1, tzinfo=UTC))

        error = await self.failing(provider)

        assert error.retry_after is not None
        assert error.retry_after > 365 * 86_400

    async def test_a_closed_port_is_unreachable(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
            error = await self.failing(self.make(url))

        assert error.failure is Failure.UNREACHABLE

    async def test_a_host_that_accepts_no_connection_is_unreachable(self) -> None:
        with _full_listener() as port:
            error = await self.failing(self.make(f"http://127.0.0.1:{port}/v1"))

        assert error.failure is Failure.UNREACHABLE

    async def test_an_answer_that_does_not_come_is_timed_out(self, mock_server: MockServer) -> None:
        mock_server.set_profile(self.name, latency_seconds=60)

        error = await self.failing(self.make(self.url(mock_server)))

        assert error.failure is Failure.TIMED_OUT
        assert mock_server.billed_tokens(self.name) > 0

    async def test_cancelling_closes_the_connection(self, mock_server: MockServer) -> None:
        mock_server.set_profile(self.name, latency_seconds=60)
        provider = self.make(self.url(mock_server))
        task = asyncio.create_task(provider.embed(self.own(TEXTS)))
        await _until(lambda: mock_server.requests())

        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        await _until(lambda: mock_server.requests()[0]["abandoned"])
        await provider.close()

    async def test_a_redirect_carries_no_text_elsewhere(self, mock_server: MockServer) -> None:
        with _redirecting_to(mock_server.url) as url:
            error = await self.failing(self.make(url))

        assert error.failure is Failure.REFUSED
        assert mock_server.requests() == []

    async def test_foreign_texts_are_not_sent(self, mock_server: MockServer) -> None:
        provider = self.make(self.url(mock_server))
        disguised = self.own(TEXTS, self.foreign(()).region)

        for texts in (self.foreign(TEXTS), disguised):
            with pytest.raises(ForeignTextError, match="nothing was sent"):
                await provider.embed(texts)

        assert mock_server.requests() == []

    def test_it_can_be_used_again_on_another_event_loop(self, mock_server: MockServer) -> None:
        provider = self.make(self.url(mock_server))

        async def once() -> int:
            embedded = await provider.embed(self.own(TEXTS))
            await provider.close()
            return len(embedded.vectors)

        assert [asyncio.run(once()), asyncio.run(once())] == [len(TEXTS)] * 2

    @pytest.mark.parametrize("key", ["", "sk-se cret", "sk-secret\n", "sk-sécret"])
    def test_a_key_that_no_header_can_hold_is_refused_unseen(self, key: str) -> None:
        with pytest.raises(UnusableKeyError, match="_API_KEY is empty or holds") as caught:
            self.make("http://127.0.0.1:9", key)

        assert "cret" not in str(caught.value)

    @pytest.mark.parametrize("url", ["api.openai.com", "ftp://host", "https://", "http://a b"])
    def test_a_base_url_that_is_none_is_refused(self, url: str) -> None:
        with pytest.raises(UnusableUrlError, match=r"SEDA_[A-Z_]+_URL cannot be used"):
            self.make(url)


def secret(key: str) -> SecretStr:
    """The key as settings hold it."""
    return SecretStr(key)


def _trace(error: BaseException) -> list[str]:
    return traceback.format_exception(error)


async def _until(is_so: Callable[[], Any]) -> None:
    for _ in range(500):
        if is_so():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it never happened")


@contextmanager
def _full_listener() -> Iterator[int]:
    """A port whose queue of connections is full, so that a further one hangs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        waiting = []
        for _ in range(4):
            caller = socket.socket()
            caller.setblocking(False)
            with suppress(BlockingIOError):
                caller.connect(("127.0.0.1", port))
            waiting.append(caller)
        yield port
        for caller in waiting:
            caller.close()


@contextmanager
def _redirecting_to(url: str) -> Iterator[str]:
    """A server that sends its one caller to the same path of another."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                request = connection.recv(1 << 16)
                path = request.split(b" ")[1].decode()
                answer = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {url}{path}\r\n"
                body = "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
                connection.sendall((answer + body).encode())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/openai/v1"
        thread.join(5)
