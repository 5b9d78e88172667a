"""Apple Music: what a session of the person's says, once; nothing of the session is kept.

The app hands over the user token of MusicKit; it lives in the arguments of one call and in the
headers of that call's requests. The developer token is ours: a JWT signed with our MusicKit key.
What is asked: https://developer.apple.com/documentation/applemusicapi.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jwt
from pydantic import SecretStr

from seda.errors import SedaError
from seda.links.connector import (
    MOST_ARTISTS,
    MOST_GENRES,
    MOST_PLAYLISTS,
    FavouriteArtist,
    LinkError,
    OwnPlaylist,
    Provider,
    Summary,
    Trouble,
    by_frequency,
    identifier,
    objects,
    texts,
)
from seda.links.http import Answer, ProviderHttp

API_URL = "https://api.music.apple.com"
DEVELOPER_TOKEN = "apple_developer_token"
"""Its row in `provider_credentials`."""
RENEW_AFTER = timedelta(days=90)
_LIFETIME = timedelta(days=120)  # Apple takes half a year at most
_PAGES = 4


class UnusableAppleKeyError(SedaError):
    """The key that signs the developer token cannot be used."""


def developer_token(key_file: Path, key_id: str, team_id: str, now: datetime) -> SecretStr:
    """A developer token for the next 120 days.

    Raises:
        UnusableAppleKeyError: the file is no ES256 key.
    """
    issued = int(now.timestamp())
    claims = {"iss": team_id, "iat": issued, "exp": issued + int(_LIFETIME.total_seconds())}
    token = None
    try:
        key = key_file.expanduser().read_text()
        token = jwt.encode(claims, key, algorithm="ES256", headers={"kid": key_id})
    except (OSError, ValueError, TypeError, jwt.PyJWTError):
        pass  # the parser's own message could quote the key
    if token is None:
        raise UnusableAppleKeyError(
            "SEDA_APPLE_KEY_FILE cannot be used: name the `.p8` file of a MusicKit key."
        )
    return SecretStr(token)


class AppleMusic:
    """Reads one person's library; `api_url` is the API's, without `/v1`."""

    provider = Provider.APPLE

    def __init__(self, api_url: str = API_URL, http: ProviderHttp | None = None) -> None:
        self._api = api_url
        self._http = http or ProviderHttp(self.provider)

    def summary(self, user_token: SecretStr, developer: SecretStr) -> Summary:
        """What the library holds: artists by their albums, genres, playlists.

        Raises:
            LinkError: Apple gave nothing; REVOKED where the session is no good.
        """
        headers = {
            "authorization": f"Bearer {developer.get_secret_value()}",
            "music-user-token": user_token.get_secret_value(),
        }
        albums = list(self._pages("/v1/me/library/albums", headers))
        makers = [name for each in albums if (name := _text(each, "artistName"))]
        genres = [
            genre.lower() for each in albums for genre in texts(_attributes(each).get("genreNames"))
        ]
        playlists: list[OwnPlaylist] = []
        for each in self._pages("/v1/me/library/playlists", headers):
            id, name = identifier(each.get("id")), _text(each, "name")
            if len(playlists) == MOST_PLAYLISTS or id is None or name is None:
                continue
            playlists.append(OwnPlaylist(id, name, self._artists_of(id, headers)))
        artists = tuple(_named(name) for name in by_frequency(makers, MOST_ARTISTS))
        return Summary(artists, by_frequency(genres, MOST_GENRES), tuple(playlists))

    def _artists_of(self, playlist: str, headers: dict[str, str]) -> tuple[FavouriteArtist, ...]:
        tracks = self._pages(f"/v1/me/library/playlists/{quote(playlist, safe='')}/tracks", headers)
        names = dict.fromkeys(name for each in tracks if (name := _text(each, "artistName")))
        return tuple(map(_named, names))

    def _pages(self, path: str, headers: dict[str, str]) -> Iterator[dict[str, Any]]:
        params: dict[str, str | int] = {"limit": 100}
        for page in range(_PAGES):
            answer = self._get(path, headers, {**params, "offset": 100 * page})
            yield from objects(answer.document.get("data"))
            if not isinstance(answer.document.get("next"), str):
                return

    def _get(self, path: str, headers: dict[str, str], params: dict[str, str | int]) -> Answer:
        try:
            return self._http.get(f"{self._api}{path}", headers, params)
        except LinkError as problem:
            trouble = problem.trouble
            wait = problem.retry_after
        # A 401 is about our developer token, a 403 about the person's session.
        swapped = {Trouble.REVOKED: Trouble.REFUSED, Trouble.REFUSED: Trouble.REVOKED}
        raise LinkError(self.provider, swapped.get(trouble, trouble), wait)


def _attributes(given: dict[str, Any]) -> dict[str, Any]:
    found = given.get("attributes")
    return found if isinstance(found, dict) else {}


def _text(given: dict[str, Any], name: str) -> str | None:
    found = _attributes(given).get(name)
    return found if isinstance(found, str) and found else None


def _named(name: str) -> FavouriteArtist:
    # A library names artists, without ids of the catalogue.
    return FavouriteArtist(name.lower(), name)
