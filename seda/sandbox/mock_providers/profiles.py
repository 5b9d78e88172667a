"""How badly a mock provider behaves, and what that means for one request: pure decisions.

A request's draws depend on the profile's seed and the request's number alone, each failure has a
draw of its own, and so a changed rate moves no other failure to another request.
"""

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from seda.errors import SedaError

PROVIDERS = ("openai", "cohere", "runner", "spotify", "youtube", "apple")
_RATES = ("slow_share", "error_rate", "rate_limit_rate", "cut_rate", "malformed_rate")
_AMOUNTS = ("latency_seconds", "slow_latency_seconds", "retry_after_seconds")


class InvalidProfileError(SedaError):
    """A failure profile that no provider can follow."""


class Malformation(StrEnum):
    """A 200 whose body is not what was asked for."""

    NOT_JSON = "not_json"
    HALF_JSON = "half_json"
    """Complete as HTTP, incomplete as JSON."""
    NULL = "null"
    EMPTY = "empty"
    ONE_MISSING = "one_missing"
    WRONG_DIM = "wrong_dim"
    NOT_FINITE = "not_finite"
    ZERO = "zero"
    NO_USAGE = "no_usage"
    REPEATED_INDEX = "repeated_index"
    """OpenAI's format only; elsewhere the body is not JSON."""
    GARBAGE = "garbage"
    """A vector that is no vector: unreadable base64, or words instead of numbers."""


class Outcome(StrEnum):
    """What became of a request."""

    SERVED = "served"
    CUT = "cut"
    """Served and billed, but the connection ends in the middle of the body."""
    MALFORMED = "malformed"
    """Billed, but the answer is of no use."""
    OUTAGE = "outage"
    RATE_LIMITED = "rate_limited"
    ERROR = "error"
    UNAUTHORISED = "unauthorised"
    REFUSED = "refused"

    @property
    def is_billed(self) -> bool:
        """Whether the work was done."""
        return self in (Outcome.SERVED, Outcome.CUT, Outcome.MALFORMED)


@dataclass(frozen=True, slots=True)
class Outage:
    """A time without service, in seconds since the profile was set: `start` ≤ t < `end`."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class FailureProfile:
    """A provider's behaviour; the default is healthy and immediate.

    Raises:
        InvalidProfileError: a rate outside of [0, 1], or a negative amount.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    latency_seconds: float = 0.0
    """Before every answer."""
    slow_share: float = 0.0
    """Share of requests that take `slow_latency_seconds`: 0.1 puts the P95 there."""
    slow_latency_seconds: float = 0.0
    error_rate: float = 0.0
    """Share of 500s."""
    rate_limit_rate: float = 0.0
    """Share of 429s, whatever the rate of requests is."""
    requests_per_minute: int | None = None
    """Hard limit over a sliding minute."""
    retry_after_seconds: float = 1.0
    """`Retry-After` of the random 429s; those of the hard limit say when it ends."""
    retry_after_as_date: bool = False
    cut_rate: float = 0.0
    malformed_rate: float = 0.0
    malformed_as: Malformation | None = None
    """None: each malformed answer draws its own kind."""
    out_of_order: bool = False
    """Vectors come in another order than the texts, each with its right index (OpenAI's format)."""
    revoked: bool = False
    """No key is accepted any more."""
    outages: tuple[Outage, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        for name in _RATES:
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidProfileError(
                    f"{name} is a share between 0 and 1; got {getattr(self, name)}."
                )
        for name in _AMOUNTS:
            if getattr(self, name) < 0:
                raise InvalidProfileError(
                    f"{name} is 0 seconds or more; got {getattr(self, name)}."
                )
        if self.requests_per_minute is not None and self.requests_per_minute < 0:
            raise InvalidProfileError(
                f"requests_per_minute is 0 or more; got {self.requests_per_minute}."
            )


def profile_of(content: bytes) -> FailureProfile:
    """The profile that a JSON object describes.

    Raises:
        InvalidProfileError: it describes none.
    """
    try:
        return _PROFILE.validate_json(content)
    except ValidationError as problem:
        raise _invalid(problem) from None


def profiles_of(content: bytes) -> dict[str, FailureProfile]:
    """The profiles of a JSON object by provider: `{"openai": {"error_rate": 0.1}}`.

    Raises:
        InvalidProfileError: it holds something else, or a provider that there is not.
    """
    try:
        profiles = _PROFILES.validate_json(content)
    except ValidationError as problem:
        raise _invalid(problem) from None
    if unknown := set(profiles) - set(PROVIDERS):
        raise InvalidProfileError(
            f"There is no provider {min(unknown)!r}: the providers are {', '.join(PROVIDERS)}."
        )
    return profiles


_PROFILE = TypeAdapter(FailureProfile)
_PROFILES = TypeAdapter(dict[str, FailureProfile])


def _invalid(problem: ValidationError) -> InvalidProfileError:
    first = problem.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"])) or "it"
    return InvalidProfileError(f"The failure profile cannot be used: {where}: {first['msg']}.")


@dataclass(frozen=True, slots=True)
class Fate:
    """What the profile does to one request that is valid in itself."""

    number: int
    outcome: Outcome
    latency_seconds: float
    malformation: Malformation


def fate_of(profile: FailureProfile, number: int, elapsed: float) -> Fate:
    """The fate of the `number`th request, `elapsed` seconds after the profile was set."""
    draws = random.Random(f"{profile.seed}:{number}")
    slow, limited, failed, malformed, cut = (draws.random() for _ in range(5))
    kind = profile.malformed_as or draws.choice(list(Malformation))
    latency = profile.slow_latency_seconds if slow < profile.slow_share else profile.latency_seconds
    if any(outage.start <= elapsed < outage.end for outage in profile.outages):
        outcome = Outcome.OUTAGE
    elif limited < profile.rate_limit_rate:
        outcome = Outcome.RATE_LIMITED
    elif failed < profile.error_rate:
        outcome = Outcome.ERROR
    elif malformed < profile.malformed_rate:
        outcome = Outcome.MALFORMED
    elif cut < profile.cut_rate:
        outcome = Outcome.CUT
    else:
        outcome = Outcome.SERVED
    return Fate(number, outcome, latency, kind)
