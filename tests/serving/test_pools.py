"""Few connections serve many: in the order of asking, and nobody waits for ever."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from seda.database.regions import Region, api_login_url
from serving.impressions import ServedPage
from serving.lists import Item, Origin
from serving.pools import Pools
from serving.presence import NOBODY_JSON
from serving.problems import DatabaseUnavailableError
from tests.serving.serving_world import World, open_api


@pytest.fixture
async def single(world: World) -> AsyncIterator[Pools]:
    """Pools of one connection each."""
    urls = {each: api_login_url(world.databases[each], world.settings) for each in Region}
    pools = Pools(urls, size=1)
    await pools.open()
    yield pools
    await pools.close()


async def test_who_asked_first_is_served_first(single: Pools) -> None:
    served: list[int] = []

    async def reader(number: int) -> None:
        async with single.connection(Region.GLOBAL) as connection:
            served.append(number)
            await connection.fetchval("select 1")

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(reader(number))
        # Whoever comes while a connection changes hands finds it free, and others waiting for it.
        for number in range(20, 600):
            await asyncio.sleep(0)
            group.create_task(reader(number))
    assert served == list(range(600))


async def test_waiting_has_an_end(single: Pools) -> None:
    async with single.connection(Region.GLOBAL):
        with pytest.raises(DatabaseUnavailableError):
            async with single.connection(Region.GLOBAL):
                pytest.fail("two have the only connection")
        async with single.connection(Region.EU) as other:
            assert await other.fetchval("select 1") == 1
    async with single.connection(Region.GLOBAL) as connection:
        assert await connection.fetchval("select 1") == 1


async def test_a_page_is_recorded_while_all_connections_are_read_from(world: World) -> None:
    ada, room = world.person("Ada"), world.entity("room", "Ambient")
    settings = world.settings.model_copy(update={"api_connections": 1})
    async with open_api(world, settings=settings) as api:
        services = api.client._transport.app.state.services
        id = str(room.id)
        item = Item("", NOBODY_JSON, id, id, None, Origin("room", None, "genre-top"))
        page = ServedPage(ada.id, "rooms", "r1", datetime.now(UTC), 1, (item,))
        async with services.pools.connection(Region.GLOBAL):
            await services.impressions.record(Region.GLOBAL, page)
    assert world.sql("select count(*) from seda.impressions") == [(1,)]
