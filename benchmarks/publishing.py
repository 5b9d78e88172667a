"""Publishing one shard against a raw binary COPY of the same rows, in one run.

    python -m benchmarks.publishing [--people 3000] [--rounds 3]

Raw is COPY into bare tables with neither key nor index. Publishing is all of it: partitions, rows,
checks, keys, indexes, attach and flip. Each round measures both in turn; the ratio is of their best
rounds, and the cut-over the slowest flip seen. A reader asks for one person's cards all the while.
"""

import argparse
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import orjson

from seda.database.copy import copy_rows
from seda.database.migrate import upgrade
from seda.database.regions import Databases, Region, RegionalDatabase
from seda.publishing.cards import ENTITY_TYPES
from seda.publishing.generations import (
    TABLES,
    PublishReport,
    drop_unreferenced,
    load_cards,
    load_recommendations,
    open_generation,
    publish,
)
from seda.publishing.rows import CardRows, RecommendationRows
from seda.settings import Settings

NOW = datetime(2026, 11, 1, tzinfo=UTC)
LISTED = 50
FEATURES, SIGNALS, CONTRIBUTIONS = 19, 15, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rows, cards = made(arguments.people)
    size = (
        sum(map(len, rows.contexts)) / len(rows.contexts),
        sum(map(len, cards.cards)) / len(cards.cards),
    )
    print(f"{len(rows.ids):,} recommendations (context {size[0]:.0f} B), {len(cards.user_ids):,} "
          f"lists of {LISTED} cards (card {size[1]:.0f} B)")  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="seda-bench-") as home:
        databases = Databases(
            Settings(_env_file=None, home=Path(home), database_url=None, eu_database_url=None)
        )
        try:
            measure(databases[Region.GLOBAL], rows, cards, arguments.rounds)
        finally:
            databases.close()


def measure(
    database: RegionalDatabase, rows: RecommendationRows, cards: CardRows, rounds: int
) -> None:
    """Print the figures of some rounds; the first one warms both up and is not counted."""
    upgrade(database)
    raws, published, flips = [], [], []
    user = bytes(cards.user_ids[0])
    for number in range(rounds + 1):
        raw = raw_copy(database, rows, cards)
        with Reader(database, user) as reader:
            seconds, report = publish_all(database, rows, cards, NOW + timedelta(minutes=number))
        with database.connect(autocommit=True) as connection:
            connection.execute("checkpoint")
        drop_unreferenced(
            database, now=NOW + timedelta(minutes=number), cursor_lifetime=timedelta(0)
        )
        if number:
            raws.append(raw)
            published.append(seconds)
            flips.append(report.seconds)
            print(
                f"  raw {raw:.2f} s, publishing {seconds:.2f} s, flip {report.seconds * 1e3:.1f} "
                f"ms, slowest of {reader.reads:,} reads {reader.longest * 1e3:.0f} ms"
            )
    rate = len(rows.ids) / min(published)
    print(f"ratio to raw binary COPY {min(raws) / min(published):.2f} (target 0.5), "
          f"{rate:,.0f} recommendations/s with their cards, "
          f"cut-over {max(flips) * 1e3:.1f} ms (target 50)")  # fmt: skip


