"""The one interface of every provider: what a link gives, and how it fails.

A connector does HTTP and nothing else; tokens come and go as `SecretStr`, and an error carries
none of them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Protocol

from pydantic import SecretStr

from seda.errors import SedaError

MOST_ARTISTS = 50
MOST_PLAYLISTS = 50
MOST_GENRES = 20
_LONGEST_ID = 200


class Provider(StrEnum):
    """Who can be linked; the value stands in every `provider` and `source` column."""

    SPOTIFY = "spotify"
    YOUTUBE = "youtube"
    APPLE = "apple"


class Trouble(StrEnum):
    """Why a provider gave nothing; the value stands in `linked_accounts.problem`."""

    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    """It does not answer, or answers with an error of its own."""
    REFUSED = "refused"
    """Our app may not do this: an operator repairs it."""
    UNREADABLE = "unreadable"
    """An answer that is none."""
    LOCKED = "locked"
    """Our own vault does not open just now: KMS is down, or a key is not where it was."""
    REVOKED = "revoked"
    """The person took the link back, or it ran out: they have to link again."""


class LinkError(SedaError):
    """A provider gave nothing: `trouble` says why, `retry_after` what it asked for."""

    def __init__(
        self, provider: Provider, trouble: Trouble, retry_after: timedelta | None = None
    ) -> None:
        super().__init__(f"{provider.title()}: {SENTENCES[trouble]}")
        self.provider = provider
        self.trouble = trouble
        self.retry_after = retry_after


SENTENCES: Mapping[Trouble, str] = {
    Trouble.RATE_LIMITED: "it takes no more requests for now; we try again by ourselves.",
    Trouble.UNAVAILABLE: "it does not answer just now; we try again by ourselves.",
    Trouble.REFUSED: "it refuses our app; we look into it and try again.",
    Trouble.UNREADABLE: "its answer could not be read; we try again by ourselves.",
    Trouble.LOCKED: "we cannot open the link just now; we try again by ourselves.",
    Trouble.REVOKED: "the link was taken back or has run out; link again to go on.",
}
"""What a person is told."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a token endpoint gave; `refresh` is None where the old one stays good."""

    access: SecretStr
    refresh: SecretStr | None
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FavouriteArtist:
    """An artist whom the person loves, as the provider names them."""

    external_id: str
    name: str


@dataclass(frozen=True, slots=True)
class OwnPlaylist:
    """A playlist of the person's; `artists` is None where nothing changed since the last look."""

    external_id: str
    name: str
    artists: tuple[FavouriteArtist, ...] | None


@dataclass(frozen=True, slots=True)
class Summary:
    """What is imported: at most 50 artists and 20 genres, best first, and 50 playlists.

    `artists` is None where they are as they were at the last look. `marks` make the next look read
    only what has changed.
    """

    artists: tuple[FavouriteArtist, ...] | None
    genres: tuple[str, ...]
    playlists: tuple[OwnPlaylist, ...]
    marks: Mapping[str, Any] = field(default_factory=dict)


class Connector(Protocol):
    """A provider that people link by an authorization code.

    Every method but `authorize_url` may raise `LinkError`.
    """

    provider: Provider

    def authorize_url(self, state: str, challenge: str) -> str:
        """Where the person consents; `challenge` is PKCE's, S256."""

    def exchange(self, code: SecretStr, verifier: SecretStr) -> Tokens:
        """The tokens of a code; REVOKED where the provider does not take it."""

    def refresh(self, token: SecretStr) -> Tokens:
        """A new access token."""

    def account_id(self, access: SecretStr) -> str:
        """The provider's id of the person."""

    def summary(self, access: SecretStr, marks: Mapping[str, Any]) -> Summary:
        """What the person loves, and what changed since `marks`."""

    def revoke(self, token: SecretStr) -> None:
        """Take the grant back at the provider, where it has a way to."""


class Sealer(Protocol):
    """Seals secrets for a column of a row; `seda.privacy.vault.Vault` is one."""

    def seal(self, secret: SecretStr, *, table: str, column: str, row: str) -> bytes:
        """The secret as bytes that open there only."""

    def sealing(self, *, table: str, column: str, row: str) -> Callable[[SecretStr], bytes]:
        """What seals one secret for that place, and asks no key service any more."""

    def unseal(self, sealed: bytes, *, table: str, column: str, row: str) -> SecretStr:
        """The secret again.

        Raises:
            LostSecretError: it never opens again.
            SedaError: it does not open now.
        """

    def is_current(self, sealed: bytes) -> bool:
        """Whether the current key wraps it."""

    def rewrap(self, sealed: bytes, *, table: str, column: str, row: str) -> bytes:
        """The same, wrapped by the current key."""


def objects(given: Any) -> Iterator[dict[str, Any]]:
    """The objects of what should be a list of them: answers are whatever a provider sends."""
    if isinstance(given, list):
        yield from (each for each in given if isinstance(each, dict))


def identifier(given: Any) -> str | None:
    """A provider's id or mark of something; None where it is none that could be kept."""
    usable = isinstance(given, str) and 0 < len(given) <= _LONGEST_ID and given.isprintable()
    return given if usable else None


def texts(given: Any) -> Iterator[str]:
    """The texts of what should be a list of them."""
    if isinstance(given, list):
        yield from (each for each in given if isinstance(each, str))


def by_frequency(names: list[str], most: int) -> tuple[str, ...]:
    """The most frequent first; equal ones in the order of their first place."""
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return tuple(sorted(counts, key=lambda name: -counts[name])[:most])
