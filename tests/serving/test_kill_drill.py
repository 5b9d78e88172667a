"""What serves people is killed with -9 while they come and go: the tables are as they asked for.

The drill at full size, with the database itself killed: `python -m benchmarks.kill_drill`.
"""

import asyncio

from benchmarks.drills.kills import Scene, Size, asked_for, differences, random_kills, run
from seda.database.regions import Databases, Region

SIZE = Size(people=60, clients=12, rate=15, seconds=2.5, rooms=6, linger_ms=200)
GIVE_UP = """
with dead as (
    update seda.realtime_processes set last_seen_at = last_seen_at - interval '1 minute'
    where started_at < (select max(started_at) from seda.realtime_processes) returning id
)
select count(*) from dead
"""


def test_kills_leave_what_the_clients_asked_for(databases: Databases) -> None:
    kills = random_kills(["real-time", "sessions", "real-time"], 3, SIZE.seconds, seed=5)
    made = Scene(databases, SIZE, None)

    def give_up_the_dead() -> bool:
        """What another process does once they have been silent for long."""
        with databases[Region.GLOBAL].connect(autocommit=True) as connection:
            (dead,) = connection.execute(GIVE_UP).fetchone()
            assert dead >= 1  # a kill may find a service that has not begun
            connection.execute("select seda.reap_processes('30 seconds', now())")
        return True

    try:
        outcome = asyncio.run(run(made, kills, 1.0, give_up_the_dead))
    finally:
        made.close()
    assert outcome.connections >= 2 * SIZE.clients
    assert differences(asked_for(made), outcome.tables) == {}
    receipts = [row[0] for row in outcome.tables["event_receipts"]]
    assert receipts == [row[0] for row in outcome.tables["social_events"]]
    assert outcome.broken_caps == 0
