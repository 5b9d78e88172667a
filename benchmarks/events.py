"""Measures the intake of events against raw COPY of the same rows, durable, in one run.

Run with `python -m benchmarks.events [--batch 500] [--batches 60]`. Both sides write a receipt and
an event per event, with all keys and indexes, one commit per batch, and take turns. The intake
writes as `authenticated`, under row-level security, refuses repeats and looks up every entity;
COPY is the owner's and checks nothing of that. The ratio is what counts.
"""

import argparse
import asyncio
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from uuid import UUID, uuid4

import asyncpg
import orjson

from seda.database.embedded import EmbeddedServer
from seda.database.migrate import migrate
from seda.database.regions import Databases, Region, api_login_url
from seda.feedback.events import Event, checked_event
from seda.settings import Settings
from serving.authentication import Caller
from serving.events import EventBatch
from serving.intake import Status, record_events
from serving.pools import Pools
from serving.session import person_session

ARTISTS = 1000
COLUMNS = ("event_id", "user_id", "event_type", "props", "created_at")


def main() -> None:
    """Prints the rates of COPY, of the intake alone and with its parsing, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--batches", type=int, default=60)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedServer(Path(folder) / "pg")
        settings = Settings(
            _env_file=None,
            home=Path(folder),
            database_url=server.uri("events"),
            eu_database_url=server.uri("events_eu"),
        )
        databases = Databases(settings)
        try:
            migrate(databases)
            asyncio.run(_measure(databases, settings, arguments.batch, arguments.batches))
        finally:
            databases.close()
            server.stop()


async def _measure(databases: Databases, settings: Settings, size: int, batches: int) -> None:
    owner = await asyncpg.connect(databases[Region.GLOBAL].url)
    caller, user_id = Caller(str(uuid4())), uuid4()
    await owner.execute(
        "insert into seda.users (id, auth_user_id) values ($1, $2)", user_id, caller.sub
    )
    artists = [uuid4() for _ in range(ARTISTS)]
    await owner.executemany(
        "insert into seda.artists (id, name) values ($1, 'artist')", [(id,) for id in artists]
    )
    pools = Pools({Region.GLOBAL: api_login_url(databases[Region.GLOBAL], settings)})
    await pools.open()
    seconds: dict[str, list[float]] = {"COPY": [], "intake": [], "intake with parsing": []}
    for number in range(batches + 3):
        copied = _parsed(_body(artists, size))
        taken = _body(artists, size)
        start = time.perf_counter()
        await _copy(owner, user_id, copied)
        after_copy = time.perf_counter()
        events = _parsed(taken)
        parsed = time.perf_counter()
        async with person_session(pools, Region.GLOBAL, caller, readonly=False) as connection:
            outcomes = await record_events(
                connection, user_id, events, datetime.now(UTC), timedelta(0)
            )
        stop = time.perf_counter()
        assert all(each.status is Status.ACCEPTED for each in outcomes.values())
        if number >= 3:
            seconds["COPY"].append(after_copy - start)
            seconds["intake"].append(stop - parsed)
            seconds["intake with parsing"].append(stop - after_copy)
    await pools.close()
    await owner.close()
    copy = median(seconds["COPY"])
    for name, each in seconds.items():
        rate, ratio = size / median(each), copy / median(each)
        print(f"{name:20} {1000 * median(each):6.1f} ms  {rate:8.0f} events/s  {ratio:.2f} of COPY")


def _body(artists: list[UUID], size: int) -> bytes:
    events = [
        {
            "id": uuid4(),
            "type": "listen_30s",
            "entity_type": "artist",
            "entity_id": artists[number % ARTISTS],
            "occurred_at": datetime.now(UTC),
            "props": {"surface": "feed"},
        }
        for number in range(size)
    ]
    return orjson.dumps({"events": events})


def _parsed(body: bytes) -> list[Event]:
    now = datetime.now(UTC)
    return [
        checked_event(**{name: getattr(each, name) for name in type(each).model_fields}, now=now)
        for each in EventBatch.model_validate_json(body).events
    ]


async def _copy(owner: asyncpg.Connection, user_id: UUID, events: list[Event]) -> None:
    receipts = [(each.id, user_id, each.body_hash) for each in events]
    rows = [(each.id, user_id, each.type, each.props, each.occurred_at) for each in events]
    async with owner.transaction():
        await owner.copy_records_to_table(
            "event_receipts",
            schema_name="seda",
            records=receipts,
            columns=("event_id", "user_id", "body_hash"),
        )
        await owner.copy_records_to_table(
            "fact_events", schema_name="seda", records=rows, columns=COLUMNS
        )


if __name__ == "__main__":
    main()
