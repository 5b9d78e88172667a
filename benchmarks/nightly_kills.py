"""Kills the nightly graph and all that it runs on with -9 at random points, while people read.

    python -m benchmarks.nightly_kills [--kills 10] [--people 300] [--every 1] [--seed 7]

Nights run as in production: a schedule (here every so many minutes, which must be more than a night
takes) asks, Dagster's daemon queues and launches, a code server starts the run. Killed in turn: the
daemon, the code server, the run's process, every session of the databases, the databases' server.
Each night is of another day, so a mix of two would show. Then no night may have run twice or have
been lost, the next one must succeed, and one of the first day must leave the tables that the first
one left.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from benchmarks.drills.kills import kill_server
from benchmarks.drills.nights import (
    NOW,
    Final,
    Nights,
    Readings,
    differing,
    final_tables,
    kill_sessions,
    random_moments,
    reading,
    timed,
    wrong_reads,
)
from benchmarks.drills.queued_nights import Asked, QueuedNights, key_of
from seda.database.embedded import EmbeddedServer
from seda.database.migrate import migrate
from seda.database.regions import Databases
from seda.sandbox.profiles import SMOKE, SandboxProfile
from seda.sandbox.seeding import seed_sandbox
from seda.settings import Settings

_EARLIEST_SECONDS = -2.0
"""A kill may come before the schedule has asked for the night."""


def main() -> int:
    """0 where every read was of one whole generation, no table differs, and each night ran once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--people", type=int, default=300)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    with _world(arguments.people, arguments.seed) as (databases, server, folder):
        nights = Nights(databases.settings)
        before = _undisturbed(nights, databases)
        with reading(databases) as readings:
            queued = QueuedNights(databases, folder, arguments.every)
            try:
                repaired = _disturbed(queued, databases, server, arguments.kills, arguments.seed)
            finally:
                queued.close()
            repaired &= nights.whole(day=0)
        return _verdict(databases, readings, before, queued.asked(), repaired)


def _undisturbed(nights: Nights, databases: Databases) -> Final:
    """The tables of the first day's night; another one of the same day must not change them."""
    done, first = timed(lambda: nights.whole(day=0))
    assert done
    before = final_tables(databases)
    done, seconds = timed(lambda: nights.whole(day=0))
    assert done
    again = differing(before, final_tables(databases))
    _say(f"nights of {first:.0f} and {seconds:.0f} s; tables that differ: {again or 'none'}")
    return before


def _disturbed(
    queued: QueuedNights, databases: Databases, server: EmbeddedServer, kills: int, seed: int
) -> bool:
    """One night in peace, one with each kill, and the one after; whether that one succeeded."""
    first = queued.first_night()
    assert queued.ended(first).status is dg.DagsterRunStatus.SUCCESS
    length = queued.seconds_until_end(first)
    _say(f"a queued night ends {length:.0f} s after it was asked for")
    victims: dict[str, Callable[[], object]] = {
        **{name: service.kill for name, service in queued.services.items()},
        "the run's process": queued.kill_run,
        "its sessions": lambda: kill_sessions(databases),
        "the database": lambda: kill_server(server),
    }
    names = ["the daemon", *(name for name in victims if name != "the daemon")]
    moments = random_moments(kills, length - _EARLIEST_SECONDS, seed)
    for number, moment in enumerate(moments):
        name, after = names[number % len(names)], moment + _EARLIEST_SECONDS
        asked_at = queued.next_night(3 - _EARLIEST_SECONDS)
        _sleep_until(asked_at + timedelta(seconds=after))
        run = queued.run_of(key_of(asked_at))
        victims[name]()
        ended = queued.ended(key_of(asked_at))
        _say(
            f"night {number + 1}: {name} killed after {after:.1f} s, when it was "
            f"{_state(run)}; it ended as {ended.status.value}"
        )
    return queued.ended(key_of(queued.next_night(0))).status is dg.DagsterRunStatus.SUCCESS


def _state(run: dg.DagsterRun | None) -> str:
    return "not asked for yet" if run is None else run.status.value


def _sleep_until(moment: datetime) -> None:
    time.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()))


def _verdict(
    databases: Databases, readings: Readings, before: Final, asked: Asked, repaired: bool
) -> int:
    wrong = wrong_reads(readings)
    found = differing(before, final_tables(databases))
    _say(
        f"{len(asked.keys)} nights asked for, {dict(asked.statuses)}; run twice: "
        f"{asked.twice or 'none'}; lost: {asked.lost or 'none'}"
    )
    _say(f"{readings.count:,} reads, {wrong} wrong; {readings.refused} refused by the database")
    _say(f"the next night {'repaired' if repaired else 'FAILED'}; differing: {found or 'none'}")
    return int(bool(wrong or found or not repaired or asked.twice or asked.lost))


def _say(line: str) -> None:
    print(line, flush=True)


def _profile(people: int) -> SandboxProfile:
    """The smoke world's, with a smaller catalogue for fewer people."""
    share = min(1.0, people / SMOKE.users)
    sizes = {name: int(getattr(SMOKE, name) * share)
             for name in ("artists", "playlists", "rooms", "listened_artists")}  # fmt: skip
    return replace(SMOKE, users=people, **sizes)


@contextmanager
def _world(people: int, seed: int) -> Iterator[tuple[Databases, EmbeddedServer, Path]]:
    """A seeded world on a durable server of its own, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="seda-nights-"))
    folder.chmod(0o755)
    server = EmbeddedServer(folder / "pg")
    settings = Settings(
        _env_file=None,
        home=folder / "home",
        database_url=server.uri("one"),
        eu_database_url=server.uri("two"),
        dagster_database_url=server.uri("three"),
    )
    databases = Databases(settings)
    try:
        migrate(databases)
        seed_sandbox(databases, _profile(people), seed=seed, now=NOW)
        yield databases, server, folder
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
