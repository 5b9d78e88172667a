"""Who is asking: verifies Supabase-style tokens and says whose `sub` they carry.

The algorithm comes from the configuration, never from a token's header, so neither `alg: none` nor
a public key used as an HMAC secret gets in. Roles are not read here: they live in `users.role`.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import jwt
import orjson

from seda.settings import Settings
from serving.problems import ProblemError, unauthorized

LEEWAY_SECONDS = 60
REMEMBERED_TOKENS = 20_000
JWKS_LIFESPAN_SECONDS = 300
JWKS_TIMEOUT_SECONDS = 2
JWKS_COOLDOWN_SECONDS = 30
LONGEST_TOKEN = 8192
_LAST_SECOND = 2**53
_ASYMMETRIC = frozenset({"ES256", "RS256"})

_logger = logging.getLogger("serving")


@dataclass(frozen=True, slots=True)
class Caller:
    """The person of a verified token; `sub` is canonical, as in `users.auth_user_id`."""

    sub: str
    authenticated_at: float | None = field(default=None, compare=False)
    """When they last proved who they are: the newest time in `amr`, seconds since 1970."""

    @property
    def claims(self) -> str:
        """The claims that row-level security reads, as JSON: the subject and nothing else."""
        return orjson.dumps({"sub": self.sub, "role": "authenticated"}).decode()


class KeySource(Protocol):
    """Gives the key for a token, with the one algorithm that this key verifies."""

    async def key_for(self, token: str) -> tuple[Any, str]:
        """Raises jwt.InvalidTokenError where no key fits."""

    async def prefetch(self) -> None:
        """Fetch what can be fetched before the first request."""

    async def available(self) -> bool:
        """Whether any token could be verified just now."""


@dataclass(frozen=True)
class SharedSecret:
    """One HS256 secret."""

    secret: str

    async def key_for(self, token: str) -> tuple[Any, str]:
        return self.secret, "HS256"

    async def prefetch(self) -> None:
        return None

    async def available(self) -> bool:
        return True


class PublishedKeys:
    """ES256 and RS256 keys from a JWKS address, fetched in a thread, off the event loop.

    When the address stops answering, the last known keys stay in use: an outage of the identity
    provider's endpoint must not log everybody out. With no keys at all, requests get 503.
    """

    def __init__(self, url: str, clock: Callable[[], datetime]) -> None:
        self._client = jwt.PyJWKClient(url, timeout=JWKS_TIMEOUT_SECONDS, cache_jwk_set=False)
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._tried_at = -math.inf
        self._lock = asyncio.Lock()
        self._behind: asyncio.Task[None] | None = None

    async def prefetch(self) -> None:
        await self._refresh(older_than=JWKS_COOLDOWN_SECONDS)

    async def available(self) -> bool:
        if not self._keys:
            await self._refresh(older_than=JWKS_COOLDOWN_SECONDS)
        return bool(self._keys)

    async def key_for(self, token: str) -> tuple[Any, str]:
        kid = jwt.get_unverified_header(token).get("kid")
        await self._keep_fresh()
        if kid not in self._keys:
            await self._refresh(older_than=JWKS_COOLDOWN_SECONDS)  # a key that was just rotated in
        if not self._keys:
            raise ProblemError(
                503,
                "keys_unavailable",
                "The keys that verify tokens cannot be fetched just now: try again shortly.",
                headers={"Retry-After": str(JWKS_COOLDOWN_SECONDS)},
            )
        if kid not in self._keys:
            raise jwt.InvalidKeyError("unknown key")
        key = self._keys[kid]
        return key, str(key.algorithm_name)

    async def settled(self) -> None:
        """Wait for a look at the address that goes on behind the requests."""
        if self._behind is not None:
            await self._behind

    async def _keep_fresh(self) -> None:
        # Nobody waits for a routine look; after a long silence a key may have been withdrawn.
        if self._keys and self._age() < 2 * JWKS_LIFESPAN_SECONDS:
            if self._age() >= JWKS_LIFESPAN_SECONDS and (
                self._behind is None or self._behind.done()
            ):
                self._behind = asyncio.create_task(self._refresh(JWKS_LIFESPAN_SECONDS))
            return
        await self._refresh(older_than=JWKS_LIFESPAN_SECONDS)

    async def _refresh(self, older_than: float) -> None:
        if self._age() < older_than:
            return
        async with self._lock:
            if self._age() < older_than:
                return
            self._tried_at = self._clock().timestamp()
            try:
                keys = await asyncio.to_thread(self._client.get_signing_keys)
            except (jwt.PyJWTError, ValueError, OSError) as problem:
                _logger.warning("the JWKS could not be fetched: %s", type(problem).__name__)
                return
            self._keys = {
                key.key_id: key for key in keys if key.key_id and key.algorithm_name in _ASYMMETRIC
            }

    def _age(self) -> float:
        return self._clock().timestamp() - self._tried_at


@dataclass(frozen=True)
class TokenVerifier:
    """Verifies signature, audience, issuer (when one is required), times and subject."""

    keys: KeySource
    audience: str
    issuer: str | None
    clock: Callable[[], datetime]
    _verified: dict[str, tuple[Any, dict[str, Any]]] = field(
        default_factory=dict, init=False, repr=False
    )

    @classmethod
    def from_settings(cls, settings: Settings, clock: Callable[[], datetime]) -> "TokenVerifier":
        """JWKS where an address is configured, else the shared secret; never both."""
        keys: KeySource = (
            PublishedKeys(settings.jwks_url, clock)
            if settings.jwks_url
            else SharedSecret(settings.signing_secret())
        )
        return cls(keys, settings.jwt_audience, settings.jwt_issuer, clock)

    async def verify(self, token: str) -> Caller:
        """The caller of a token.

        Raises:
            ProblemError: 401 with a challenge, or 503 while no verification key is known.
        """
        if len(token) > LONGEST_TOKEN:
            raise unauthorized("The token is too long: sign in again.")
        try:
            key, algorithm = await self.keys.key_for(token)
            verified_by, claims = self._verified.get(token, (None, {}))
            if verified_by is not key:
                claims = self._decoded(token, key, algorithm)
        except (jwt.PyJWTError, ValueError, RecursionError) as problem:
            raise unauthorized("The token is not valid here: sign in again.") from problem
        self._check_times(claims)
        return Caller(_canonical_subject(claims["sub"]), _newest_proof(claims.get("amr")))

    def _decoded(self, token: str, key: Any, algorithm: str) -> dict[str, Any]:
        """The claims of a token that the key signed; remembered, since neither ever changes.

        Whether that key still counts, and what time it is, are asked anew each time.
        """
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=self.audience,
            issuer=self.issuer,
            # The times are checked against the clock that this object was given.
            options={
                "require": ["exp", "sub", "aud"],
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
        while len(self._verified) >= REMEMBERED_TOKENS:
            self._verified.pop(next(iter(self._verified)))
        self._verified[token] = key, claims
        return claims

    def _check_times(self, claims: dict[str, Any]) -> None:
        now = self.clock().timestamp()
        if _seconds(claims["exp"]) <= now - LEEWAY_SECONDS:
            raise unauthorized("The token has expired: sign in again.")
        for claim in ("nbf", "iat"):
            if claim in claims and _seconds(claims[claim]) > now + LEEWAY_SECONDS:
                raise unauthorized("The token is not valid yet: check the clock that issued it.")


def _seconds(value: Any) -> float:
    # Within a float's reach first: a whole number of 400 digits has no place among them.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not -_LAST_SECOND < value < _LAST_SECOND:
        raise unauthorized("The token's times are not numbers: sign in again.")
    return float(value)


def _newest_proof(methods: Any) -> float | None:
    """Of Supabase's `amr`, a list of {method, timestamp}; anything else proves nothing."""
    times = [
        each["timestamp"]
        for each in (methods if isinstance(methods, list) else ())
        if isinstance(each, dict) and type(each.get("timestamp")) in (int, float)
    ]
    return max((float(time) for time in times if abs(time) < _LAST_SECOND), default=None)


def _canonical_subject(sub: str) -> str:
    try:
        canonical = str(UUID(sub))
    except ValueError:
        canonical = ""
    if canonical != sub.lower():  # UUID() reads braces and prefixes too; a subject has neither
        raise unauthorized("The token's subject is not a listener's id: sign in again.")
    return canonical
