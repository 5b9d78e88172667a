"""Kills the nightly graph and what it runs on with -9 at random points, while people read.

    python -m benchmarks.nightly_kills [--kills 9] [--people 300] [--seed 7]

In turn: the run's own process, every session of the database, the database's server. Each night is
of another day, so a mix of two would show. Then one night that nobody kills must leave the tables
that the first one left.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.drills.kills import kill_server
from benchmarks.drills.nights import (
    NOW,
    Nights,
    differing,
    final_tables,
    kill_sessions,
    random_moments,
    reading,
    timed,
    wrong_reads,
)
from seda.database.embedded import EmbeddedServer
from seda.database.migrate import migrate
from seda.database.regions import Databases
from seda.sandbox.profiles import SMOKE
from seda.sandbox.seeding import seed_sandbox
from seda.settings import Settings


def main() -> int:
    """0 where every read was of one whole generation and no table differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=9)
    parser.add_argument("--people", type=int, default=300)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    with _world(asked.people, asked.seed) as (databases, server):
        nights = Nights(databases.settings)
        done, first = timed(lambda: nights.whole(day=0))
        assert done
        before = final_tables(databases)
        done, seconds = timed(lambda: nights.whole(day=0))
        assert done
        again = differing(before, final_tables(databases))
        print(f"nights of {first:.0f} and {seconds:.0f} s; tables that differ: {again or 'none'}")
        with reading(databases) as readings:
            for number, moment in enumerate(random_moments(asked.kills, seconds, asked.seed)):
                said = _kill(nights, databases, server, number, moment)
                print(f"night {number + 1}: {said}", flush=True)
            repaired = nights.whole(day=0)
        wrong = wrong_reads(databases, readings)
        found = differing(before, final_tables(databases))
    print(f"{readings.count:,} reads, {wrong} wrong; {readings.refused} refused by the database")
    print(f"the next night {'repaired' if repaired else 'FAILED'}; differing: {found or 'none'}")
    return int(bool(wrong or found or not repaired))


def _kill(
    nights: Nights, databases: Databases, server: EmbeddedServer, number: int, moment: float
) -> str:
    day, what = number + 1, ("the run's process", "its sessions", "the database")[number % 3]
    if number % 3 == 0:
        ended = not nights.killed(day, moment)
    elif number % 3 == 1:
        ended = nights.struck(day, [moment], lambda: kill_sessions(databases))
    else:
        ended = nights.struck(day, [moment], lambda: kill_server(server))
    return (
        f"{what} killed after {moment:.1f} s, {'it ended all the same' if ended else 'it failed'}"
    )


@contextmanager
def _world(people: int, seed: int) -> Iterator[tuple[Databases, EmbeddedServer]]:
    """A seeded world on a durable server of its own, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="seda-nights-"))
    folder.chmod(0o755)
    server = EmbeddedServer(folder / "pg")
    settings = Settings(
        _env_file=None,
        home=folder / "home",
        database_url=server.uri("one"),
        eu_database_url=server.uri("two"),
    )
    databases = Databases(settings)
    try:
        migrate(databases)
        seed_sandbox(databases, replace(SMOKE, users=people), seed=seed, now=NOW)
        yield databases, server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
