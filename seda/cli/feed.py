"""Asks the running API for one person's feed, as an app would, and prints it."""

import http.client
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import typer
from rich.markup import escape

from seda.cli.readiness import HOST
from seda.cli.tables import new_table, print_table
from seda.database.regions import Databases, Region
from seda.errors import SedaError

_SECONDS = 10.0
_ITEMS = 12

# Somebody with a list of every type; best one whose friends are in rooms just now.
_SOMEBODY = """
select u.id, u.auth_user_id, coalesce(u.display_name, u.external_ids ->> 'lastfm', u.id::text)
from seda.users u
join seda.mv_user_top_candidates c on c.user_id = u.id
join seda.generation_pointer p
  on p.generation = c.generation and p.entity_type = c.entity_type and p.arm = 'control'
where u.deleted_at is null and u.auth_user_id is not null
group by u.id
order by count(*) desc, (
    select count(*) from seda.friends f
    join seda.room_presence r on r.user_id = f.friend_user_id
    where f.user_id = u.id and f.relationship_type = 'friend'
) desc, u.id
limit 1
"""


class FeedError(SedaError):
    """The API did not give a feed."""


@dataclass(frozen=True)
class Person:
    """Somebody to show a feed of; `sub` is the subject of their token."""

    user_id: UUID
    sub: UUID
    name: str
    region: Region


def somebody(databases: Databases, region: Region) -> Person | None:
    """A person of the region who has published lists, the same one every time."""
    with databases[region].transaction() as connection:
        row = connection.execute(_SOMEBODY).fetchone()
    return Person(row[0], UUID(row[1]), row[2], region) if row else None


def fetch_feed(port: int, token: str, limit: int = _ITEMS) -> dict[str, Any]:
    """`GET /feed` over HTTP.

    Raises:
        FeedError: no answer, or not a feed.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=_SECONDS)
    try:
        connection.request(
            "GET", f"/feed?limit={limit}", headers={"Authorization": f"Bearer {token}"}
        )
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as problem:
        raise FeedError(
            f"The API on port {port} did not answer ({problem}): read logs/api.log in SEDA_HOME."
        ) from problem
    finally:
        connection.close()
    if answer.status != 200:
        raise FeedError(
            f"The API answered {answer.status} to a feed request: read logs/api.log in SEDA_HOME."
        )
    feed: dict[str, Any] = json.loads(body)
    return feed


def print_feed(person: Person, feed: dict[str, Any]) -> None:
    """One person's feed as a table, best first."""
    table = new_table(
        f"The feed of {person.name}", "#", "type", "name", "score", "new", "why",
        right=("#", "score"),
    )  # fmt: skip
    for item in feed["items"]:
        table.add_row(
            str(item["rank"]),
            item["entity_type"],
            escape(item["name"]),
            f"{item['score']:.2f}",
            "new" if item["is_new"] else "",
            escape("; ".join(_reasons(item))),
        )
    print_table(table)
    typer.echo(describe(feed))


def _reasons(item: dict[str, Any]) -> Sequence[str]:
    reasons = [reason["text"] for reason in item["reasons"]]
    social = (item.get("social") or {}).get("text")
    return [social, *reasons] if social else reasons


def describe(feed: dict[str, Any]) -> str:
    """Where the feed came from, in one line."""
    models = sorted({item["model_version"] for item in feed["items"] if item["model_version"]})
    return (
        f"{len(feed['items'])} items, source: {feed['source']}, generation "
        f"{feed['generation']}, model {', '.join(models) or 'none'}"
    )
