"""What a window of arrivals costs before toasts go out: who may be told, then decide, claim, log.

Run with `python -m benchmarks.toasts [--people 8000] [--viewers 2500]`. A quarter of all people is
in one room, everybody has thirty friends, one in twenty hides; 1, 20, 200 or 1,000 of those who
came are announced at once to the connected viewers.
"""

import argparse
import asyncio
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg

from seda.database.embedded import EmbeddedServer
from seda.database.migrate import migrate
from seda.database.regions import Databases, Region, RegionalDatabase
from seda.notifications.arrivals import Arrival, load_candidates
from seda.notifications.toast_slots import Session, announce
from seda.settings import Settings

_WORLD = (
    "insert into seda.users (id, auth_user_id, display_name, avatar_url, privacy_settings) "
    "select gen_random_uuid(), n::text, 'P' || n, 'https://cdn.example/' || n, "
    "case when n %% 20 = 0 then '{\"hide_presence\": true}'::jsonb else '{}' end "
    "from generate_series(1, %(people)s) n",
    "create temp table numbered as select id, auth_user_id::int as n from seda.users",
    "insert into seda.friends (user_id, friend_user_id) select a.id, b.id from numbered a "
    "cross join generate_series(1, 15) k "
    "join numbered b on b.n = (a.n * 7919 + k * 104729) %% %(people)s + 1 where a.id <> b.id "
    "on conflict do nothing",
    "insert into seda.friends (user_id, friend_user_id) select friend_user_id, user_id "
    "from seda.friends on conflict do nothing",
    "insert into seda.rooms (id, name) values (gen_random_uuid(), 'techno')",
    "insert into seda.room_presence (room_id, user_id, joined_at) select r.id, n.id, "
    "now() + n.n * interval '1 ms' from numbered n cross join seda.rooms r where n.n %% 4 = 0",
)


def main() -> None:
    """Prints one line per number of arrivals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=8000)
    parser.add_argument("--viewers", type=int, default=2500)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedServer(Path(folder) / "pg")
        settings = Settings(
            _env_file=None,
            home=Path(folder),
            database_url=server.uri("global"),
            eu_database_url=server.uri("eu"),
        )
        databases = Databases(settings)
        migrate(databases)
        database = databases[Region.GLOBAL]
        with database.transaction() as connection:
            for statement in _WORLD:
                connection.execute(statement, {"people": arguments.people})
        with database.connect(autocommit=True) as connection:
            connection.execute("analyze")
        asyncio.run(_measure(database, arguments.viewers))
        server.stop()


async def _measure(database: RegionalDatabase, most_viewers: int) -> None:
    # As the services' pools connect.
    settings = {"role": "service_role", "plan_cache_mode": "force_generic_plan"}
    connection = await asyncpg.connect(database.url, server_settings=settings)
    viewers = [row[0] for row in await connection.fetch("select id from seda.users order by id")]
    inside = await connection.fetch("select user_id, room_id from seda.room_presence order by 1")
    for round, came in enumerate((1, 20, 200, 1000), start=1):
        arrivals = [Arrival(*row) for row in inside[:came]]
        reading = time.perf_counter()
        found = await load_candidates(connection, arrivals, viewers[:most_viewers])
        deciding = time.perf_counter()
        addressed = [(Session(viewer, f"round {round}"), each) for viewer, each in found]
        async with connection.transaction():
            toasts = await announce(
                connection, addressed, datetime.now(UTC) + timedelta(hours=round)
            )
        done = time.perf_counter()
        print(
            f"{came:5} came: {len(found):5} candidates in {1e3 * (deciding - reading):5.0f} ms, "
            f"{len(toasts):5} toasts decided and claimed in {1e3 * (done - deciding):5.0f} ms"
        )
    await connection.close()


if __name__ == "__main__":
    main()
