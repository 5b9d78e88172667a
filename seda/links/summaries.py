"""A summary as the JSON in which it waits to be mapped, cut to what the catalogue can hold."""

import json
from collections.abc import Sequence
from typing import Any, Final

from seda.links.connector import (
    MOST_ARTISTS,
    MOST_GENRES,
    MOST_PLAYLISTS,
    FavouriteArtist,
    OwnPlaylist,
    Summary,
)

LARGEST: Final = 256 * 1024
"""Bytes that `provider_imports.staged` takes."""
_LONGEST = 200
_MOST_IN_PLAYLIST: Final = (100, 50, 25, 12, 6, 0)
"""Artists of each playlist: as many of these as fit. Fifty long playlists are more than do."""


def staged(summary: Summary) -> dict[str, Any]:
    """What `provider_imports.staged` holds of it; null artists are as they were."""
    artists = None if summary.artists is None else _artists(summary.artists[:MOST_ARTISTS])
    genres = [_text(genre) for genre in summary.genres[:MOST_GENRES]]
    document: dict[str, Any] = {"artists": artists, "genres": genres}
    for most in _MOST_IN_PLAYLIST:
        document["playlists"] = _playlists(summary.playlists[:MOST_PLAYLISTS], most)
        # Escaped to ASCII it has at least as many bytes as the database counts.
        if len(json.dumps(document)) <= LARGEST:
            break
    return document


def _playlists(playlists: Sequence[OwnPlaylist], most: int) -> list[dict[str, Any]]:
    # Pages that moved while they were read name one twice.
    once = {_text(each.external_id): each for each in playlists}
    return [
        {
            "id": id,
            "name": _text(each.name),
            "artists": None if each.artists is None else _artists(each.artists[:most]),
        }
        for id, each in once.items()
    ]


def _artists(artists: Sequence[FavouriteArtist]) -> list[dict[str, str]]:
    return [{"id": _text(each.external_id), "name": _text(each.name)} for each in artists]


def _text(given: str) -> str:
    # Postgres keeps neither NUL nor halves of surrogate pairs.
    clean = given.replace("\0", "").encode("utf-8", "replace").decode()
    return clean[:_LONGEST]
