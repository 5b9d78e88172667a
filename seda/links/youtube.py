"""YouTube: Google's authorization code; artists of liked videos, and the person's playlists.

What it is asked: https://developers.google.com/youtube/v3/docs. Music by an artist is on their
"… - Topic" channel; other channels count by their name and match nobody in the catalogue, mostly.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

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

ACCOUNTS_URL = "https://accounts.google.com"
TOKENS_URL = "https://oauth2.googleapis.com"
API_URL = "https://www.googleapis.com"
SCOPES = ("https://www.googleapis.com/auth/youtube.readonly",)
# Google gives a refresh token only for these, and only with a fresh consent.
OFFLINE = {"access_type": "offline", "prompt": "consent"}
_PAGES = 4
_TOPIC = " - Topic"


class YouTube:
    """The connector; `api_url` is that of `/youtube/v3`, `revoke_url` Google's."""

    provider = Provider.YOUTUBE

    def __init__(
        self, client: OAuthClient, api_url: str, revoke_url: str, http: ProviderHttp | None = None
    ) -> None:
        self._client = client
        self._api = f"{api_url}/youtube/v3"
        self._revoke_url = revoke_url
        self._http = http or ProviderHttp(self.provider)

    def authorize_url(self, state: str, challenge: str) -> str:
        return self._client.address(state, challenge)

    def exchange(self, code: SecretStr, verifier: SecretStr) -> Tokens:
        return self._client.exchange(self._http, code, verifier)

    def refresh(self, token: SecretStr) -> Tokens:
        return self._client.refresh(self._http, token)

    def account_id(self, access: SecretStr) -> str:
        parts: dict[str, str | int] = {"part": "id", "mine": "true"}
        answer = self._http.get(f"{self._api}/channels", bearer(access), parts).document
        for each in objects(answer.get("items")):
            if (id := identifier(each.get("id"))) is not None:
                return id
        raise LinkError(self.provider, Trouble.UNREADABLE)

    def summary(self, access: SecretStr, marks: Mapping[str, Any]) -> Summary:
        headers = bearer(access)
        liked = list(self._pages("videos", headers, part="snippet,topicDetails", myRating="like"))
        artists = [artist for each in liked if (artist := _artist(each, "channel"))]
        known = {each.external_id: each for each in artists}
        favourites = by_frequency([each.external_id for each in artists], MOST_ARTISTS)
        genres = by_frequency([genre for each in liked for genre in _genres(each)], MOST_GENRES)
        before = marks.get("playlists", {})
        playlists, now = self._playlists(headers, before if isinstance(before, dict) else {})
        return Summary(tuple(known[id] for id in favourites), genres, playlists, {"playlists": now})

    def revoke(self, token: SecretStr) -> None:
        self._http.post_form(self._revoke_url, {"token": token.get_secret_value()})

    def _playlists(
        self, headers: dict[str, str], before: Mapping[str, Any]
    ) -> tuple[tuple[OwnPlaylist, ...], dict[str, str]]:
        playlists: list[OwnPlaylist] = []
        etags: dict[str, str] = {}
        listed = self._pages("playlists", headers, part="snippet,contentDetails", mine="true")
        for each in listed:
            if len(playlists) == MOST_PLAYLISTS:
                break
            id, etag = identifier(each.get("id")), identifier(each.get("etag"))
            name = _snippet(each).get("title")
            if id is None or etag is None or not isinstance(name, str):
                continue
            same = before.get(id) == etag
            artists = None if same else self._artists_of(id, headers)
            playlists.append(OwnPlaylist(id, name, artists))
            etags[id] = etag
        return tuple(playlists), etags

    def _artists_of(self, playlist: str, headers: dict[str, str]) -> tuple[FavouriteArtist, ...]:
        items = self._pages("playlistItems", headers, part="snippet", playlistId=playlist)
        found = [artist for each in items if (artist := _artist(each, "videoOwnerChannel"))]
        return tuple({each.external_id: each for each in found}.values())

    def _pages(self, name: str, headers: dict[str, str], **params: str) -> Iterator[dict[str, Any]]:
        following: dict[str, str] = {}
        for _ in range(_PAGES):
            asked: dict[str, str | int] = {"maxResults": 50, **params, **following}
            answer = self._http.get(f"{self._api}/{name}", headers, asked).document
            yield from objects(answer.get("items"))
            token = answer.get("nextPageToken")
            if not isinstance(token, str):
                return
            following = {"pageToken": token}


def _snippet(given: Mapping[str, Any]) -> Mapping[str, Any]:
    found = given.get("snippet")
    return found if isinstance(found, dict) else {}


def _artist(given: Mapping[str, Any], channel: str) -> FavouriteArtist | None:
    snippet = _snippet(given)
    id, title = identifier(snippet.get(f"{channel}Id")), snippet.get(f"{channel}Title")
    if id is None or not isinstance(title, str):
        return None
    return FavouriteArtist(id, title.removesuffix(_TOPIC))


def _genres(video: Mapping[str, Any]) -> Iterator[str]:
    """The last parts of addresses such as https://en.wikipedia.org/wiki/Drum_and_bass."""
    details = video.get("topicDetails")
    categories = details.get("topicCategories") if isinstance(details, dict) else None
    for each in texts(categories):
        name = unquote(each.rpartition("/")[2]).replace("_", " ").lower()
        yield name.removesuffix(" music")
