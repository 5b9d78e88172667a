"""The API with two endpoints beside its own, to compare with: the same page out of rows and
pydantic models, and a page of bytes without a database. `python -m benchmarks.feeds.variants`."""

import os
from typing import Annotated

import orjson
from fastapi import FastAPI, Query
from starlette.responses import Response

from benchmarks.feeds.rows import ROWS
from seda.database.regions import Databases
from seda.settings import load_settings
from serving.app import create_app
from serving.documentation import Card, FeedPage, Social
from serving.server import serve
from serving.services import WithCaller, WithServices
from serving.session import person_session

BYTES = 18_000
NOBODY = Social(text="", count=0, avatars=[], overflow=0)


def build() -> FastAPI:
    settings = load_settings()
    app = create_app(settings, databases=Databases(settings))

    @app.get("/bench/rows", response_model=FeedPage)
    async def rows(
        services: WithServices, caller: WithCaller, limit: Annotated[int, Query(ge=1, le=50)] = 50
    ) -> FeedPage:
        region = await services.directory.region_of(caller)
        async with person_session(services.pools, region, caller) as connection:
            found = await connection.fetch(
                ROWS, "artist", services.shards[region], limit, services.clock()
            )
        cards = [
            Card(**{**row, "reasons": orjson.loads(row["reasons"]), "social": NOBODY})
            for row in map(dict, found)
        ]
        return FeedPage(items=cards, next_cursor=None, generation=1, source="personal")

    body = b'{"items":[%s]}' % (b"x" * BYTES)

    @app.get("/bench/bytes")
    async def no_database(
        services: WithServices, caller: WithCaller, limit: Annotated[int, Query(ge=1, le=50)] = 50
    ) -> Response:
        return Response(body, media_type="application/json")

    return app


if __name__ == "__main__":
    serve("benchmarks.feeds.variants", int(os.environ["SEDA_API_PORT"]), "SEDA_API_PORT", build)
