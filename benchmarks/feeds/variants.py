"""The API with endpoints beside its own, to compare with. `python -m benchmarks.feeds.variants`.

`/bench/rows` makes the page of one list out of rows and pydantic models, read only;
`/bench/rows-recorded` records it as the API does; `/bench/rows-live` also has the live order, so
that it is the API's page but for how it is stored; `/bench/list` is the API's own, read only;
`/bench/stored` is the stored cards as they are, the least that a page can be; `/bench/bytes` is as
many bytes without a database.
"""

import os
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import FastAPI, Query, Request
from starlette.responses import Response

from benchmarks.feeds.rows import LIVE, ROWS, ROWS_WITH_GENRES, STORED
from seda.database.regions import Databases
from seda.feedback.live_order import ListFacts, movements, next_page
from seda.settings import load_settings
from serving.app import create_app
from serving.authentication import Caller
from serving.documentation import Card, FeedPage, Social
from serving.feed import LARGEST_LIMIT, _body, _Reader
from serving.impressions import ServedPage
from serving.lists import Item, Origin, _person
from serving.presence import NOBODY_JSON
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
        await _record(services, caller, request.state.request_id, user_id, cards)
        return FeedPage(items=cards, next_cursor=None, generation=1, source="personal")

    @app.get("/bench/rows-live", response_model=FeedPage)
    async def live(
        request: Request, services: WithServices, caller: WithCaller, limit: Limit = 50
    ) -> FeedPage:
        region = await services.directory.region_of(caller)
        shards, now = services.shards[region], services.clock()
        async with person_session(services.pools, region, caller) as connection:
            person = await connection.fetchrow(LIVE, "artist", shards, now)
            found = await connection.fetch(ROWS_WITH_GENRES, "artist", shards, LARGEST_LIMIT, now)
        cards = _in_live_order(_person(person), found, limit)
        await _record(services, caller, request.state.request_id, person["user_id"], cards)
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
    cards = [_card(row, row["rank"]) for row in found]
    return found[0]["user_id"], cards


def _card(row: Any, rank: int, *reasons: dict[str, str]) -> Card:
    told = [*reasons, *orjson.loads(row["reasons"])]
    return Card(**{**dict(row), "rank": rank, "reasons": told, "social": NOBODY})


def _in_live_order(person: Any, rows: Sequence[Any], limit: int) -> list[Card]:
    """What `serving.lists` does with stored cards."""
    positions = {row["entity_id"].bytes: position for position, row in enumerate(rows)}
    facts = ListFacts(
        genres=[row["genre"] for row in rows],
        shown={positions[id]: times for id, times in person.shown.items() if id in positions},
        touched=[positions.get(id) for id in person.touched],
    )
    moved = movements(facts, person.events, person.liked)
    chosen, _ = next_page(
        [row["is_new"] for row in rows], served=0, hidden=(), size=limit,
        places={at: sum(each.places for each in by) for at, by in moved.items()},
    )  # fmt: skip
    return [
        _card(rows[at], rank, *({"kind": each.kind, "text": each.text}
                                for each in moved.get(at, ()) if each.kind == "listened"))
        for rank, at in enumerate(chosen, 1)
    ]  # fmt: skip


async def _record(
    services: Services, caller: Caller, request_id: str, user_id: UUID, cards: Sequence[Card]
) -> None:
    items = [
        Item("", NOBODY_JSON, str(each.id), str(each.entity_id), each.is_new,
             Origin("artist", 1, each.model_version))
        for each in cards
    ]  # fmt: skip
    page = ServedPage(user_id, "artists", request_id, services.clock(), 1, items)
    await services.impressions.record(await services.directory.region_of(caller), page)


if __name__ == "__main__":
    serve("benchmarks.feeds.variants", int(os.environ["SEDA_API_PORT"]), "SEDA_API_PORT", build)
