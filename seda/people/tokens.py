"""Minting the tokens that this platform's own tools sign in with.

In production the identity provider mints them; verification lives with the services.
"""

from datetime import datetime, timedelta
from uuid import UUID

import jwt


def mint_token(
    secret: str,
    sub: UUID,
    *,
    audience: str,
    lifetime: timedelta,
    now: datetime,
    issuer: str | None = None,
) -> str:
    """An HS256 token of the person whose `users.auth_user_id` is `sub`, valid from `now`."""
    claims = {
        "sub": str(sub),
        "aud": audience,
        "role": "authenticated",
        "iat": int(now.timestamp()),
        "exp": int((now + lifetime).timestamp()),
    }
    if issuer is not None:
        claims["iss"] = issuer
    return jwt.encode(claims, secret, algorithm="HS256")
