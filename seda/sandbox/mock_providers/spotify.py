"""Spotify's accounts service and Web API as they look on the wire, at one address."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from seda.sandbox.mock_providers.listeners import Account, CatalogueArtist, Playlist, identifier
from seda.sandbox.mock_providers.music import Fated, MusicProvider, json, page_of, with_etag

_LONGEST_TOP = 50


class MockSpotify(MusicProvider):
    """Routes: `/spotify/authorize` (the consent page), `POST /spotify/api/token`, and of the Web
    API `/spotify/v1/me`, `/me/top/artists`, `/me/playlists`, `/playlists/{id}/tracks`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__("spotify", clock, rotates=True)

    def routes(self) -> list[Route]:
        """Its endpoints."""
        data = {
            "/spotify/v1/me": self._me,
            "/spotify/v1/me/top/artists": self._top_artists,
            "/spotify/v1/me/playlists": self._playlists,
            "/spotify/v1/playlists/{id}/tracks": self._tracks,
        }
        return [
            *self.oauth_routes("/spotify/authorize", "/spotify/api/token"),
            *(
                Route(path, Fated(self, self._signed_in(answer)), methods=["GET"])
                for path, answer in data.items()
            ),
        ]

    def _signed_in(
        self, answer: Callable[[Request, Account], Response]
    ) -> Callable[[Request], Response]:
        def handle(request: Request) -> Response:
            account = self.account_behind(request)
            if account is None:
                message = "The access token expired"
                return json({"error": {"status": 401, "message": message}}, 401)
            return answer(request, account)

        return handle

    def _me(self, request: Request, account: Account) -> Response:
        return json({"id": account.id, "display_name": account.name, "type": "user"})

    def _top_artists(self, request: Request, account: Account) -> Response:
        offset, limit, items = page_of(request, account.artists, _LONGEST_TOP)
        artists = [_artist(each) for each in items if isinstance(each, CatalogueArtist)]
        document = {
            "items": artists, "total": len(account.artists), "offset": offset, "limit": limit,
        }  # fmt: skip
        etag = identifier("etag", ",".join(each.id for each in account.artists))
        return with_etag(request, document, etag)

    def _playlists(self, request: Request, account: Account) -> Response:
        offset, limit, items = page_of(request, account.playlists, _LONGEST_TOP)
        lists = [_playlist(each, account) for each in items if isinstance(each, Playlist)]
        more = offset + limit < len(account.playlists)
        following = f"{request.url.path}?offset={offset + limit}&limit={limit}" if more else None
        return json({"items": lists, "total": len(account.playlists), "next": following})

    def _tracks(self, request: Request, account: Account) -> Response:
        wanted = request.path_params["id"]
        for playlist in account.playlists:
            if playlist.id == wanted:
                _, _, items = page_of(request, playlist.artists, 100)
                tracks = [_track(each) for each in items if isinstance(each, CatalogueArtist)]
                return json({"items": tracks, "total": len(playlist.artists)})
        return json({"error": {"status": 404, "message": "Resource not found"}}, 404)


def _artist(artist: CatalogueArtist) -> dict[str, object]:
    return {"id": artist.id, "name": artist.name, "genres": list(artist.genres), "type": "artist"}


def _playlist(playlist: Playlist, account: Account) -> dict[str, object]:
    return {
        "id": playlist.id,
        "name": playlist.name,
        "snapshot_id": playlist.snapshot,
        "public": False,
        "owner": {"id": account.id},
        "tracks": {"total": len(playlist.artists)},
    }


def _track(artist: CatalogueArtist) -> dict[str, object]:
    by = [{"id": artist.id, "name": artist.name}]
    return {"track": {"id": identifier("track", artist.name), "name": "A track", "artists": by}}
