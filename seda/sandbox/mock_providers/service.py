"""One mock provider at work: checks the key, decides a request's fate, records it, bills it.

Time is an argument; waiting and sending are the ASGI app's.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import orjson

from seda.sandbox.mock_providers.profiles import (
    FailureProfile,
    Fate,
    Malformation,
    Outcome,
    fate_of,
)
from seda.sandbox.mock_providers.wire import (
    Question,
    RefusedRequestError,
    WireFormat,
    tokens_of,
    vectors_of,
)

_WINDOW_SECONDS = 60.0
# Damage that is done to the vectors before any format writes them.
_IN_VECTORS = (
    Malformation.EMPTY,
    Malformation.ONE_MISSING,
    Malformation.WRONG_DIM,
    Malformation.NOT_FINITE,
    Malformation.ZERO,
)


@dataclass(slots=True)
class RecordedRequest:
    """What reached an endpoint, and what became of it."""

    provider: str
    number: int
    """Counted from 0 since the profile was set."""
    texts: tuple[str, ...]
    """All that were sent, of a request that was refused too."""
    outcome: Outcome
    status: int
    billed_tokens: int
    abandoned: bool = False
    """The caller hung up before the answer was sent."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send, when, and whether to stop in the middle of it."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    latency_seconds: float
    is_cut: bool
    recorded: RecordedRequest


@dataclass(slots=True)
class MockProvider:
    """A provider of one wire format; `clock` gives seconds, `now` the time of day."""

    format: WireFormat
    recording: list[RecordedRequest]
    clock: Callable[[], float]
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    profile: FailureProfile = field(default_factory=FailureProfile)
    _since: float = 0.0
    _number: int = 0
    _recent: deque[float] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.behave(self.profile)

    def behave(self, profile: FailureProfile) -> None:
        """Follow this profile from now on; requests and outages are counted from here."""
        self.profile, self._since, self._number = profile, self.clock(), 0
        self._recent.clear()

    def handle(self, key: str | None, body: bytes) -> Answer:
        """Decide, record and bill one request; `key` is what stands behind `Bearer`."""
        number, self._number = self._number, self._number + 1
        fate = fate_of(self.profile, number, self.clock() - self._since)
        document = _parsed(body)
        texts = self.format.sent_texts(document)
        if self.profile.revoked or (self.format.needs_key and not key):
            return self._failed(fate, texts, Outcome.UNAUTHORISED)
        try:
            question = self.format.read(document)
        except RefusedRequestError as refusal:
            refused = orjson.dumps(refusal.document)
            return self._answer(fate, texts, Outcome.REFUSED, refusal.status, refused)
        wait = self._seconds_until_allowed()
        if fate.outcome is not Outcome.OUTAGE and wait is not None:
            return self._failed(fate, texts, Outcome.RATE_LIMITED, wait)
        if not fate.outcome.is_billed:
            return self._failed(fate, texts, fate.outcome)
        return self._answer(fate, texts, fate.outcome, 200, self._body(question, fate))

    def _body(self, question: Question, fate: Fate) -> bytes:
        vectors = vectors_of(self.format.name, question.texts, question.dim)
        kind = fate.malformation if fate.outcome is Outcome.MALFORMED else None
        if kind is Malformation.EMPTY:
            vectors = vectors[:0]
        elif kind is Malformation.ONE_MISSING:
            vectors = vectors[:-1]
        elif kind is Malformation.WRONG_DIM:
            vectors = vectors[:, :-1]
        elif kind in (Malformation.NOT_FINITE, Malformation.ZERO):
            vectors[-1] = math.nan if kind is Malformation.NOT_FINITE else 0.0
        document = self.format.answer(
            question,
            vectors,
            tokens_of(question.texts),
            out_of_order=self.profile.out_of_order,
        )
        return orjson.dumps(document) if kind is None else self._spoilt(document, kind)

    def _spoilt(self, document: dict[str, Any], kind: Malformation) -> bytes:
        if kind is Malformation.NULL:
            return b"null"
        if kind is Malformation.HALF_JSON:
            whole = orjson.dumps(document)
            return whole[: len(whole) // 2]
        if kind is Malformation.NOT_JSON:
            return b"<html><body>Bad gateway</body></html>"
        if kind in _IN_VECTORS or self.format.spoil(document, kind):
            return orjson.dumps(document)
        return b"not JSON"

    def _failed(
        self, fate: Fate, texts: tuple[str, ...], outcome: Outcome, wait: float | None = None
    ) -> Answer:
        status, document = self.format.failure(outcome)
        headers = {}
        if outcome is Outcome.RATE_LIMITED:
            seconds = self.profile.retry_after_seconds if wait is None else math.ceil(wait)
            headers["retry-after"] = self._retry_after(seconds)
        return self._answer(fate, texts, outcome, status, orjson.dumps(document), headers)

    def _retry_after(self, seconds: float) -> str:
        if self.profile.retry_after_as_date:
            return format_datetime(self.now() + timedelta(seconds=seconds), usegmt=True)
        return f"{seconds:g}"

    def _answer(
        self,
        fate: Fate,
        texts: tuple[str, ...],
        outcome: Outcome,
        status: int,
        body: bytes,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        billed = tokens_of(texts) if outcome.is_billed else 0
        recorded = RecordedRequest(self.format.name, fate.number, texts, outcome, status, billed)
        self.recording.append(recorded)
        all_headers = {"content-type": "application/json", **(headers or {})}
        is_cut = outcome is Outcome.CUT
        return Answer(status, body, all_headers, fate.latency_seconds, is_cut, recorded)

    def _seconds_until_allowed(self) -> float | None:
        """None when the hard limit has room for one more, which is then counted."""
        limit, now = self.profile.requests_per_minute, self.clock()
        if limit is None:
            return None
        while self._recent and self._recent[0] <= now - _WINDOW_SECONDS:
            self._recent.popleft()
        if len(self._recent) < limit:
            self._recent.append(now)
            return None
        return self._recent[0] + _WINDOW_SECONDS - now if self._recent else _WINDOW_SECONDS


def _parsed(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
