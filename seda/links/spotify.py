"""Spotify: authorization code with PKCE; top artists and the person's own playlists.

What it is asked: https://developer.spotify.com/documentation/web-api. A refresh replaces the
refresh token, so the new one is stored before anything else is done.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from seda.links.connector import (
    MOST_ARTISTS,
    MOST_GENRES,
    MOST_PLAYLISTS,
    FavouriteArtist,
    LinkError,
    OwnPlaylist,
    Provider,
    Summary,
    Tokens,
    Trouble,
    by_frequency,
    identifier,
    objects,
    texts,
)
from seda.links.http import ProviderHttp
from seda.links.oauth import OAuthClient, bearer

ACCOUNTS_URL = "https://accounts.spotify.com"
API_URL = "https://api.spotify.com"
SCOPES = ("user-top-read", "playlist-read-private")
_PERIOD = "medium_term"  # about half a year


class Spotify:
    """The connector; `api_url` is the Web API's, without `/v1`."""

    provider = Provider.SPOTIFY

    def __init__(self, client: OAuthClient, api_url: str, http: ProviderHttp | None = None) -> None:
        self._client = client
        self._api = f"{api_url}/v1"
        self._http = http or ProviderHttp(self.provider)

    def authorize_url(self, state: str, challenge: str) -> str:
        return self._client.address(state, challenge)

    def exchange(self, code: SecretStr, verifier: SecretStr) -> Tokens:
        return self._client.exchange(self._http, code, verifier)

    def refresh(self, token: SecretStr) -> Tokens:
        return self._client.refresh(self._http, token)

    def account_id(self, access: SecretStr) -> str:
        found = identifier(self._http.get(f"{self._api}/me", bearer(access)).document.get("id"))
        if found is None:
            raise self._unreadable()
        return found

    def summary(self, access: SecretStr, marks: Mapping[str, Any]) -> Summary:
        headers = bearer(access)
        known = {"if-none-match": marks["artists"]} if isinstance(marks.get("artists"), str) else {}
        top = self._http.get(
            f"{self._api}/me/top/artists", headers | known,
            {"limit": MOST_ARTISTS, "time_range": _PERIOD},
        )  # fmt: skip
        artists, genres = None, tuple(marks.get("genres", ()))
        if top.status == 200:
            listed = list(objects(top.document.get("items")))
            artists = tuple(filter(None, map(_artist, listed)))
            named = [genre for each in listed for genre in texts(each.get("genres"))]
            genres = by_frequency(named, MOST_GENRES)
        snapshots = marks.get("playlists", {})
        playlists, now = self._playlists(headers, snapshots if isinstance(snapshots, dict) else {})
        after = {"artists": top.etag, "genres": list(genres), "playlists": now}
        return Summary(artists, genres, playlists, after)

    def revoke(self, token: SecretStr) -> None:
        """Spotify has no endpoint for it: without its token the grant is dead weight."""

    def _playlists(
        self, headers: dict[str, str], before: Mapping[str, Any]
    ) -> tuple[tuple[OwnPlaylist, ...], dict[str, str]]:
        answer = self._http.get(
            f"{self._api}/me/playlists", headers, {"limit": MOST_PLAYLISTS}
        ).document
        playlists, snapshots = [], {}
        for each in objects(answer.get("items")):
            id, snapshot = identifier(each.get("id")), identifier(each.get("snapshot_id"))
            name = each.get("name")
            if id is None or snapshot is None or not isinstance(name, str):
                continue
            same = before.get(id) == snapshot
            artists = None if same else self._artists_of(id, headers)
            playlists.append(OwnPlaylist(id, name, artists))
            snapshots[id] = snapshot
        return tuple(playlists), snapshots

    def _artists_of(self, playlist: str, headers: dict[str, str]) -> tuple[FavouriteArtist, ...]:
        fields = "items(track(artists(id,name)))"
        path = f"/playlists/{quote(playlist, safe='')}/tracks"
        params: dict[str, str | int] = {"limit": 100, "fields": fields}
        answer = self._http.get(f"{self._api}{path}", headers, params).document
        found: dict[str, FavouriteArtist] = {}
        for item in objects(answer.get("items")):
            track = item.get("track")
            for each in objects(track.get("artists") if isinstance(track, dict) else None):
                artist = _artist(each)
                if artist is not None:
                    found.setdefault(artist.external_id, artist)
        return tuple(found.values())

    def _unreadable(self) -> LinkError:
        return LinkError(self.provider, Trouble.UNREADABLE)


def _artist(given: Mapping[str, Any]) -> FavouriteArtist | None:
    id, name = identifier(given.get("id")), given.get("name")
    return FavouriteArtist(id, name) if id is not None and isinstance(name, str) else None
