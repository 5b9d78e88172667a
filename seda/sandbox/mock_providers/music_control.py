"""The control plane of the music providers: what their listeners do, and what arrived."""

from dataclasses import asdict

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from seda.sandbox.mock_providers.apple import MockApple
from seda.sandbox.mock_providers.listeners import CatalogueArtist
from seda.sandbox.mock_providers.music import MusicProvider, json


def music_control(provider: MusicProvider) -> list[Route]:
    """Under `/{provider}/control`: `DELETE grants` (listeners take back what they granted), `DELETE
    access` (access tokens are out of time), `POST listens/{listener}` (favourites move on), `PUT
    catalogue` (`[{"name": …, "genres": […]}]`), `GET|DELETE requests`."""

    async def grants(request: Request) -> Response:
        provider.authorization.revoke_all()
        if isinstance(provider, MockApple):
            provider.end_sessions()
        return Response(status_code=204)

    async def access(request: Request) -> Response:
        provider.authorization.expire_access()
        return Response(status_code=204)

    async def listens(request: Request) -> Response:
        provider.listen(request.path_params["listener"])
        return Response(status_code=204)

    async def catalogue(request: Request) -> Response:
        try:
            given = orjson.loads(await request.body())
            artists = [
                CatalogueArtist(str(each["name"]), tuple(map(str, each.get("genres", ()))))
                for each in given
            ]
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            return json({"detail": 'Send [{"name": "…", "genres": ["…"]}].'}, 422)
        provider.know(artists)
        return json({"artists": len(artists)})

    async def requests(request: Request) -> Response:
        if request.method == "DELETE":
            provider.seen.clear()
            return Response(status_code=204)
        return json([asdict(each) for each in provider.seen])

    control = f"/{provider.name}/control"
    return [
        Route(f"{control}/grants", grants, methods=["DELETE"]),
        Route(f"{control}/access", access, methods=["DELETE"]),
        Route(f"{control}/listens/{{listener}}", listens, methods=["POST"]),
        Route(f"{control}/catalogue", catalogue, methods=["PUT"]),
        Route(f"{control}/requests", requests, methods=["GET", "DELETE"]),
    ]
