"""Records every page that is served, before the response ends.

A page is not sent until its impressions are committed: what a client received is in the table,
whatever kills this process. If they cannot be written the request answers 503 and the page is not
shown: a page that nobody recorded would be served again as if it were fresh, would teach the
ranker that it was not seen, and could not be explained. Nothing was acknowledged, nothing is lost.

Pages of concurrent requests share a commit: the next batch is whatever came in while the one
before was being committed, so a page waits for two commits at most, and for none when idle.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from seda.database.regions import Region
from serving.lists import Item, Origin
from serving.pools import Pools
from serving.presence import NOBODY_JSON
from serving.problems import DatabaseUnavailableError

MOST_PAGES = 200
"""Pages in one commit."""
WRITE_TIMEOUT_SECONDS = 2.0

_RECORD = "select seda.record_pages($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"

_logger = logging.getLogger("serving")


@dataclass(frozen=True, slots=True)
class ServedPage:
    """One page as it is about to be sent; `user_id` is what the person's own transaction gave.

    `first` is the place of its first item in the whole list so far, from 1.
    """

    user_id: UUID
    surface: str
    request_id: str
    shown_at: datetime
    first: int
    items: Sequence[Item]

    def rows(self) -> Iterator[tuple[object, ...]]:
        """The arguments of `seda.record_pages` for each list that the page has items of."""
        shown: dict[Origin, list[int]] = {}
        for place, item in enumerate(self.items):
            shown.setdefault(item.origin, []).append(place)
        for origin, places in shown.items():
            _, social, ids, entity_ids, is_new, _ = zip(
                *[self.items[place] for place in places], strict=True
            )
            alone = [each is NOBODY_JSON for each in social]
            yield (
                self.user_id, self.surface, self.request_id, self.shown_at, *origin,
                _array([str(self.first + place) for place in places]),
                _array(ids),
                _array(entity_ids),
                None if is_new[0] is None else _array(["ft"[each] for each in is_new]),
                None if all(alone) else _array(["tf"[each] for each in alone]),
            )  # fmt: skip


def _array(elements: Iterable[str]) -> str:
    """As text: the driver would make an object of every element."""
    return "{" + ",".join(elements) + "}"


async def rehearse(connection: asyncpg.Connection) -> None:
    """Check, as the login, that pages could be recorded.

    Raises:
        asyncpg.PostgresError: they could not.
    """
    await connection.execute(_RECORD, *([] for _ in range(_RECORD.count("$"))))


class ImpressionLog:
    """Writes served pages, in one commit for all that wait."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        self._waiting: dict[Region, list[tuple[ServedPage, asyncio.Future[None]]]] = {}
        self._writers: dict[Region, asyncio.Task[None]] = {}

    async def record(self, region: Region, page: ServedPage) -> None:
        """Returns when the page is committed.

        Raises:
            DatabaseUnavailableError: it could not be.
        """
        if not page.items:
            return
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(region, []).append((page, written))
        if region not in self._writers:
            self._writers[region] = asyncio.create_task(self._write_all(region))
        await written

    async def _write_all(self, region: Region) -> None:
        try:
            while waiting := self._waiting.get(region):
                batch, self._waiting[region] = waiting[:MOST_PAGES], waiting[MOST_PAGES:]
                await self._write_batch(region, batch)
        finally:
            del self._writers[region]

    async def _write_batch(
        self, region: Region, batch: Sequence[tuple[ServedPage, asyncio.Future[None]]]
    ) -> None:
        failure: Exception | None = None
        try:
            await self._write(region, [page for page, _ in batch])
        except asyncpg.PostgresError as problem:
            if len(batch) > 1:  # one page must not cost the others theirs
                for each in batch:
                    await self._write_batch(region, [each])
                return
            _logger.warning("impressions were not written: %s", type(problem).__name__)
            failure = DatabaseUnavailableError(region)
        except Exception as problem:
            failure = problem
        for _, written in batch:
            if written.done():  # the request was cancelled
                continue
            if failure is None:
                written.set_result(None)
            else:
                written.set_exception(failure)

    async def _write(self, region: Region, pages: Sequence[ServedPage]) -> None:
        rows = [row for page in pages for row in page.rows()]
        async with self._pools.connection(region) as connection:
            await connection.execute(
                _RECORD, *zip(*rows, strict=True), timeout=WRITE_TIMEOUT_SECONDS
            )
