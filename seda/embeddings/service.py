"""The EmbeddingsService: batches to one provider, within its limits, budget and breaker.

A batch is admitted by the ledger, sent with a deadline, and tried again where that makes sense.
What comes back is either vectors with the reservation that paid for them, which the caller settles
in the transaction that stores them, or the items that have to wait, and why. Nothing is lost, and
nothing is stored here.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Generic

import numpy as np
import psycopg
from numpy.typing import NDArray
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_before_delay
from tenacity.wait import wait_random_exponential

from seda.embeddings import ledger
from seda.embeddings.batching import in_batches
from seda.embeddings.budget import Job, most_tokens
from seda.embeddings.providers.provider import Embedded, Failure, Provider, ProviderError
from seda.embeddings.regional_texts import TextsT

log = logging.getLogger(__name__)

# What is computed here is batched for the processor, not for a network: 25 MB of vectors.
IN_PROCESS_BATCH = 4096


@dataclass(frozen=True, slots=True)
class ServicePolicy:
    """How requests are made (EMB-2)."""

    rules: ledger.Rules
    batch_size: int = 128
    """Texts per request, unless the provider takes fewer."""
    window_seconds: float = 0.2
    total_seconds: float = 6.0
    """For one request with all its retries."""
    concurrency: int = 4
    """Requests under way at once, of this worker."""
    first_backoff_seconds: float = 0.25


@dataclass(frozen=True, slots=True)
class Item:
    """A text, and the position by which the caller knows it."""

    position: int
    text: str


@dataclass(frozen=True, eq=False)
class Vectors:
    """Unit vectors `(positions, dim)` float32; settle the reservation when you store them."""

    positions: list[int]
    vectors: NDArray[np.float32]
    reservation: ledger.Reservation


@dataclass(frozen=True, slots=True)
class Waiting:
    """Items without a vector, why, and from when on it makes sense to try again."""

    positions: list[int]
    reason: str
    retry_at: datetime | None


class NotNowError(Exception):
    """The ledger refused a request."""

    def __init__(self, refusal: ledger.Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


@dataclass
class EmbeddingsService(Generic[TextsT]):
    """One provider, used by one worker; `connection` is for the ledger alone.

    `clock`, `sleep` and `worker` (a name for the ledger) are arguments so that tests decide them.
    """

    provider: Provider[TextsT]
    as_texts: Callable[[tuple[str, ...]], TextsT]
    connection: psycopg.Connection
    policy: ServicePolicy
    worker: str
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    @property
    def batch_size(self) -> int:
        """Texts per request: the policy's, or what the provider takes."""
        limits = self.provider.limits
        wanted = IN_PROCESS_BATCH if limits.in_process else self.policy.batch_size
        return min(wanted, limits.batch_size or wanted)

    async def embed(
        self, arriving: AsyncIterator[Sequence[Item]], job: Job
    ) -> AsyncIterator[Vectors | Waiting]:
        """Embed what arrives; outcomes come as they are ready, each item in exactly one of them."""
        under_way: set[asyncio.Task[list[Vectors | Waiting]]] = set()
        batches = in_batches(
            arriving, size=self.batch_size, window_seconds=self.policy.window_seconds
        )
        try:
            async for batch in batches:
                if len(under_way) >= self.policy.concurrency:
                    done, under_way = await asyncio.wait(
                        under_way, return_when=asyncio.FIRST_COMPLETED
                    )
                    for outcome in _outcomes(done):
                        yield outcome
                under_way.add(asyncio.create_task(self._embed_batch(batch, job)))
            while under_way:
                done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                for outcome in _outcomes(done):
                    yield outcome
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _embed_batch(self, batch: list[Item], job: Job) -> list[Vectors | Waiting]:
        positions = [item.position for item in batch]
        texts = tuple(item.text for item in batch)
        try:
            reservation, embedded = await self._with_retries(texts, job)
        except NotNowError as problem:
            return [Waiting(positions, problem.refusal.reason, problem.refusal.retry_at)]
        except ProviderError as problem:
            log.warning("%d texts wait: %s", len(batch), problem)
            if problem.failure is Failure.REFUSED and len(batch) > 1:
                # One text may spoil the batch for all: halves find it in a few requests.
                middle = len(batch) // 2
                halves = [batch[:middle], batch[middle:]]
                return [
                    outcome for half in halves for outcome in await self._embed_batch(half, job)
                ]
            return [Waiting(positions, str(problem.failure), None)]
        return [Vectors(positions, embedded.vectors, reservation)]

    async def _with_retries(
        self, texts: tuple[str, ...], job: Job
    ) -> tuple[ledger.Reservation, Embedded]:
        """One batch with all its attempts, each of them a row of the ledger."""
        first: ledger.Reservation | None = await self._admitted(texts, job, patient=True)
        deadline = monotonic() + self.policy.total_seconds
        retrying = AsyncRetrying(
            sleep=self.sleep,
            stop=stop_before_delay(self.policy.total_seconds),
            wait=self._pause,
            retry=retry_if_exception(_is_worth_another_try),
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                reservation = first or await self._admitted(texts, job, patient=False)
                first = None
                return await self._attempt(reservation, texts, job, deadline)
        raise AssertionError("tenacity returns or raises")

    async def _admitted(
        self, texts: tuple[str, ...], job: Job, *, patient: bool
    ) -> ledger.Reservation:
        """A reservation; a patient caller waits for the limit per minute, or while others probe.

        Raises:
            NotNowError: the breaker is open, the budget is used up, or the caller is impatient.
        """
        request = ledger.Request(
            provider=self.provider.name,
            space=self.provider.space,
            job=job,
            texts=len(texts),
            tokens=most_tokens(texts),
            usd_per_million_tokens=self.provider.usd_per_million_tokens,
            limits=self.provider.limits,
        )
        while True:
            now = self.clock()
            answer = ledger.admit(
                self.connection, request, self.policy.rules, worker=self.worker, now=now
            )
            if isinstance(answer, ledger.Reservation):
                return answer
            if not patient or answer.reason not in (ledger.RATE_LIMITED, ledger.BREAKER_PROBING):
                raise NotNowError(answer)
            await self.sleep(self._until(answer, now))

    def _until(self, refusal: ledger.Refusal, now: datetime) -> float:
        """Seconds to wait for a limit per minute, or for somebody's probe to be answered."""
        if refusal.reason == ledger.BREAKER_PROBING or refusal.retry_at is None:
            return self.policy.first_backoff_seconds
        return max(0.01, (refusal.retry_at - now).total_seconds())

    async def _attempt(
        self, reservation: ledger.Reservation, texts: tuple[str, ...], job: Job, deadline: float
    ) -> tuple[ledger.Reservation, Embedded]:
        while not ledger.send(self.connection, reservation, now=self.clock()):
            reservation = await self._admitted(texts, job, patient=False)
        started = monotonic()
        rules = self.policy.rules
        try:
            embedded = await self._call(texts, deadline)
        except ProviderError as problem:
            ledger.failed(
                self.connection,
                reservation,
                problem.failure,
                rules,
                seconds=monotonic() - started,
                now=self.clock(),
            )
            raise
        ledger.answered(
            self.connection,
            reservation,
            rules,
            tokens=embedded.tokens,
            seconds=monotonic() - started,
            now=self.clock(),
        )
        return reservation, embedded

    async def _call(self, texts: tuple[str, ...], deadline: float) -> Embedded:
        """The request, cut off at the deadline: the SDKs' read timeout starts anew at each byte."""
        try:
            async with asyncio.timeout(max(0.0, deadline - monotonic())):
                return await self.provider.embed(self.as_texts(texts))
        except TimeoutError as problem:
            raise ProviderError(
                self.provider.name, Failure.TIMED_OUT, "no whole answer before the deadline"
            ) from problem

    def _pause(self, state: RetryCallState) -> float:
        """Jittered backoff, or what the provider asked for if that is longer."""
        jittered = wait_random_exponential(multiplier=self.policy.first_backoff_seconds, max=2.0)
        problem = state.outcome.exception() if state.outcome else None
        asked = problem.retry_after if isinstance(problem, ProviderError) else None
        return max(jittered(state), asked or 0.0)


def _is_worth_another_try(problem: BaseException) -> bool:
    return isinstance(problem, ProviderError) and problem.failure.is_retryable


def _outcomes(
    done: set[asyncio.Task[list[Vectors | Waiting]]],
) -> list[Vectors | Waiting]:
    return [outcome for task in done for outcome in task.result()]
