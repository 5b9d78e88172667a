"""A day of the data team against a running `dagster dev`, with the feed read all day over HTTP.

    python -m benchmarks.data_day [--newcomers 500] [--seed 7]

A night; a new model version in one region and its backfill; a canary in the other; traffic in which
people click it less; the rollback that follows by itself. Dagster is driven and asked through its
GraphQL alone, models and backfills through `seda`, people come over HTTP, and nothing of what they
do is written by SQL. Exit status 1 where a read or anything else was wrong.
"""

import argparse
import sys
from datetime import UTC, datetime

from benchmarks.drills.canary_audience import genres_of, sign_up
from benchmarks.drills.day import COUNTRIES, Day, readers_of
from benchmarks.drills.day_and_night import count, evening, first_look, mistake, morning
from benchmarks.drills.day_of_versions import canary, degraded, new_version
from benchmarks.drills.feed_readers import reading
from benchmarks.drills.protocol import Protocol
from benchmarks.drills.running_platform import own_home, running_services, start_dagster_dev
from seda.database.migrate import migrate
from seda.sandbox.profiles import SandboxProfile
from seda.sandbox.seeding import seed_sandbox

WORLD = SandboxProfile("day", 80, 300, 150, 100, listened_artists=15, eu_share=0.25)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--newcomers", type=int, default=500, help="who sign up on the day before")
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    protocol = Protocol()
    with own_home() as databases:
        protocol.part("The day before")
        migrate(databases)
        seed_sandbox(databases, WORLD, seed=asked.seed, now=datetime.now(UTC))
        protocol.say(f"seeded: {WORLD}")
        with running_services(databases) as platform:
            protocol.say("the API, the real-time service and the notifier are up")
            run_day(Day(platform, protocol, asked.seed), asked.newcomers)
    wrong = "; ".join(protocol.wrong)
    protocol.part(
        f"{protocol.seconds:.0f} s: {f'WRONG: {wrong}' if wrong else 'nothing was wrong'}"
    )
    return int(bool(protocol.wrong))


def run_day(day: Day, newcomers: int) -> None:
    """From the first newcomer to the last count."""
    platform, protocol, databases = day.platform, day.protocol, day.platform.databases
    countries = [COUNTRIES[place % len(COUNTRIES)] for place in range(newcomers)]
    joined = sign_up(
        platform.ports.api, databases.settings, genres_of(databases), countries, day.seed
    )
    protocol.say(f"{joined} newcomers signed up over HTTP")
    start_dagster_dev(platform)
    protocol.say("`dagster dev` is up")
    morning(day)
    readers, home = readers_of(day.people), databases.settings.home_directory()
    with reading(platform.ports.api, readers) as readings:
        protocol.say(f"{len(readers)} readers read from now on")
        first_look(day)
        new_version(day, home)
        control = canary(day, home)
        degraded(day, control)
        mistake(day)
        evening(day)
    count(day, readings)


if __name__ == "__main__":
    sys.exit(main())
