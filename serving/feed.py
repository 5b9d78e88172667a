"""`GET /feed` and `GET /recommendations/{kind}`: a page of stored cards, live where life is.

Falls back in order: personal rows, the same when expired ("stale"), the person's genres, what
trends everywhere. Cards are spliced as text, never parsed. A page is sent when its impressions are
committed (`serving.impressions`).
"""

import logging
from enum import StrEnum
from typing import Annotated, NamedTuple

import asyncpg
import orjson
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from seda.database.regions import Region
from seda.publishing.cards import ENTITY_TYPES, complete_card
from serving.authentication import Caller
from serving.cursors import SEEN_HEAD, Position, Source, expired_cursor
from serving.documentation import FEED_RESPONSES
from serving.fall_back import MOST_SEEN, fall_back_page
from serving.impressions import ServedPage
from serving.lists import Page, personal_lists
from serving.problems import DatabaseUnavailableError, ProblemError, json_response
from serving.services import Services, WithCaller, WithServices
from serving.session import person_session
from serving.telemetry import note_arm

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
    request: Request,
    services: WithServices,
    caller: WithCaller,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """Rooms, playlists and artists, interleaved by their place in their list, then live order."""
    wanted = Wanted("feed", ENTITY_TYPES, limit, cursor)
    return json_response(await answer(services, caller, wanted, request.state.request_id))


@router.get(
    "/recommendations/{kind}", summary="The person's list of one type", responses=FEED_RESPONSES
)
async def recommendations(
    request: Request,
    services: WithServices,
    caller: WithCaller,
    kind: Kind,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """The list of one type, best first, then live order."""
    wanted = Wanted(str(kind), (kind.entity_type,), limit, cursor)
    return json_response(await answer(services, caller, wanted, request.state.request_id))


class Wanted(NamedTuple):
    """What a request asks for: `endpoint` names it in cursors and impressions."""

    endpoint: str
    types: tuple[str, ...]
    limit: int
    cursor: str | None


async def answer(services: Services, caller: Caller, wanted: Wanted, request_id: str) -> bytes:
    """The page as JSON, recorded.

    Raises:
        ProblemError: the cursor is bad or expired, the person unknown or gone, a database away.
    """
    endpoint, types, limit, cursor = wanted
    start = None if cursor is None else services.cursors.open(cursor, endpoint, caller)
    region = await services.directory.region_of(caller)
    reader = _Reader(services, caller, region, types, limit)
    try:
        page, following = await (reader.first() if start is None else reader.at(start))
    except ProblemError as problem:
        if problem.status == 404:
            services.directory.forget(caller)
            await services.directory.region_of(caller)  # 410, if they have been erased
        raise
    shown = 0 if start is None else start.shown
    served = ServedPage(page.user_id, endpoint, request_id, reader.now, shown + 1, page.items)
    await services.impressions.record(region, served)
    next_cursor = services.cursors.seal(following, endpoint, caller) if page.more else None
    return _body(page, shown, next_cursor)


class _Reader:
    """Reads pages for one request; every source is a transaction of its own."""

    def __init__(
        self, services: Services, caller: Caller, region: Region, types: tuple[str, ...], size: int
    ) -> None:
        self._services = services
        self._caller = caller
        self._region = region
        self._types = types
        self._size = size
        self.now = services.clock()

    async def first(self) -> tuple[Page, Position]:
        """The first page, from the best source that has a list (API-5), and what comes after it.

        Raises:
            ProblemError: 404 or 410 for the person, 503 when no source answers.
        """
        found: tuple[Page, Position] | None = None
        for source in (Source.PERSONAL, Source.GENRE, Source.TRENDING):
            try:
                found = await self._read(Position(source))
            except asyncpg.PostgresError as problem:
                # The database answers, this list does not: a worse list beats no list.
                _logger.warning("the %s list failed: %s", source, type(problem).__name__)
                continue
            if found[0].available:
                return found
        if found is None:
            raise DatabaseUnavailableError(self._region)
        return found

    async def at(self, start: Position) -> tuple[Page, Position]:
        """The page at a cursor, from the list that the reader started on, and what comes after it.

        Raises:
            ProblemError: 410 when that list is gone; 503 when it cannot be read just now.
        """
        try:
            page, following = await self._read(start)
        except asyncpg.PostgresError as problem:
            _logger.warning("a page of the %s list failed: %s", start.source, type(problem))
            raise DatabaseUnavailableError(self._region) from problem
        if page.generations != start.generations:
            raise expired_cursor()
        return page, following

    async def _read(self, start: Position) -> tuple[Page, Position]:
        pools = self._services.pools
        if start.source in (Source.PERSONAL, Source.STALE):
            async with pools.connection(self._region) as connection:
                lists = await personal_lists(
                    connection,
                    self._caller,
                    self._types,
                    start.generations or None,
                    shards=self._services.shards[self._region],
                    now=self.now,
                )
            note_arm(lists.arm)
            page = lists.page(start.served, self._size)
            shown = start.shown + len(page.items)
            return page, Position(page.source, page.generations, page.served, shown=shown)
        async with person_session(pools, self._region, self._caller) as connection:
            page, key = await fall_back_page(
                connection, start.source, self._types, start=start.key, seen=start.seen,
                size=self._size, now=self.now,
            )  # fmt: skip
        seen = start.seen + tuple(item.entity_id[:SEEN_HEAD] for item in page.items)
        return page, Position(
            page.source,
            # By position only where more was seen than a cursor holds.
            key=key if len(seen) > MOST_SEEN else 0,
            shown=start.shown + len(page.items),
            seen=seen[-MOST_SEEN:],
        )


def _body(page: Page, shown: int, next_cursor: str | None) -> bytes:
    cards = [
        complete_card(item.card, place, item.social)
        for place, item in enumerate(page.items, start=shown + 1)
    ]
    return b'{"items":[%s],"next_cursor":%s,"generation":%s,"source":"%s"}' % (
        ",".join(cards).encode(),
        orjson.dumps(next_cursor),
        orjson.dumps(max(page.generations, default=0) or None),
        page.source.encode(),
    )
