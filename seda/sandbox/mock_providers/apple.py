"""Apple Music's API as it looks on the wire; MusicKit's own page gives the user tokens.

Any ES256 developer token is taken while it counts. `POST /apple/session?listener=ada` stands for
what MusicKit does in the app: it answers with a user token.
"""

import secrets
from collections.abc import Callable

import jwt
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from seda.sandbox.mock_providers.listeners import Account, CatalogueArtist, Playlist
from seda.sandbox.mock_providers.music import Fated, MusicProvider, json, page_of

_LONGEST_PAGE = 100


class MockApple(MusicProvider):
    """Routes: `POST /apple/session`, and of the API `/apple/v1/me/library/albums`,
    `/me/library/playlists` and `/me/library/playlists/{id}/tracks`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__("apple", clock, rotates=False)
        self._sessions: dict[str, str] = {}

    def routes(self) -> list[Route]:
        """Its endpoints."""
        data = {
            "/apple/v1/me/library/albums": self._albums,
            "/apple/v1/me/library/playlists": self._playlists,
            "/apple/v1/me/library/playlists/{id}/tracks": self._tracks,
        }
        return [
            Route("/apple/session", self._session, methods=["POST"]),
            *(
                Route(path, Fated(self, self._allowed(answer)), methods=["GET"])
                for path, answer in data.items()
            ),
        ]

    async def _session(self, request: Request) -> Response:
        token = "".join(("Aq", secrets.token_urlsafe(90)))
        self._sessions[token] = request.query_params.get("listener", "ada")
        return json({"music_user_token": token})

    def end_sessions(self) -> None:
        """Every user token is out of time."""
        self._sessions.clear()

    def _allowed(
        self, answer: Callable[[Request, Account], Response]
    ) -> Callable[[Request], Response]:
        def handle(request: Request) -> Response:
            developer = request.headers.get("authorization", "").removeprefix("Bearer ")
            if not _is_developer_token(developer):
                return _refused(401, "Unauthorized")
            listener = self._sessions.get(request.headers.get("music-user-token", ""))
            if listener is None or self.profile.revoked:
                return _refused(403, "Forbidden")
            return answer(request, self.account(listener))

        return handle

    def _albums(self, request: Request, account: Account) -> Response:
        # Two albums of each of the first twenty, one of the rest.
        owned = [*account.artists[:20], *account.artists]
        offset, limit, items = page_of(request, owned, _LONGEST_PAGE)
        albums = [_album(each) for each in items if isinstance(each, CatalogueArtist)]
        return _page(request, albums, offset + limit < len(owned), offset + limit)

    def _playlists(self, request: Request, account: Account) -> Response:
        offset, limit, items = page_of(request, account.playlists, _LONGEST_PAGE)
        lists = [_playlist(each) for each in items if isinstance(each, Playlist)]
        return _page(request, lists, offset + limit < len(account.playlists), offset + limit)

    def _tracks(self, request: Request, account: Account) -> Response:
        for playlist in account.playlists:
            if f"p.{playlist.id}" == request.path_params["id"]:
                return _page(request, [_track(each) for each in playlist.artists], False, 0)
        return _refused(404, "Not Found")


def _is_developer_token(token: str) -> bool:
    try:
        kind = jwt.get_unverified_header(token)
        jwt.decode(
            token, options={"verify_signature": False, "verify_exp": True, "require": ["iss"]}
        )
    except jwt.PyJWTError:
        return False
    return kind.get("alg") == "ES256" and "kid" in kind


def _album(artist: CatalogueArtist) -> dict[str, object]:
    attributes = {
        "name": "An album", "artistName": artist.name,
        "genreNames": [each.title() for each in artist.genres],
    }  # fmt: skip
    return {"id": f"l.{artist.id}", "type": "library-albums", "attributes": attributes}


def _playlist(playlist: Playlist) -> dict[str, object]:
    attributes = {"name": playlist.name, "canEdit": True}
    return {"id": f"p.{playlist.id}", "type": "library-playlists", "attributes": attributes}


def _track(artist: CatalogueArtist) -> dict[str, object]:
    attributes = {"name": "A song", "artistName": artist.name}
    return {"id": f"i.{artist.id}", "type": "library-songs", "attributes": attributes}


def _page(request: Request, data: list[dict[str, object]], more: bool, offset: int) -> Response:
    document: dict[str, object] = {"data": data}
    if more:
        document["next"] = f"{request.url.path.removeprefix('/apple')}?offset={offset}"
    return json(document)


def _refused(status: int, title: str) -> Response:
    error = {"status": str(status), "code": f"{status}00", "title": title}
    return json({"errors": [error]}, status)
