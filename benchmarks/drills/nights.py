"""A small world whose nightly graph is killed with -9 while people read their lists.

Every night is of another day, so its lists differ from the last one's, and a mix of two would show.
"""

import asyncio
import contextlib
import logging
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from multiprocessing.context import BaseContext
from threading import Event
from uuid import UUID

import asyncpg
import numpy as np
import psycopg

from seda.database.regions import (
    Databases,
    Region,
    RegionalDatabase,
    api_login_url,
    shards_of,
)
from seda.settings import Settings
from serving.authentication import Caller
from serving.lists import personal_lists

TYPES = ("room", "playlist", "artist")
NOW = datetime.fromisoformat("2026-09-01T03:00:00+00:00")

# What is the same however often a night was killed. Ids of recommendations are made of person, type
# and entity; generations, runs and times are a night's own.
FINAL = {
    "lists": "select r.user_id, r.entity_type, r.rank, r.entity_id, r.id, r.score, r.model_version "
    "from seda.recommendations r join seda.generation_pointer p using (generation, entity_type)",
    "cards": "select c.user_id, c.entity_type, c.entity_ids, c.cards "
    "from seda.mv_user_top_candidates c "
    "join seda.generation_pointer p using (generation, entity_type)",
    "pointers": "select shard, entity_type, arm from seda.generation_pointer",
    "vectors": "select 'artist', space_id, entity_id from seda.artists_vectors union all "
    "select 'user', space_id, entity_id from seda.user_vectors",
    "summaries": "select user_id from seda.user_activity_summary",
    "popularity": "select entity_type, entity_id from seda.entity_popularity",
    "spend": "select state, job, tokens from seda.embedding_spend",
    "registry": "select name, version, stage from seda.model_registry",
    "served": "select shard, state from seda.generations where state = 'published'",
}
# Nothing half-published is left beside what is served: every served generation has all it counted.
_BROKEN = """
    select count(*) from seda.generation_pointer p join seda.generations g using (generation)
    where g.state <> 'published' or not g.row_counts ?& array['recommendations',
        'mv_user_top_candidates']"""
_STORED = """
    select generation, user_id, entity_type, cards from seda.mv_user_top_candidates
    where generation = any (%s)"""
_KILL_SESSIONS = """
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()"""

# Of a connection that was cut under it, asyncpg sometimes says that its own state is wrong.
_LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

Final = dict[str, Counter]


def night(settings: Settings, day: int) -> None:
    """The nightly graph over all shards, in this process, as if on that day."""
    import dagster as dg

    logging.disable(logging.INFO)  # Dagster's own log of every step

    from seda_assets.automation.jobs import all_shards
    from seda_assets.definitions import build_definitions
    from seda_assets.resources import Platform

    platform = Platform(settings, now=NOW + timedelta(days=day))
    with dg.DagsterInstance.ephemeral() as instance:
        build_definitions(platform).resolve_job_def("nightly").execute_in_process(
            instance=instance, tags=all_shards()
        )


