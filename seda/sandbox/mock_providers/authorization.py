"""An OAuth 2.0 authorization server in memory: codes, tokens, refreshing, revoking.

RFC 6749 and 7636, strict where the real ones are: a code counts once, for ten minutes, with the
address and the PKCE verifier that it was asked with; used twice, it takes back what it gave.
"""

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

CODE_SECONDS = 600
ACCESS_SECONDS = 3600


class OAuthError(Exception):
    """A refusal with OAuth's own error code."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(error)
        self.status = status
        self.document = {"error": error, "error_description": description}


@dataclass(frozen=True, slots=True)
class Request:
    """What a person is asked to consent to."""

    client_id: str
    redirect_uri: str
    scope: str
    challenge: str


@dataclass(slots=True)
class _Grant:
    listener: str
    request: Request
    refresh: str
    alive: bool = True


class AuthorizationServer:
    """One provider's; `rotates` whether a refresh gives a new refresh token in place of the old."""

    def __init__(self, clock: Callable[[], float], *, rotates: bool) -> None:
        self._clock = clock
        self._rotates = rotates
        self._codes: dict[str, tuple[_Grant, float, bool]] = {}
        self._access: dict[str, tuple[_Grant, float]] = {}
        self._refresh: dict[str, _Grant] = {}

    def request(self, query: Mapping[str, str]) -> Request:
        """What an authorization request asks for.

        Raises:
            OAuthError: it is none that a page could be shown for.
        """
        if query.get("response_type") != "code":
            raise OAuthError("unsupported_response_type", "response_type must be code")
        wanted = Request(
            query.get("client_id", ""),
            query.get("redirect_uri", ""),
            query.get("scope", ""),
            query.get("code_challenge", ""),
        )
        if not wanted.client_id or not wanted.redirect_uri.startswith(("http://", "https://")):
            raise OAuthError("invalid_request", "INVALID_CLIENT: Invalid redirect URI")
        if query.get("code_challenge_method") != "S256" or not wanted.challenge:
            raise OAuthError("invalid_request", "code_challenge_method must be S256")
        return wanted

    def consent(self, request: Request, listener: str) -> str:
        """A code: the listener said yes."""
        code = secrets.token_urlsafe(48)
        grant = _Grant(listener, request, secrets.token_urlsafe(64))
        self._codes[code] = grant, self._clock() + CODE_SECONDS, False
        return code

    def token(self, form: Mapping[str, str]) -> dict[str, Any]:
        """The answer of the token endpoint.

        Raises:
            OAuthError: as RFC 6749, section 5.2.
        """
        kind = form.get("grant_type")
        if kind == "authorization_code":
            return self._exchange(form)
        if kind == "refresh_token":
            return self._renew(form)
        raise OAuthError("unsupported_grant_type", "grant_type parameter is missing or unknown")

    def revoke(self, token: str) -> bool:
        """Take back a grant by either of its tokens; whether there was one."""
        grant = self._refresh.get(token) or self._access.get(token, (None,))[0]
        if grant is None or not grant.alive:
            return False
        grant.alive = False
        return True

    def revoke_all(self) -> None:
        """Every listener takes back what they granted."""
        for grant in self._refresh.values():
            grant.alive = False

    def expire_access(self) -> None:
        """Every access token is out of time; refresh tokens go on."""
        self._access.clear()

    def listener_of(self, access: str) -> str | None:
        """Whose access token it is, while it counts."""
        grant, until = self._access.get(access, (None, 0.0))
        return grant.listener if grant and grant.alive and self._clock() < until else None

    def _exchange(self, form: Mapping[str, str]) -> dict[str, Any]:
        code = form.get("code", "")
        grant, until, used = self._codes.get(code, (None, 0.0, False))
        if grant is None or self._clock() >= until:
            raise OAuthError("invalid_grant", "Invalid authorization code")
        if used:
            grant.alive = False  # stolen or repeated: RFC 6749, section 4.1.2
            raise OAuthError("invalid_grant", "Authorization code was used")
        self._codes[code] = grant, until, True
        wanted = grant.request
        if form.get("client_id") != wanted.client_id:
            raise OAuthError("invalid_client", "Invalid client")
        if form.get("redirect_uri") != wanted.redirect_uri:
            raise OAuthError("invalid_grant", "Invalid redirect URI")
        digest = sha256(form.get("code_verifier", "").encode()).digest()
        if urlsafe_b64encode(digest).rstrip(b"=").decode() != wanted.challenge:
            raise OAuthError("invalid_grant", "code_verifier was incorrect")
        self._refresh[grant.refresh] = grant
        return self._tokens(grant) | {"refresh_token": grant.refresh}

    def _renew(self, form: Mapping[str, str]) -> dict[str, Any]:
        grant = self._refresh.get(form.get("refresh_token", ""))
        if grant is None or not grant.alive:
            raise OAuthError("invalid_grant", "Refresh token revoked")
        if form.get("client_id") != grant.request.client_id:
            raise OAuthError("invalid_client", "Invalid client")
        if not self._rotates:
            return self._tokens(grant)
        del self._refresh[grant.refresh]
        grant.refresh = secrets.token_urlsafe(64)
        self._refresh[grant.refresh] = grant
        return self._tokens(grant) | {"refresh_token": grant.refresh}

    def _tokens(self, grant: _Grant) -> dict[str, Any]:
        access = secrets.token_urlsafe(64)
        self._access[access] = grant, self._clock() + ACCESS_SECONDS
        return {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": ACCESS_SECONDS,
            "scope": grant.request.scope,
        }
