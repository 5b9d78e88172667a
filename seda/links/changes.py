"""People whose imports changed since their lists were made, until they are told of new ones."""

import json
from collections.abc import Sequence
from datetime import datetime
from itertools import islice

import psycopg

from seda.database.regions import RegionalDatabase

PEOPLE_PER_PAYLOAD = 150
"""A payload has less than 8,000 bytes, and a person takes 39 of them."""

_SHARD = "u.region || '-' || lpad((((u.bucket + 1) * %(shards)s - 1) / 64)::text, 2, '0')"
_WAITING = """
    select {shard}, max(c.changed_at) from seda.import_changes c
    join seda.users u on u.id = c.user_id and u.deleted_at is null group by 1
""".replace("{shard}", _SHARD)
# Lists made from what was read after the change: the run began later, and published since.
_TOLD = """
    delete from seda.import_changes c using seda.users u
    where u.id = c.user_id and c.changed_at < %(began)s and exists (
        select from seda.generation_pointer p join seda.generations g using (generation)
        where p.shard = {shard} and g.published_at >= %(began)s)
    returning c.user_id
""".replace("{shard}", _SHARD)


def waiting_shards(connection: psycopg.Connection, shards: int) -> dict[str, datetime]:
    """Shards with people whose lists are out of date, and the newest change in each."""
    return dict(connection.execute(_WAITING, {"shards": shards}).fetchall())


def announce_lists(
    database: RegionalDatabase, *, channel: str, shards: int, began: datetime, now: datetime
) -> int:
    """Tell people that their lists know their imports now; how many there were.

    `began` is when the run that made the lists started to read. The row goes in the transaction
    that announces: told once, and again only after another change.
    """
    with database.transaction() as connection:
        values = {"shards": shards, "began": began}
        people = [str(user) for (user,) in connection.execute(_TOLD, values).fetchall()]
        _notify(connection, channel, people, now)
    return len(people)


def _notify(
    connection: psycopg.Connection, channel: str, people: Sequence[str], now: datetime
) -> None:
    left = iter(people)
    payloads = []
    while some := list(islice(left, PEOPLE_PER_PAYLOAD)):
        document = {
            "users": some,
            "entity_types": ["room", "playlist", "artist"],
            "reason": "imports",
            "at": now.isoformat(timespec="microseconds"),
        }
        payloads.append(json.dumps(document, separators=(",", ":")))
    connection.execute("select pg_notify(%s, p) from unnest(%s::text[]) as p", [channel, payloads])
