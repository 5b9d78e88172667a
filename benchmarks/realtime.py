"""From an event to the friends' clients: latency, loss, duplicates, at 1k to 10k events a second.

    python -m benchmarks.realtime [--clients 2500] [--rates 1000 5000 10000] [--seconds 20]

A friend graph of 25,000 people in an embedded database, the real-time service as its own process,
clients in another, moves written as the API writes them but many people at once. Latency is from
the oldest move that a message coalesces, by the server's clock. Clients, service, database and
moves share this machine's cores: the share that each used is printed.
"""

import argparse
import math
import os
import socket
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.drills.kills import Service, free_port
from seda.database.migrate import migrate
from seda.database.regions import Databases, Region
from seda.people.tokens import token_of
from seda.progress import SilentProgress
from seda.sandbox.friend_graphs import seed_friend_graph
from seda.sandbox.replay.crowd import load_crowd
from seda.sandbox.replay.drawing import draw
from seda.sandbox.replay.figures import Report
from seda.sandbox.replay.intake import RowIntake
from seda.sandbox.replay.replaying import Stage, replay
from seda.sandbox.replay.report import rows, title, verdict
from seda.sandbox.replay.schedule import Plan, Scenario, make_schedule
from seda.settings import Settings

ROOMS = 500
LOW_RATE = 20.0
LIFETIME = timedelta(hours=6)
# Shares of the window at p50 and p99: at 1,000 events a second, and at 10,000.
TARGETS = {1000: (0.25, 1.2), 10_000: (0.5, 1.5)}


def main() -> int:
    """0 where nothing was lost, duplicated or over a cap."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=25_000)
    parser.add_argument("--clients", type=int, default=2500)
    parser.add_argument("--rates", type=float, nargs="*", default=[1000, 5000, 10_000])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--concert", type=float, default=1000, help="joins a second; 0: none")
    parser.add_argument("--plots", type=Path, help="folder for a plot of each run")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="seda-realtime-") as folder:
        Path(folder).chmod(0o755)
        settings = Settings(
            _env_file=None, home=Path(folder), database_url=None, eu_database_url=None
        )
        databases = Databases(settings)
        try:
            migrate(databases)
            seed_friend_graph(
                databases, people=arguments.people, rooms=ROOMS, seed=7, now=datetime.now(UTC)
            )
            return _measure(databases, arguments)
        finally:
            databases.close()


def _measure(databases: Databases, arguments: argparse.Namespace) -> int:
    plans = [Plan(Scenario.STEADY, LOW_RATE, arguments.seconds, LOW_RATE, arguments.seed)]
    plans += [
        Plan(Scenario.STEADY, rate, arguments.seconds, rate, arguments.seed + place)
        for place, rate in enumerate(arguments.rates)
    ]
    if arguments.concert:
        plans.append(
            Plan(Scenario.CONCERT, arguments.concert, 5, arguments.concert, arguments.seed)
        )
    faithful = True
    for plan in plans:
        report = _run(databases, plan, arguments)
        faithful = faithful and report.faithful
        _print(report, databases.settings.presence_window_ms)
        if arguments.plots:
            arguments.plots.mkdir(exist_ok=True)
            name = f"{plan.scenario}-{plan.rate:.0f}.png"
            (arguments.plots / name).write_bytes(draw(report))
    return int(not faithful)


def _run(databases: Databases, plan: Plan, arguments: argparse.Namespace) -> Report:
    """One replay on a service that has just started; toasts of the run before are forgotten."""
    database, settings = databases[Region.GLOBAL], databases.settings
    with database.connect(autocommit=True) as connection:
        connection.execute("truncate seda.room_presence, seda.toast_caps, seda.notification_log")
    crowd = load_crowd(database, ROOMS)
    port = free_port()
    environment = {
        **os.environ,
        **databases.environment(),
        "SEDA_HOME": str(settings.home),
        "SEDA_REALTIME_PORT": str(port),
    }
    service = Service("serving.realtime", environment, Path(settings.home) / "realtime.log")
    try:
        _wait_for(port)
        viewers, now = crowd.viewers(arguments.clients, plan.seed), datetime.now(UTC)
        stage = Stage(
            url=f"http://127.0.0.1:{port}",
            crowd=crowd,
            schedule=make_schedule(plan, len(crowd.people), len(crowd.rooms)),
            viewers=viewers,
            tokens=[token_of(settings, crowd.subs[viewer], LIFETIME, now) for viewer in viewers],
            processes=arguments.processes,
            watched=(("service", service.pid),),
        )
        linger = timedelta(milliseconds=settings.presence_linger_ms)
        return replay(stage, plan, RowIntake(database, linger), SilentProgress())
    finally:
        service.stop()


def _print(report: Report, window: float) -> None:
    print(f"== {title(report)}")
    for name, value in rows(report):
        print(f"{name:32} {value}")
    found = report.delivery
    share = f"p50 {found.p50 / window:.2f}, p99 {found.p99 / window:.2f} of the window"
    target = TARGETS.get(round(report.plan.rate)) if report.plan.scenario == "steady" else None
    if target and not math.isnan(found.p50):
        share += f" (targets {target[0]} and {target[1]})"
    print(f"{'ratio':32} {share}; never 500 ms at p99")
    print(verdict(report), flush=True)


def _wait_for(port: int) -> None:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the real-time service does not start")


if __name__ == "__main__":
    sys.exit(main())
