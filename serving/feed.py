"""`GET /feed` and `GET /recommendations/{kind}`: a page of stored cards, live where life is.

Falls back in order: personal rows, the same when expired ("stale"), the person's genres, what
trends everywhere. Cards are spliced as bytes; no object is built per card.
"""

import logging
from enum import StrEnum
from typing import Annotated

import asyncpg
import orjson
from fastapi import APIRouter, Query
from starlette.responses import Response

from seda.database.regions import Region
from seda.publishing.cards import ENTITY_TYPES, complete_card
from serving.authentication import Caller
from serving.cursors import Position, Source, expired_cursor
from serving.documentation import FEED_RESPONSES
from serving.lists import Page, fall_back_page, personal_page
from serving.problems import DatabaseUnavailableError, ProblemError
from serving.services import Services, WithCaller, WithServices
from serving.session import person_session

DEFAULT_LIMIT = 20
LARGEST_LIMIT = 50

router = APIRouter(tags=["feed"])
_logger = logging.getLogger("serving")

Limit = Annotated[int, Query(ge=1, le=LARGEST_LIMIT, description="Items per page.")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before.")]


class Kind(StrEnum):
    """The lists of one type, as the path names them."""

    ROOMS = "rooms"
    PLAYLISTS = "playlists"
    ARTISTS = "artists"

    @property
    def entity_type(self) -> str:
        return self.value.removesuffix("s")


@router.get("/feed", summary="The person's feed, all types mixed", responses=FEED_RESPONSES)
async def feed(
    services: WithServices, caller: WithCaller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Response:
    """Rooms, playlists and artists, interleaved by their place in their own list."""
    return await _answer(services, caller, "feed", ENTITY_TYPES, limit, cursor)


@router.get(
    "/recommendations/{kind}", summary="The person's list of one type", responses=FEED_RESPONSES
)
async def recommendations(
    services: WithServices,
    caller: WithCaller,
    kind: Kind,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """The list of one type, best first."""
    return await _answer(services, caller, kind, (kind.entity_type,), limit, cursor)


async def _answer(
    services: Services,
    caller: Caller,
    endpoint: str,
    types: tuple[str, ...],
    limit: int,
    cursor: str | None,
) -> Response:
    start = None if cursor is None else services.cursors.open(cursor, endpoint, caller)
    region = await services.directory.region_of(caller)
    reader = _Reader(services, caller, region, types, limit + 1)
    try:
        page = await (reader.first() if start is None else reader.at(start))
    except ProblemError as problem:
        if problem.status == 404:
            services.directory.forget(caller)
        raise
    shown = 0 if start is None else start.shown
    following = None
    if len(page.items) > limit:
        position = Position(page.source, page.generations, page.items[limit].key, shown + limit)
        following = services.cursors.seal(position, endpoint, caller)
    return Response(_body(page, limit, shown, following), media_type="application/json")


class _Reader:
    """Reads pages for one request; every source is a transaction of its own."""

    def __init__(
        self, services: Services, caller: Caller, region: Region, types: tuple[str, ...], rows: int
    ) -> None:
        self._services = services
        self._caller = caller
        self._region = region
        self._types = types
        self._rows = rows
        self._now = services.clock()

    async def first(self) -> Page:
        """The first page, from the best source that has a list (API-5).

        Raises:
            ProblemError: 404 or 410 for the person, 503 when no source answers.
        """
        page: Page | None = None
        for source in (Source.PERSONAL, Source.GENRE, Source.TRENDING):
            try:
                page = await self._read(source, None, 0)
            except asyncpg.PostgresError as problem:
                # The database answers, this list does not: a worse list beats no list.
                _logger.warning("the %s list failed: %s", source, type(problem).__name__)
                continue
            if page.available:
                return page
        if page is None:
            raise DatabaseUnavailableError(self._region)
        return page

    async def at(self, start: Position) -> Page:
        """The page at a cursor, from the list that the reader started on.

        Raises:
            ProblemError: 410 when that list is gone; 503 when it cannot be read just now.
        """
        try:
            page = await self._read(start.source, start.generations or None, start.key)
        except asyncpg.PostgresError as problem:
            _logger.warning("a page of the %s list failed: %s", start.source, type(problem))
            raise DatabaseUnavailableError(self._region) from problem
        if page.generations != start.generations:
            raise expired_cursor()
        return page

    async def _read(self, source: Source, generations: tuple[int, ...] | None, start: int) -> Page:
        async with person_session(self._services.pools, self._region, self._caller) as connection:
            if source in (Source.PERSONAL, Source.STALE):
                return await personal_page(
                    connection,
                    self._types,
                    generations,
                    shards=self._services.shards[self._region],
                    start=start,
                    rows=self._rows,
                    now=self._now,
                )
            return await fall_back_page(
                connection, source, self._types, start=start, rows=self._rows, now=self._now
            )


def _body(page: Page, limit: int, shown: int, next_cursor: str | None) -> bytes:
    cards = [
        complete_card(item.card, shown + place, item.social)
        for place, item in enumerate(page.items[:limit], start=1)
    ]
    return b'{"items":[%s],"next_cursor":%s,"generation":%s,"source":"%s"}' % (
        b",".join(cards),
        orjson.dumps(next_cursor),
        orjson.dumps(max(page.generations, default=0) or None),
        page.source.encode(),
    )
