"""Plain requests for pages answer as the documented routes do; all others are left to those."""

import pytest

from serving.plain_reads import _parameters
from tests.serving.serving_world import World

BY_THE_ROUTE = {"and": "more"}  # a parameter that nobody knows: not plain, and ignored


@pytest.fixture
def ada(world: World):
    ada = world.person("Ada")
    world.publish(ada, world.entities("room", 3), world.entities("artist", 4))
    return ada


@pytest.mark.parametrize("path", ["/feed", "/recommendations/artists", "/recommendations/rooms"])
async def test_pages_are_alike(api, world: World, ada, path: str) -> None:
    plain = await api.get(path, ada, limit=2)
    world.sql("delete from seda.impression_pages")
    route = await api.get(path, ada, limit=2, **BY_THE_ROUTE)
    assert plain.status_code == route.status_code == 200
    assert plain.headers["content-type"] == route.headers["content-type"]
    first, again = plain.json(), route.json()
    following = [
        await api.page(path, ada, limit=2, cursor=cursor)
        for cursor in (first.pop("next_cursor"), again.pop("next_cursor"))
    ]
    assert first == again
    assert following[0]["items"] == following[1]["items"] != first["items"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"limit": "0"}, 422),
        ({"limit": "51"}, 422),
        ({"limit": "999999999999999999999"}, 422),
        ({"limit": "two"}, 422),
        ({"limit": ""}, 422),
        ({"cursor": "nonsense"}, 400),
        ({"cursor": ""}, 400),
        ({"cursor": "ü"}, 400),
    ],
)
async def test_problems_are_alike(api, ada, query: dict[str, str], status: int) -> None:
    plain, route = [await api.get("/feed", ada, **query, **more) for more in ({}, BY_THE_ROUTE)]
    assert plain.status_code == route.status_code == status
    ignored = {"request_id"}
    assert {k: v for k, v in plain.json().items() if k not in ignored} == {
        k: v for k, v in route.json().items() if k not in ignored
    }


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic YTpi"},
     {"Authorization": "Bearer"}, {"Authorization": "Bearer ü".encode()}],
)  # fmt: skip
async def test_nobody_is_refused_alike(api, ada, headers: dict[str, str | bytes]) -> None:
    plain, route = [
        await api.client.get("/feed", headers=headers, params=query) for query in ({}, BY_THE_ROUTE)
    ]
    assert plain.status_code == route.status_code == 401
    assert plain.headers["www-authenticate"] == route.headers["www-authenticate"]


async def test_both_are_measured_as_the_documented_route(api, ada) -> None:
    for query in ({}, BY_THE_ROUTE):
        await api.page("/recommendations/rooms", ada, **query)
    metrics = (await api.client.get("/metrics")).text
    (line,) = [
        line for line in metrics.splitlines()
        if line.startswith("seda_http_requests_total") and "/recommendations/{kind}" in line
    ]  # fmt: skip
    assert line.endswith(" 2.0")


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        (b"", (20, None)),
        (b"limit=7", (7, None)),
        (b"cursor=a.b-c_d&limit=50", (50, "a.b-c_d")),
        (b"limit=7&limit=8", None),
        (b"limit=07", (7, None)),
        (b"limit=00051", None),
        (b"limit=+7", None),
        (b"cursor=a%2Eb", None),
        (b"limit=7&", None),
    ],
)
def test_only_what_is_plain_is_read_here(query: bytes, parameters: object) -> None:
    assert _parameters(query) == parameters
