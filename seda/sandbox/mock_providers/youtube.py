"""Google's OAuth endpoints and YouTube's Data API as they look on the wire, at one address."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from seda.sandbox.mock_providers.listeners import Account, CatalogueArtist, Playlist, identifier
from seda.sandbox.mock_providers.music import Fated, MusicProvider, json, with_etag

_API = "/youtube/youtube/v3"
_WIKIPEDIA = "https://en.wikipedia.org/wiki/"


class MockYouTube(MusicProvider):
    """Routes: `/youtube/o/oauth2/v2/auth` (the consent page), `POST /youtube/token` and
    `/youtube/revoke`, and of the Data API `/youtube/youtube/v3/{channels,videos,playlists,
    playlistItems}`. Liked videos are two of each of the first twenty artists and one of the rest.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__("youtube", clock, rotates=False)

    def routes(self) -> list[Route]:
        """Its endpoints."""
        data = {
            "channels": self._channels,
            "videos": self._videos,
            "playlists": self._playlists,
            "playlistItems": self._playlist_items,
        }
        oauth = ("/youtube/o/oauth2/v2/auth", "/youtube/token", "/youtube/revoke")
        return [
            *self.oauth_routes(*oauth),
            *(
                Route(f"{_API}/{name}", Fated(self, self._signed_in(answer)), methods=["GET"])
                for name, answer in data.items()
            ),
        ]

    def _signed_in(
        self, answer: Callable[[Request, Account], Response]
    ) -> Callable[[Request], Response]:
        def handle(request: Request) -> Response:
            account = self.account_behind(request)
            if account is None:
                message = "Request had invalid authentication credentials."
                error = {"code": 401, "message": message, "status": "UNAUTHENTICATED"}
                return json({"error": error}, 401)
            return answer(request, account)

        return handle

    def _channels(self, request: Request, account: Account) -> Response:
        return json({"items": [{"id": f"UC{account.id}", "snippet": {"title": account.name}}]})

    def _videos(self, request: Request, account: Account) -> Response:
        liked = [*account.artists[:20], *account.artists]
        items: list[object] = [
            {
                "id": identifier("video", f"{number}:{artist.name}"),
                "snippet": {
                    "title": "A video", "channelId": f"UC{artist.id}",
                    "channelTitle": f"{artist.name} - Topic",
                },
                "topicDetails": {"topicCategories": [_topic(each) for each in artist.genres]},
            }
            for number, artist in enumerate(liked)
        ]  # fmt: skip
        return _paged(request, items)

    def _playlists(self, request: Request, account: Account) -> Response:
        items: list[object] = [
            {
                "id": f"PL{each.id}", "etag": each.snapshot, "snippet": {"title": each.name},
                "contentDetails": {"itemCount": len(each.artists)},
            }
            for each in account.playlists
        ]  # fmt: skip
        return _paged(request, items)

    def _playlist_items(self, request: Request, account: Account) -> Response:
        wanted = request.query_params.get("playlistId", "")
        for playlist in account.playlists:
            if f"PL{playlist.id}" == wanted:
                return _paged(request, _items(playlist))
        return json({"error": {"code": 404, "message": "playlistNotFound"}}, 404)


def _items(playlist: Playlist) -> list[object]:
    def snippet(artist: CatalogueArtist) -> dict[str, object]:
        owner = {
            "videoOwnerChannelTitle": f"{artist.name} - Topic",
            "videoOwnerChannelId": f"UC{artist.id}",
        }
        return {"snippet": {"title": "A video", **owner}}

    return [snippet(artist) for artist in playlist.artists]


def _topic(genre: str) -> str:
    return _WIKIPEDIA + genre.capitalize().replace(" ", "_")


def _paged(request: Request, items: list[object]) -> Response:
    token = request.query_params.get("pageToken", "0")
    most = request.query_params.get("maxResults", "5")
    start = int(token) if token.isdecimal() else 0
    size = min(int(most), 50) if most.isdecimal() else 5
    etag = identifier("etag", repr(items[start : start + size]))
    document: dict[str, object] = {
        "etag": etag,
        "items": items[start : start + size],
        "pageInfo": {"totalResults": len(items), "resultsPerPage": size},
    }
    if start + size < len(items):
        document["nextPageToken"] = str(start + size)
    return with_etag(request, document, etag)
