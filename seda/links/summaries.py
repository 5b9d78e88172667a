"""A summary as the JSON in which it waits to be mapped, cut to what the catalogue can hold."""

from typing import Any

from seda.links.connector import (
    MOST_ARTISTS,
    MOST_GENRES,
    MOST_PLAYLISTS,
    FavouriteArtist,
    Summary,
)

_LONGEST = 200
_MOST_IN_PLAYLIST = 100


def staged(summary: Summary) -> dict[str, Any]:
    """What `provider_imports.staged` holds of it; null artists are as they were."""
    artists = None if summary.artists is None else _artists(summary.artists, MOST_ARTISTS)
    playlists = [
        {
            "id": each.external_id[:_LONGEST],
            "name": _text(each.name),
            "artists": None if each.artists is None else _artists(each.artists, _MOST_IN_PLAYLIST),
        }
        for each in summary.playlists[:MOST_PLAYLISTS]
    ]
    genres = [_text(genre) for genre in summary.genres[:MOST_GENRES]]
    return {"artists": artists, "genres": genres, "playlists": playlists}


def _artists(artists: tuple[FavouriteArtist, ...], most: int) -> list[dict[str, str]]:
    return [
        {"id": each.external_id[:_LONGEST], "name": _text(each.name)} for each in artists[:most]
    ]


def _text(given: str) -> str:
    # Postgres keeps neither NUL nor halves of surrogate pairs.
    clean = given.replace("\0", "").encode("utf-8", "replace").decode()
    return clean[:_LONGEST]