class Nights:
    """Starts nights in processes of their own and kills them; the imports are paid once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._context: BaseContext = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["seda_assets.definitions"])

    def whole(self, day: int) -> bool:
        """A night that nobody kills; whether it succeeded."""
        process = self._start(day)
        process.join()
        return process.exitcode == 0

    def killed(self, day: int, seconds: float) -> bool:
        """A night whose process is killed after so long; False if it had ended before."""
        process = self._start(day)
        process.join(seconds)
        was_alive = process.is_alive()
        process.kill()
        process.join()
        return was_alive

    def struck(self, day: int, moments: Sequence[float], strike: Callable[[], None]) -> bool:
        """A night under which something else is killed after so long, and again; whether it
        succeeded all the same."""
        process, started = self._start(day), time.monotonic()
        for moment in sorted(moments):
            process.join(max(0.0, started + moment - time.monotonic()))
            strike()
        process.join()
        return process.exitcode == 0

    def _start(self, day: int):
        process = self._context.Process(target=night, args=(self._settings, day))
        process.start()
        return process


@dataclass
class Readings:
    """What people were given: (person, generation of each type, cards of each type that has some,
    hashed) → how often; and what stands in the generations that they were given."""

    reads: Counter = field(default_factory=Counter)
    stored: dict[tuple[int, UUID, str], int] = field(default_factory=dict)
    """(generation, person, type) → its cards, hashed. Looked up while it is served: later nights
    drop it."""
    refused: int = 0
    """Reads that failed because the database was away; nothing was shown."""

    @property
    def count(self) -> int:
        return sum(self.reads.values())

    def look_up(self, database: RegionalDatabase, generations: set[int]) -> None:
        """Remember what stands in these generations."""
        with database.transaction() as connection:
            for generation, person, kind, cards in connection.execute(_STORED, [[*generations]]):
                self.stored[generation, person, kind] = hash(tuple(cards))


@contextlib.contextmanager
def reading(databases: Databases, region: Region = Region.GLOBAL) -> Iterator[Readings]:
    """People of one region read their lists with the API's statement, as fast as one connection
    goes, until the block ends."""
    readings, over = Readings(), Event()
    with ThreadPoolExecutor(max_workers=1) as thread:
        reader = thread.submit(lambda: asyncio.run(_read(databases, region, readings, over)))
        try:
            yield readings
        finally:
            over.set()
        reader.result()  # a reader that died has seen nothing wrong, and nothing else


async def _read(databases: Databases, region: Region, readings: Readings, over: Event) -> None:
    settings = databases.settings
    with databases[region].transaction() as connection:
        subs = connection.execute(
            "select distinct u.auth_user_id from seda.users u join seda.mv_user_top_candidates c "
            "on c.user_id = u.id where u.auth_user_id is not null order by 1 limit 40"
        ).fetchall()
    people = [Caller(str(sub)) for (sub,) in subs]
    shards = sum(shard.region is region for shard in shards_of(settings))
    address, connection = api_login_url(databases[region], settings), None
    turn, seen = 0, {0}
    while not over.is_set():
        try:
            if connection is None:
                connection = await asyncpg.connect(address)
            caller = people[turn % len(people)]
            found = await personal_lists(
                connection, caller, TYPES, None, shards=shards, now=NOW + timedelta(hours=1)
            )
        except _LOST:
            readings.refused += 1
            if connection is not None:
                connection.terminate()
                connection = None
            await asyncio.sleep(0.05)
            continue
        turn += 1
        cards = tuple(hash(tuple(each.cards)) for each in found.lists if each.cards)
        readings.reads[found.user_id, found.generations, cards] += 1
        if unseen := {*found.generations} - seen:
            with contextlib.suppress(psycopg.Error):  # it is away: after the next read, then
                readings.look_up(databases[region], unseen)
                seen |= unseen
    if connection is not None:
        await connection.close()


def wrong_reads(readings: Readings) -> int:
    """Reads that were not one whole generation: a gap, an empty list, a mix, a part."""
    wrong = 0
    for (person, generations, cards), times in readings.reads.items():
        whole = len(set(generations)) == 1 and cards == tuple(
            readings.stored.get((generation, person, kind))
            for kind, generation in zip(TYPES, generations, strict=True)
        )
        wrong += 0 if whole else times
    return wrong


def final_tables(databases: Databases) -> Final:
    """Both regions' final rows, and how many served generations are not whole."""
    found: Final = {}
    for database in databases:
        with database.transaction() as connection:
            for name, query in FINAL.items():
                rows = connection.execute(query).fetchall()
                found[f"{name} {database.region}"] = Counter(map(repr, rows))
            ((broken,),) = connection.execute(_BROKEN).fetchall()
            found[f"broken {database.region}"] = Counter(["a part"] * broken)
    return found


def differing(one: Final, other: Final) -> dict[str, tuple[int, int]]:
    """By table, how many rows only the one and only the other has, where they differ."""
    return {
        name: ((rows - other[name]).total(), (other[name] - rows).total())
        for name, rows in one.items()
        if rows != other[name]
    }


def kill_sessions(databases: Databases) -> None:
    """Ends every connection to both databases; the server goes on."""
    for database in databases:
        with database.connect(autocommit=True) as connection:
            connection.execute(_KILL_SESSIONS)


def random_moments(count: int, seconds: float, seed: int) -> list[float]:
    """When to kill, in seconds after a night began: anywhere in it."""
    drawn = np.random.default_rng([seed, 5]).uniform(0.02, 0.98, count)
    return [float(each) * seconds for each in drawn]


def timed(work: Callable[[], bool]) -> tuple[bool, float]:
    """What it returned and how many seconds it took."""
    started = time.monotonic()
    return work(), time.monotonic() - started