def made(people: int) -> tuple[RecommendationRows, CardRows]:
    """Lists of the usual size and shape, types one after the other as they are rendered."""
    random = np.random.default_rng(0)
    lists = people * len(ENTITY_TYPES)
    count = lists * LISTED
    users = np.tile(random.integers(0, 256, (people, 16), np.uint8), (len(ENTITY_TYPES), 1))
    kinds = np.repeat(np.arange(len(ENTITY_TYPES)), people)
    ids, entities = random.integers(0, 256, (2, count, 16), np.uint8)
    scores = np.sort(random.random((lists, LISTED)))[:, ::-1].reshape(-1).copy()
    reasons = [
        {"kind": "because_you_listen", "text": f"Because you listen to Artist {number}"}
        for number in range(count % 997 + 200)
    ]
    features = random.random((count, FEATURES), np.float32).round(4)
    texts = [orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) for row in features]
    contexts = [
        b'{"surface":"feed","friend_presence_count":0,"avatars_shown":0,"is_new":false,'
        b'"reasons":%s,"features":%s}' % (orjson.dumps([reasons[n % len(reasons)]]), texts[n])
        for n in range(count)
    ]
    rendered = [
        b'{"id":"%s","entity_type":"%s","entity_id":"%s","name":"The name of entity %d","score":'
        b'%.6f,"reasons":%s,"is_new":false,"model_version":"linear-design-1"}'
        % (ids[n].tobytes().hex().encode(), ENTITY_TYPES[kinds[n // LISTED]].encode(),
           entities[n].tobytes().hex().encode(), n % 9999, scores[n],
           orjson.dumps([reasons[n % len(reasons)]]))
        for n in range(count)
    ]  # fmt: skip
    shared = {
        "created_at": NOW,
        "expires_at": NOW + timedelta(hours=36),
        "model_version": "linear-design-1",
    }
    rows = RecommendationRows(
        ids=ids,
        user_ids=np.repeat(users, LISTED, axis=0),
        entity_types=np.repeat(kinds, LISTED),
        entity_ids=entities,
        ranks=np.tile(np.arange(1, LISTED + 1), lists),
        scores=scores,
        contexts=contexts,
        signals=random.random((count, SIGNALS), np.float32),
        contributions=random.random((count, CONTRIBUTIONS), np.float32),
        **shared,
    )
    cards = CardRows(
        user_ids=users,
        entity_types=kinds,
        lengths=np.full(lists, LISTED),
        recommendation_ids=ids,
        entity_ids=entities,
        scores=scores.astype(np.float32),
        cards=rendered,
        is_new=random.random(count) < 0.4,
        genres=[f"genre {number % 97}" for number in range(count)],
        **shared,
    )
    return rows, cards


def raw_copy(database: RegionalDatabase, rows: RecommendationRows, cards: CardRows) -> float:
    """Seconds to COPY the rows into tables without keys, indexes or checks."""
    with database.connect(autocommit=True) as connection:
        for table in TABLES:
            connection.execute(f"drop table if exists seda.raw_{table}")
            connection.execute(
                f"create table seda.raw_{table} (like seda.{table} "
                "including storage including defaults)"
            )
        started = time.perf_counter()
        for table, block in zip(TABLES, (rows, cards), strict=True):
            copy_rows(connection, f"seda.raw_{table}", block.columns(0))
        seconds = time.perf_counter() - started
        for table in TABLES:
            connection.execute(f"drop table seda.raw_{table}")
        connection.execute("checkpoint")
    return seconds


def publish_all(
    database: RegionalDatabase, rows: RecommendationRows, cards: CardRows, now: datetime
) -> tuple[float, PublishReport]:
    """Seconds from opening a generation to serving it, and the flip's own report."""
    started = time.perf_counter()
    generation = open_generation(
        database, shard="global-00", model_version="linear-design-1", run_id=None,
        data_versions={}, now=now,
    )  # fmt: skip
    load_recommendations(database, generation, rows)
    load_cards(database, generation, cards)
    report = publish(database, generation, entity_types=ENTITY_TYPES, now=now)
    return time.perf_counter() - started, report


class Reader:
    """One person's cards, read every few milliseconds; keeps the slowest answer's seconds."""

    def __init__(self, database: RegionalDatabase, user: bytes) -> None:
        self.reads, self.longest = 0, 0.0
        self._database, self._user = database, user
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> "Reader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _read(self) -> None:
        query = (
            "select m.cards from seda.generation_pointer p join seda.mv_user_top_candidates m "
            "on m.generation = p.generation and m.entity_type = p.entity_type "
            "where p.shard = 'global-00' and m.user_id = encode(%s, 'hex')::uuid"
        )
        with self._database.connect(autocommit=True) as connection:
            while not self._done.wait(0.01):
                started = time.perf_counter()
                connection.execute(query, [self._user]).fetchall()
                self.longest = max(self.longest, time.perf_counter() - started)
                self.reads += 1


if __name__ == "__main__":
    main()
