"""The text of a catalogue entity, as it is given to an embedder.

Tags say more about taste than names do, so a tag is repeated one to five times by its weight and
the name stands once; there is no other wording, because words that every text shares only push
all vectors together. The same entity always gives the same text, whatever order its tags come in.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from seda.errors import SedaError

MAX_REPEATS: Final = 5
MAX_TAGS: Final = 20
MAX_ARTISTS: Final = 10


class InvalidTagWeightError(SedaError):
    """A tag's weight is not a positive finite number."""


def artist_text(name: str, genres: Mapping[str, float]) -> str:
    """`Name. rock, rock, indie`; `genres` is tag → weight (> 0), on any scale."""
    return _sentences(name, _repeated(genres))


def playlist_text(name: str, genres: Mapping[str, float], artist_names: Sequence[str]) -> str:
    """As `artist_text`, then the first ten distinct artists, which the caller orders."""
    artists = list(dict.fromkeys(_clean(artist) for artist in artist_names))[:MAX_ARTISTS]
    return _sentences(name, _repeated(genres), artists)


def room_text(name: str, genre: str | None, tags: Mapping[str, float]) -> str:
    """As `artist_text`; the room's own genre weighs as much as its heaviest tag."""
    weights = dict(tags)
    if genre and genre.strip():
        weights[genre] = max(weights.values(), default=1.0)
    return _sentences(name.lstrip("#"), _repeated(weights))


def content_hash(text: str) -> str:
    """32 hex digits that change with any character of the text; equal means: do not re-embed."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _repeated(weights: Mapping[str, float]) -> list[str]:
    """The heaviest tags first, each 1 to `MAX_REPEATS` times in proportion to the heaviest."""
    cleaned: dict[str, float] = {}
    for tag, weight in weights.items():
        if not 0 < weight < float("inf"):
            raise InvalidTagWeightError(
                f"Tag {tag!r} has weight {weight}; give a positive finite number or leave it out."
            )
        key = _clean(tag).lower()
        cleaned[key] = max(cleaned.get(key, 0.0), float(weight))
    cleaned.pop("", None)
    ordered = sorted(cleaned.items(), key=lambda item: (-item[1], item[0]))[:MAX_TAGS]
    heaviest = ordered[0][1] if ordered else 1.0
    return [
        tag
        for tag, weight in ordered
        for _ in range(max(1, round(MAX_REPEATS * (weight / heaviest))))
    ]


def _clean(phrase: str) -> str:
    """One line without the commas and stops that separate phrases."""
    return " ".join(phrase.replace(",", " ").replace(".", " ").split())


def _sentences(name: str, *lists: list[str]) -> str:
    parts = [_clean(name), *(", ".join(items) for items in lists)]
    return ". ".join(part for part in parts if part)
