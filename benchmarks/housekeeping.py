"""How fast old rows go, and what those who use the table meanwhile feel of it.

`python -m benchmarks.housekeeping [--pages 60000] [--events 400000]` fills an embedded database
with pages that were shown and feedback events over 120 days, and sweeps it while a reader asks what
one person was shown in the last day and a writer records pages, as fast as they can. It prints rows
per second, the longest transaction of the sweep, and the reader's and writer's latencies before it
and during it. A second sweep shows what a night costs on which nothing is old.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import numpy as np

from seda.database.embedded import EmbeddedServer
from seda.database.migrate import migrate
from seda.database.regions import Databases, Region, RegionalDatabase
from seda.retention.streams import streams
from seda.retention.sweeping import Swept, sweep
from seda.settings import Settings

PEOPLE = 2_000
NOW = datetime.now(UTC)
TABLES = ("impression_pages", "fact_events")

_PEOPLE = """
    insert into seda.users (id) select md5('person ' || n)::uuid from generate_series(1, %s) n
"""
# Twenty items of a type on a page, and what the ranker read of each: 2 to 3 KB.
_PAGES = """
    insert into seda.impression_pages (id, user_id, entity_type, model_version, surface, shown_at,
        positions, recommendation_ids, entity_ids, features)
    select gen_random_uuid(), md5('person ' || 1 + n %% %s)::uuid, 'artist', 'm', 'feed',
           %s::timestamptz - interval '120 days' * (1 - n::float8 / %s),
           array(select generate_series(1, 20)),
           array(select md5(n || ' ' || i)::uuid from generate_series(1, 20) i),
           array(select md5(n || ' ' || i)::uuid from generate_series(1, 20) i),
           array(select array_fill(random()::real, array[17]) from generate_series(1, 20))
    from generate_series(1, %s) n
"""
_EVENTS = """
    insert into seda.fact_events (event_id, user_id, event_type, props, created_at)
    select gen_random_uuid(), md5('person ' || 1 + n %% %s)::uuid, 'rec_click',
           jsonb_build_object('entity_type', 'artist', 'entity_id', md5(n::text)::uuid),
           %s::timestamptz - interval '120 days' * (1 - n::float8 / %s)
    from generate_series(1, %s) n
"""
_READ = """
    select count(*) from seda.impression_pages p
    where p.user_id = md5('person ' || %s)::uuid and p.shown_at > %s::timestamptz - interval '1 day'
"""
_WRITE = """
    insert into seda.impression_pages (id, user_id, entity_type, model_version, surface, shown_at,
        positions, recommendation_ids, entity_ids)
    select %s, md5('person ' || %s)::uuid, 'artist', 'm', 'feed', now(), '{1}',
           array[gen_random_uuid()], array[gen_random_uuid()]
"""


class Bystander:
    """Runs one statement again and again, and keeps what each time took."""

    def __init__(self, database: RegionalDatabase, values: Callable[[int], list], query: str):
        self._database, self._values, self._query = database, values, query
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.seconds: list[float] = []

    def __enter__(self) -> "Bystander":
        self._thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with self._database.connect(autocommit=True) as connection:
            while not self._stop.is_set():
                began = time.perf_counter()
                connection.execute(self._query, self._values(len(self.seconds)))
                self.seconds.append(time.perf_counter() - began)
                time.sleep(0.002)

    def told(self) -> str:
        p50, p99 = 1000 * np.quantile(self.seconds, (0.5, 0.99))
        return f"P50 {p50:5.1f} ms, P99 {p99:6.1f} ms, longest {1000 * max(self.seconds):6.1f} ms"


def bystanders(database: RegionalDatabase) -> tuple[Bystander, Bystander]:
    """A reader and a writer of the table that is swept."""
    return (
        Bystander(database, lambda n: [n % PEOPLE, NOW], _READ),
        Bystander(database, lambda n: [uuid4(), n % PEOPLE], _WRITE),
    )


def fill(database: RegionalDatabase, pages: int, events: int) -> None:
    """Pages and events, oldest first, as time would have brought them."""
    with database.transaction() as connection:
        connection.execute(_PEOPLE, [PEOPLE])
        connection.execute(_PAGES, [PEOPLE, NOW, pages, pages])
        connection.execute(_EVENTS, [PEOPLE, NOW, events, events])
    with database.connect(autocommit=True) as connection:
        connection.execute("vacuum analyze seda.impression_pages, seda.fact_events")


def measure(database: RegionalDatabase, settings: Settings) -> None:
    """Sweep both tables beside a reader and a writer, and print what was felt."""
    reader, writer = bystanders(database)
    with reader, writer:
        time.sleep(3)
    print(f"undisturbed    reader {reader.told()}\n               writer {writer.told()}")
    for name in TABLES:
        (stream,) = (each for each in streams(settings) if each.table == name)
        reader, writer = bystanders(database)
        with reader, writer:
            swept = sweep(database, stream, now=NOW)
        print(f"{told(swept)}\n               reader {reader.told()}")
        print(f"               writer {writer.told()}")
        print(f"{told(sweep(database, stream, now=NOW))}  (again)")


def told(swept: Swept) -> str:
    """One line about a sweep."""
    return (
        f"{swept.table:16s} {swept.rows:,} rows ({swept.bytes / 1e6:,.0f} MB) in "
        f"{swept.seconds:.2f} s, {swept.rows / swept.seconds:,.0f} rows/s; {swept.steps} steps, "
        f"longest transaction {1000 * swept.longest:.0f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=60_000)
    parser.add_argument("--events", type=int, default=400_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server = EmbeddedServer(Path(folder) / "pg")
        settings = Settings(
            _env_file=None,
            home=Path(folder),
            database_url=server.uri("seda_global"),
            eu_database_url=server.uri("seda_eu"),
        )
        databases = Databases(settings)
        try:
            migrate(databases)
            fill(databases[Region.GLOBAL], chosen.pages, chosen.events)
            measure(databases[Region.GLOBAL], settings)
        finally:
            databases.close()
            server.stop()


if __name__ == "__main__":
    main()
