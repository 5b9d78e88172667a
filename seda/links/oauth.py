"""The authorization-code flow with PKCE (RFC 6749, 7636) that Spotify and Google have in common."""

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, TypeGuard
from urllib.parse import urlencode

from pydantic import SecretStr

from seda.links.connector import LinkError, Tokens, Trouble
from seda.links.http import Answer, ProviderHttp

_LONGEST_TOKEN: Final = 8 * 1024
_MOST_SCOPES: Final = 50


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """Our app at a provider, and where its endpoints are."""

    authorize_url: str
    token_url: str
    redirect_uri: str
    client_id: str
    scopes: tuple[str, ...]
    client_secret: SecretStr | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    """Further members of the authorization request."""

    def address(self, state: str, challenge: str) -> str:
        """Where the person consents."""
        members = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": " ".join(self.scopes),
            "state": state,
            "code_challenge_method": "S256",
            "code_challenge": challenge,
            **self.extra,
        }
        return f"{self.authorize_url}?{urlencode(members)}"

    def exchange(self, http: ProviderHttp, code: SecretStr, verifier: SecretStr) -> Tokens:
        """The tokens of a code.

        Raises:
            LinkError: the provider gave none, or no refresh token.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code.get_secret_value(),
            "redirect_uri": self.redirect_uri,
            "code_verifier": verifier.get_secret_value(),
        }
        tokens = self._tokens(http, form)
        if tokens.refresh is None:
            raise LinkError(http.provider, Trouble.UNREADABLE)
        return tokens

    def refresh(self, http: ProviderHttp, token: SecretStr) -> Tokens:
        """A new access token, and a new refresh token where the provider changes it.

        Raises:
            LinkError: it gave none.
        """
        form = {"grant_type": "refresh_token", "refresh_token": token.get_secret_value()}
        return self._tokens(http, form)

    def _tokens(self, http: ProviderHttp, form: dict[str, str]) -> Tokens:
        form["client_id"] = self.client_id
        if self.client_secret is not None:
            form["client_secret"] = self.client_secret.get_secret_value()
        return _read(http, http.post_form(self.token_url, form))


def new_verifier() -> SecretStr:
    """A PKCE verifier: 43 characters, 256 bits."""
    return SecretStr(secrets.token_urlsafe(32))


def challenge_of(verifier: SecretStr) -> str:
    """The S256 challenge of a verifier."""
    digest = sha256(verifier.get_secret_value().encode()).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def bearer(access: SecretStr) -> dict[str, str]:
    """The header that carries an access token."""
    return {"authorization": f"Bearer {access.get_secret_value()}"}


def _read(http: ProviderHttp, answer: Answer) -> Tokens:
    access, refresh = (answer.document.get(f"{kind}_token") for kind in ("access", "refresh"))
    scope = answer.document.get("scope", "")
    if not _is_token(access) or not isinstance(scope, str):
        raise LinkError(http.provider, Trouble.UNREADABLE)
    kept = SecretStr(refresh) if _is_token(refresh) else None
    return Tokens(SecretStr(access), kept, tuple(scope.split()[:_MOST_SCOPES]))


def _is_token(given: Any) -> TypeGuard[str]:
    # Printable ASCII (RFC 6749, appendix A): anything else has no place in a header.
    usable = isinstance(given, str) and 0 < len(given) <= _LONGEST_TOKEN
    return usable and given.isascii() and given.isprintable()
