"""Minting the tokens that this platform's own tools sign in with.

In production the identity provider mints them; verification lives with the services.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import jwt

from seda.errors import SedaError
from seda.settings import Settings


class ForeignTokensError(SedaError):
    """Tokens are not ours to mint."""


def token_of(settings: Settings, sub: UUID, lifetime: timedelta, now: datetime) -> str:
    """A token that this platform's own services accept.

    Raises:
        ForeignTokensError: tokens are somebody else's to mint.
    """
    if settings.jwks_url or settings.env == "production":
        reason = "SEDA_JWKS_URL is set" if settings.jwks_url else "SEDA_ENV is production"
        raise ForeignTokensError(
            f"{reason}, so only the identity provider mints tokens: sign in there."
        )
    return mint_token(
        settings.signing_secret(),
        sub,
        audience=settings.jwt_audience,
        lifetime=lifetime,
        now=now,
        issuer=settings.jwt_issuer,
        authenticated_at=now,
    )


def mint_token(
    secret: str,
    sub: UUID,
    *,
    audience: str,
    lifetime: timedelta,
    now: datetime,
    issuer: str | None = None,
    authenticated_at: datetime | None = None,
) -> str:
    """An HS256 token of the person whose `users.auth_user_id` is `sub`, valid from `now`.

    `authenticated_at`: when they proved who they are, as the claim `amr` tells it.
    """
    claims: dict[str, Any] = {
        "sub": str(sub),
        "aud": audience,
        "role": "authenticated",
        "iat": int(now.timestamp()),
        "exp": int((now + lifetime).timestamp()),
    }
    if authenticated_at is not None:
        claims["amr"] = [{"method": "password", "timestamp": int(authenticated_at.timestamp())}]
    if issuer is not None:
        claims["iss"] = issuer
    return jwt.encode(claims, secret, algorithm="HS256")
