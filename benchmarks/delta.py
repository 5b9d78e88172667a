"""What a delta re-rank costs per person whom events concern, and what it grows with.

    python -m benchmarks.delta [--people 2000 8000] [--trees]

Worlds of two sizes: everybody has a published list of 50 rooms out of 300 candidates and about
thirty friends. 1, 10, 100 people come into rooms; the re-rank of whom that concerns is timed from
reading the events to the commit. With --trees the ranker is a learned ensemble.
"""

import argparse
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.drills.room_lists import publish_rooms
from seda.activity.social_events import next_range
from seda.database.copy import read_fixed
from seda.database.migrate import upgrade
from seda.database.regions import Databases, Region, RegionalDatabase
from seda.publishing.overlays import CONSUMER, DeltaReport, update_overlays
from seda.recommender.learning import TrainingRows, TreeConfig, fit_trees
from seda.recommender.ranking import LinearWeights, Ranker
from seda.recommender.terms import INPUTS
from seda.settings import Settings

ROOMS, POOL, LISTED = 400, 300, 50
ACTORS = (1, 10, 100)
_WORLD = (
    "insert into seda.users (id, display_name) select gen_random_uuid(), 'P' || n "
    "from generate_series(1, %(people)s) n",
    "create temp table numbered as select id, row_number() over () as n from seda.users",
    "insert into seda.friends (user_id, friend_user_id) select a.id, b.id from numbered a "
    "cross join generate_series(1, 15) k "
    "join numbered b on b.n = (a.n * 7919 + k * 104729) %% %(people)s + 1 where a.id <> b.id "
    "on conflict do nothing",
    "insert into seda.friends (user_id, friend_user_id) select friend_user_id, user_id "
    "from seda.friends on conflict do nothing",
    "insert into seda.rooms (id, name) select gen_random_uuid(), 'room ' || n "
    "from generate_series(1, %(rooms)s) n",
)
_IDS = ("select id from seda.users order by id", "select id from seda.rooms order by id")
_COME = (
    "delete from seda.room_presence",
    "create temp table coming on commit drop as select u.id as user_id, r.id as room_id from "
    "(select id, row_number() over (order by random()) as n from seda.users limit %(actors)s) u "
    "join (select id, row_number() over (order by random()) as n from seda.rooms) r using (n)",
    "insert into seda.room_presence (room_id, user_id) select room_id, user_id from coming",
    "insert into seda.social_events (event_id, user_id, kind, entity_type, entity_id, occurred_at) "
    "select gen_random_uuid(), user_id, 'join', 'room', room_id, now() from coming",
)


def main() -> None:
    """Prints a line per world and number of people who came."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, nargs="+", default=[2_000, 8_000])
    parser.add_argument("--trees", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    ranker: Ranker = _trees() if arguments.trees else LinearWeights()
    print("region of   came   concerned   written        ms   ms/person (best round)")
    with ExitStack() as exits:
        worlds = {people: _world(exits, people, ranker) for people in arguments.people}
        for actors in ACTORS:
            # The worlds take turns, so that what else the machine does meets both.
            best: dict[int, DeltaReport] = {}
            for _ in range(arguments.rounds):
                for people, database in worlds.items():
                    report = _round(database, actors, ranker)
                    best[people] = min(best.get(people, report), report, key=_per_person)
            for people, report in best.items():
                print(f"{people:9,d} {actors:6,d} {report.people:11,d} {report.written:9,d} "
                      f"{1000 * report.seconds:9.1f} {_per_person(report):11.2f}")  # fmt: skip


def _per_person(report: DeltaReport) -> float:
    return 1000 * report.seconds / report.people


def _world(exits: ExitStack, people: int, ranker: Ranker) -> RegionalDatabase:
    home = exits.enter_context(tempfile.TemporaryDirectory(prefix="seda-bench-"))
    databases = Databases(
        Settings(_env_file=None, home=Path(home), database_url=None, eu_database_url=None)
    )
    exits.callback(databases.close)
    database = databases[Region.GLOBAL]
    upgrade(database)
    with database.transaction() as connection:
        for statement in _WORLD:
            connection.execute(statement, {"people": people, "rooms": ROOMS})
        users, rooms = (read_fixed(connection, query, ["uuid"])[0] for query in _IDS)
    publish_rooms(
        database, users, rooms, ranker=ranker, version="benchmark", pool=POOL, listed=LISTED,
        now=datetime.now(UTC),
    )  # fmt: skip
    with database.connect(autocommit=True) as connection:
        connection.execute("vacuum analyze")
    _round(database, 1, ranker)  # loads the kernels
    return database


def _round(database: RegionalDatabase, actors: int, ranker: Ranker) -> DeltaReport:
    with database.transaction() as connection:
        connection.execute("delete from seda.realtime_rankings")
        for statement in _COME:
            connection.execute(statement, {"actors": actors})
    while True:
        with database.transaction() as connection:
            ahead = next_range(connection, CONSUMER)
        if ahead.events == actors:
            break
        time.sleep(0.05)
    return update_overlays(
        database, until=ahead.until, rankers=lambda version: ranker, shards=1,
        now=datetime.now(UTC),
    )  # fmt: skip


def _trees() -> Ranker:
    """As many trees, and as deep, as a region learns; presence is among what they read."""
    random = np.random.default_rng(1)
    inputs = random.standard_normal((40_000, len(INPUTS)), dtype=np.float32)
    presence = inputs[:, INPUTS.index("presence")]
    wish = inputs[:, 0] + np.maximum(presence, 0) + random.gumbel(size=len(inputs))
    relevant = wish > np.quantile(wish, 0.9)
    held = np.add.reduceat(relevant.astype(np.int64), np.arange(0, len(inputs), 100))
    rows = TrainingRows(
        inputs, relevant, np.full(400, 100), held,
        positions=np.zeros(len(inputs), np.int64), weights=np.ones(len(inputs)),
    )  # fmt: skip
    return fit_trees(rows, config=TreeConfig(), seed=1)


if __name__ == "__main__":
    main()
