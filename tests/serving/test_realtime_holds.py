"""What processes hold, in the database: the rules of `seda.social.presence`; who is given up."""

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from seda.database.regions import Region
from seda.social.presence import Change, Standing
from serving.realtime import upkeep
from tests.serving.realtime_world import PATIENCE, running
from tests.serving.serving_world import World

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
LINGER = timedelta(seconds=2)
SHIFT = "select seda.shift_presence(%s, %s, %s, %s, array_fill(true, array[%s]), %s, %s, %s)"


def register(world: World, at: datetime = START) -> UUID:
    process = uuid4()
    world.sql("select seda.register_process(%s, '{}', '{}', '{}', %s)", process, at)
    return process


@pytest.mark.parametrize("seed", range(4))
def test_the_database_moves_presence_by_the_rules(world: World, seed: int) -> None:
    chance = random.Random(seed)
    process = register(world)
    people = [world.person(f"p{n}") for n in range(2)]
    rooms = world.entities("room", 2)
    pairs = [(p.id, r.id) for p in people for r in rooms]
    standings = dict.fromkeys(pairs, Standing())
    told: dict[tuple[UUID, UUID], list[Change]] = {pair: [] for pair in pairs}
    now = START
    listening = psycopg.connect(world.databases[Region.GLOBAL].url, autocommit=True)
    listening.execute("listen seda_presence")
    for _ in range(40):
        now += timedelta(seconds=chance.choice([0.3, 1.2, 2.5]))
        moved = chance.sample(pairs, chance.randint(1, 4))
        shifts = [chance.choice([1, 2, -1]) if standings[pair].connections else 1 for pair in moved]
        for pair, by in zip(moved, shifts, strict=True):
            standings[pair], changes = standings[pair].shifted(by, now, LINGER)
            told[pair] += changes
        world.sql(
            SHIFT, process, [p for p, _ in moved], [r for _, r in moved], shifts, len(moved),
            [now] * len(moved), LINGER, now,
        )  # fmt: skip
        if chance.random() < 0.3:
            world.sql("select seda.release_held_presence(%s)", now)
            for pair in pairs:
                standings[pair], changes = standings[pair].released(now)
                told[pair] += changes
        rows = world.sql("select user_id, room_id, connections, held_until from seda.room_presence")
        stored = {(user, room): Standing(n, until) for user, room, n, until in rows}
        assert stored == {pair: each for pair, each in standings.items() if each != Standing()}
        holds = world.sql("select user_id, room_id, connections from seda.presence_holds")
        assert {(user, room): n for user, room, n in holds} == {
            pair: each.connections for pair, each in standings.items() if each.connections
        }
    heard: dict[tuple[UUID, UUID], list[str]] = {pair: [] for pair in pairs}
    for notify in listening.notifies(timeout=0.2):
        for each in notify.payload.split(" ")[1:]:
            if each[0] != "~":
                heard[UUID(each[1:33]), UUID(each[33:65])].append(each[0])
    listening.close()
    assert heard == {pair: [str(change) for change in changes] for pair, changes in told.items()}


def test_what_a_silent_process_held_is_given_up_by_another(world: World) -> None:
    dead, alive = register(world), register(world)
    ada, ben = world.person("Ada"), world.person("Ben")
    room = world.entity("room", "electronic")
    world.sql(SHIFT, dead, [ada.id, ben.id], [room.id] * 2, [2, 1], 2, [START] * 2, LINGER, START)
    world.sql(SHIFT, alive, [ben.id], [room.id], [1], 1, [START], LINGER, START)
    later = START + timedelta(seconds=11)
    world.sql("update seda.realtime_processes set last_seen_at = %s where id = %s", later, alive)
    reap = "select seda.reap_processes(interval '10 seconds', %s)"
    assert world.sql(reap, later) == [(1,)]
    assert world.sql("select user_id, connections from seda.room_presence") == [(ben.id, 1)]
    assert world.sql("select kind, user_id from seda.social_events") == [("leave", ada.id)]
    assert world.sql(reap, later) == [(0,)]
    # It was only asleep: nothing of it counts until it has registered again.
    with pytest.raises(psycopg.Error) as refused:
        world.sql(SHIFT, dead, [ada.id], [room.id], [1], 1, [later], LINGER, later)
    assert refused.value.sqlstate == "SD001"
    again = "select seda.register_process(%s, %s, %s, %s, %s)"
    for _ in range(2):
        world.sql(again, dead, [ada.id, ben.id], [room.id] * 2, [2, 1], later)
    state = "select connections from seda.room_presence order by user_id = %s"
    assert world.sql(state, ben.id) == [(2,), (2,)]


async def test_a_process_that_was_given_up_registers_again_and_loses_nothing(
    world: World,
) -> None:
    ada = world.person("Ada")
    room, other = world.entities("room", 2)
    async with running(world) as service:
        client = await service.client(ada)
        assert (await client.ask("join", room))["ok"]
        world.sql("update seda.realtime_processes set last_seen_at = now() - interval '1 hour'")
        assert world.sql("select seda.reap_processes(interval '10 seconds', now())") == [(1,)]
        assert (await client.ask("join", other))["ok"]
        assert world.sql("select connections from seda.room_presence") == [(1,), (1,)]
        await client.io.disconnect()
        await service.until("select connections from seda.room_presence", [])


async def test_a_connection_without_a_sign_of_life_leaves(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "EVERY_SECONDS", 0.05)
    ada = world.person("Ada")
    room = world.entity("room", "electronic")
    passed = timedelta(0)
    start = datetime.now(UTC)
    async with running(world, clock=lambda: start + passed) as service:
        client = await service.client(ada)
        await client.ask("join", room)
        passed = timedelta(minutes=20)
        await client.io.call("presence:heartbeat", timeout=PATIENCE)
        await service.until(
            "select extract(epoch from last_seen_at - joined_at)::int from seda.room_presence",
            [(1200,)],
        )
        passed = timedelta(minutes=51)
        await service.until("select connections from seda.room_presence", [])
        await service.until(
            "select kind from seda.social_events order by id", [("join",), ("leave",)]
        )
        assert (await client.ask("join", room))["ok"]  # still connected
        assert world.sql("select connections from seda.room_presence") == [(1,)]
