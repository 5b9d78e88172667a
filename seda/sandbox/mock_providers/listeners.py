"""Made-up accounts at the music providers: the same name is the same listener, everywhere.

Any name is an account. What it listens to is drawn by its name alone, from the artists of the smoke
sandbox or of those that the control plane was given, so that an import finds them in the catalogue.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import numpy as np

LISTENERS = ("ada", "ben", "cleo", "dan", "eve", "finn")
"""Who the consent page offers."""
TOP_ARTISTS = 60
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class CatalogueArtist:
    """An artist whom listeners may know."""

    name: str
    genres: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """22 letters and digits, as Spotify's ids are."""
        return identifier("artist", self.name)


@dataclass(frozen=True, slots=True)
class Playlist:
    """A listener's playlist; `snapshot` changes with what is in it."""

    id: str
    name: str
    snapshot: str
    artists: tuple[CatalogueArtist, ...]


@dataclass(frozen=True, slots=True)
class Account:
    """What a provider knows of a listener: artists, most loved first, and playlists."""

    id: str
    name: str
    artists: tuple[CatalogueArtist, ...]
    playlists: tuple[Playlist, ...]


@lru_cache(maxsize=1)
def sandbox_artists() -> tuple[CatalogueArtist, ...]:
    """The artists of `seda seed --profile smoke`."""
    from seda.sandbox.generation.whole import make_world
    from seda.sandbox.profiles import SMOKE

    made = make_world(SMOKE, 7, np.datetime64("2026-01-01T00:00", "us")).catalogue.artists
    return tuple(map(CatalogueArtist, made.names, map(tuple, made.genres)))


def account_of(
    provider: str, listener: str, catalogue: Sequence[CatalogueArtist], revision: int = 0
) -> Account:
    """The account of a name; each revision moves its favourites and changes its first playlist."""
    draws = random.Random(f"{provider}:{listener}")
    genres = sorted({genre for artist in catalogue for genre in artist.genres})
    loved = set(draws.sample(genres, min(4, len(genres))))
    near = [artist for artist in catalogue if loved & set(artist.genres)]
    far = [artist for artist in catalogue if not loved & set(artist.genres)]
    chosen = draws.sample(near, min(TOP_ARTISTS * 3 // 4, len(near)))
    chosen += draws.sample(far, min(TOP_ARTISTS - len(chosen), len(far)))
    turn = revision % max(1, len(chosen))
    artists = tuple(chosen[turn:] + chosen[:turn])
    playlists = []
    for number in range(draws.randint(3, 7)):
        length = min(draws.randint(8, 15), len(chosen))
        listed = draws.sample(chosen, length)
        change = revision if number == 0 else 0
        playlists.append(
            Playlist(
                identifier("playlist", f"{provider}:{listener}:{number}"),
                f"{listener}'s list {number + 1}",
                identifier("snapshot", f"{provider}:{listener}:{number}:{change}"),
                tuple(listed[change % max(1, length) :]),
            )
        )
    return Account(identifier(provider, listener), listener, artists, tuple(playlists))


def identifier(kind: str, name: str) -> str:
    """22 letters and digits, always the same for the same name."""
    number = int.from_bytes(blake2b(f"{kind}:{name}".encode(), digest_size=16).digest(), "big")
    digits = []
    for _ in range(22):
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return "".join(digits)
