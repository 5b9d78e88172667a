"""The API with endpoints beside its own, to compare with. `python -m benchmarks.feeds.variants`.

`/bench/rows` makes the page of one list out of rows and pydantic models, read only;
`/bench/rows-recorded` records it as the API does; `/bench/list` is the API's own page, read only;
`/bench/stored` is the stored cards as they are, the least that a page can be; `/bench/bytes` is as
many bytes without a database.
"""

import os
from typing import Annotated
from uuid import UUID

import orjson
from fastapi import FastAPI, Query, Request
from starlette.responses import Response

from benchmarks.feeds.rows import ROWS, STORED
from seda.database.regions import Databases
from seda.settings import load_settings
from serving.app import create_app
from serving.authentication import Caller
from serving.documentation import Card, FeedPage, Social
from serving.feed import _body, _Reader
from serving.impressions import ServedPage
from serving.lists import Item
from serving.server import serve
from serving.services import Services, WithCaller, WithServices
from serving.session import person_session

BYTES = 20_000
NOBODY = Social(text="", count=0, avatars=[], overflow=0)
Limit = Annotated[int, Query(ge=1, le=50)]


def build() -> FastAPI:
    settings = load_settings()
    app = create_app(settings, databases=Databases(settings))

    @app.get("/bench/rows", response_model=FeedPage)
    async def rows(services: WithServices, caller: WithCaller, limit: Limit = 50) -> FeedPage:
        _, cards = await _cards(services, caller, limit)
        return FeedPage(items=cards, next_cursor=None, generation=1, source="personal")

    @app.get("/bench/rows-recorded", response_model=FeedPage)
    async def recorded(
        request: Request, services: WithServices, caller: WithCaller, limit: Limit = 50
    ) -> FeedPage:
        user_id, cards = await _cards(services, caller, limit)
        items = [
            Item(0, "", "", str(each.id), "artist", str(each.entity_id), 1, each.model_version)
            for each in cards
        ]
        page = ServedPage(
            user_id, "artists", request.state.request_id, services.clock(), 1, items
        )  # fmt: skip
        await services.impressions.record(await services.directory.region_of(caller), page)
        return FeedPage(items=cards, next_cursor=None, generation=1, source="personal")

    @app.get("/bench/list")
    async def unrecorded(services: WithServices, caller: WithCaller, limit: Limit = 50) -> Response:
        region = await services.directory.region_of(caller)
        reader = _Reader(services, caller, region, ("artist",), limit)
        page, following = await reader.first()
        cursor = services.cursors.seal(following, "artists", caller) if page.more else None
        return Response(_body(page, 0, cursor), media_type="application/json")

    @app.get("/bench/stored")
    async def stored(services: WithServices, caller: WithCaller, limit: Limit = 50) -> Response:
        region = await services.directory.region_of(caller)
        async with person_session(services.pools, region, caller) as connection:
            cards = await connection.fetchval(STORED, "artist", services.shards[region])
        body = b'{"items":[%s]}' % ",".join(cards[:limit]).encode()
        return Response(body, media_type="application/json")

    body = b'{"items":[%s]}' % (b"x" * BYTES)

    @app.get("/bench/bytes")
    async def no_database(
        services: WithServices, caller: WithCaller, limit: Limit = 50
    ) -> Response:
        return Response(body, media_type="application/json")

    return app


async def _cards(services: Services, caller: Caller, limit: int) -> tuple[UUID, list[Card]]:
    region = await services.directory.region_of(caller)
    async with person_session(services.pools, region, caller) as connection:
        found = await connection.fetch(
            ROWS, "artist", services.shards[region], limit, services.clock()
        )
    cards = [
        Card(**{**row, "reasons": orjson.loads(row["reasons"]), "social": NOBODY})
        for row in map(dict, found)
    ]
    return found[0]["user_id"], cards


if __name__ == "__main__":
    serve("benchmarks.feeds.variants", int(os.environ["SEDA_API_PORT"]), "SEDA_API_PORT", build)
