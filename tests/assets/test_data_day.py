"""The scripted day's readers find what is wrong, and its questions are the Dagster UI's.

The day itself, against a running `dagster dev`: `python -m benchmarks.data_day`.
"""

from typing import Any
from uuid import UUID

import pytest
from dagster_graphql.schema import create_schema
from graphql import parse, validate

from benchmarks.drills.dagster_ui import QUERIES
from benchmarks.drills.feed_readers import Listing, Person, Readings, Terms, faults_of
from seda.database.regions import Region

ADA = Person(UUID(int=1), Region.GLOBAL, "canary", "token")


def page(first: int, count: int, **changed: Any) -> dict[str, Any]:
    """Items of these ranks, each with changed members, on a page of a personal list."""
    members = {"generation", "source"} & set(changed)
    of_page = {"generation": 7, "source": "personal", **{name: changed[name] for name in members}}
    of_item = {name: value for name, value in changed.items() if name not in members}
    items = [
        {"id": f"r{rank}", "rank": rank, "model_version": "one", "entity_type": "room"} | of_item
        for rank in range(first, first + count)
    ]
    return {"items": items, **of_page}


def listing(*pages: dict[str, Any], **known: Any) -> Listing:
    return Listing(ADA, "recommendations/rooms", 1.0, 2.0, pages, **known)


def test_a_list_of_one_generation_over_two_pages_is_right() -> None:
    assert faults_of(listing(page(1, 3), page(4, 2), dismissed=frozenset({"r9"}))) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (listing(refused="503, message='Service Unavailable'"), "503"),
        (listing(page(1, 0)), "empty"),
        (listing(page(1, 2, source="trending")), "trending"),
        (listing(page(1, 2), page(3, 1, id="r1")), "twice"),
        (listing(page(1, 2), page(4, 1)), "ranks"),
        (listing(page(1, 2), dismissed=frozenset({"r2"})), "dismissed"),
        (listing(page(1, 2), page(3, 1, generation=8)), "several generations"),
        (listing(page(1, 2), page(3, 1, model_version="two")), "several versions"),
        (listing(page(1, 2, entity_type="artist")), "another type"),
    ],
)
def test_what_is_wrong_with_a_list_is_said(wrong: Listing, said: str) -> None:
    (fault,) = faults_of(wrong)
    assert said in fault


def test_a_version_is_untimely_for_who_starts_to_read_after_its_end() -> None:
    terms = Terms()
    terms.begin(ADA.group, "one", 0.0)
    terms.begin(ADA.group, "two", 10.0)
    terms.end(ADA.group, "one", 12.0)
    readings = Readings()
    group = ADA.group
    # One was being read when it ended, and two when it began.
    readings.seen = [(group, "one", 11.0, 13.0), (group, "two", 9.0, 10.5)]
    assert readings.untimely(terms) == []
    readings.seen = [(group, "one", 12.1, 12.2), (group, "two", 9.0, 9.5), (group, "three", 1, 2)]
    assert len(readings.untimely(terms)) == 3
    # A rollback: the older one again, and the newer one no more.
    terms.begin(group, "one", 20.0)
    terms.end(group, "two", 21.0)
    assert terms.allow(group, "one", 22.0, 23.0)
    assert not terms.allow(group, "two", 22.0, 23.0)
    assert not terms.allow(group, "one", 15.0, 16.0)
    assert not terms.allow((Region.GLOBAL, "control"), "one", 1.0, 2.0)


def test_what_the_day_asks_is_in_the_uis_schema() -> None:
    schema = create_schema().graphql_schema
    for query in QUERIES:
        assert not validate(schema, parse(query))
