"""Kills what serves people with -9 while they come and go, and compares what is left.

    python -m benchmarks.kill_drill [--clients 200] [--rate 40] [--seconds 40] [--kills 9]

Everybody is a Socket.IO client that repeats what was not acknowledged with the same event id. The
run is done twice over the same seed, in databases of their own: without and with kills of the
real-time service, of the database and of Dagster's daemon at random moments. Then the final tables
are compared, real-time rankings among them, also with what the clients' steps alone ask for.
"""

import argparse
import asyncio
import sys

from benchmarks.drills.durable_lane import DurableLane
from benchmarks.drills.kills import Outcome, Size, asked_for, differences, random_kills, run, scene

SETTLE_SECONDS = 25.0
VICTIMS = ["real-time", "database", "daemon"]


def main() -> int:
    """0 where no row differs and no cap is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rate", type=float, default=40)
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--kills", type=int, default=9)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    size = Size(
        arguments.people, arguments.clients, arguments.rate, arguments.seconds, seed=arguments.seed
    )
    kills = random_kills(
        ["real-time", "database", "daemon"], arguments.kills, size.seconds, size.seed
    )
    outcomes, wrong = [], 0
    for planned in ([], kills):
        with scene(size) as made:
            lane = DurableLane(made)
            outcome = asyncio.run(run(made, planned, SETTLE_SECONDS, lane.caught_up))
            outcome.tables |= lane.known()
            wrong += len(differences(asked_for(made) | lane.asked_for(), outcome.tables))
        _print(outcome)
        outcomes.append(outcome)
    found = differences(*(outcome.tables for outcome in outcomes))
    for table, rows in outcomes[0].tables.items():
        gone, more = found.get(table, (0, 0))
        print(f"{table}: {len(rows):,} rows; with kills {gone} missing, {more} more")
    broken = sum(outcome.broken_caps for outcome in outcomes)
    print(
        "the tables are the same" if not found else "THE TABLES DIFFER", f"; caps broken: {broken}"
    )
    if wrong:
        print(f"{wrong} tables are not what the clients asked for")
    return int(bool(found) or broken > 0 or wrong > 0)


def _print(outcome: Outcome) -> None:
    print(
        f"{len(outcome.killed)} kills ({', '.join(outcome.killed) or 'none'}): "
        f"{outcome.connections:,} connections, {outcome.repeats:,} intents repeated, "
        f"{outcome.broken_caps} caps broken"
    )


if __name__ == "__main__":
    sys.exit(main())
