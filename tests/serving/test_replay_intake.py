"""The two ways in which a replay's moves get in leave the same rows."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from seda.database.regions import Region
from seda.sandbox.replay.api_intake import ApiIntake, ApiRefusedError
from seda.sandbox.replay.intake import Intake, Move, RowIntake
from tests.serving.processes import api_process
from tests.serving.serving_world import Entity, Listener, World

LINGER = timedelta(seconds=30)
ROWS = (
    "select user_id, kind, entity_type, entity_id, props, occurred_at from seda.social_events "
    "order by user_id, kind",
    "select user_id, body_hash from seda.event_receipts order by user_id, body_hash",
    "select user_id, room_id, connections, departure, last_seen_at, "
    "case when departure is null then held_until end from seda.room_presence order by user_id",
)


def moves_of(people: Sequence[Listener], room: Entity, at: datetime) -> list[list[Move]]:
    """All join, the first ones leave; then the same again."""
    joins = [Move(uuid4(), person.id, room.id, True, at) for person in people]
    later = at + timedelta(milliseconds=5)
    leaves = [replace(join, id=uuid4(), joins=False, at=later) for join in joins[:3]]
    return [joins, leaves, joins, leaves]


async def carry(intake: Intake, world: World, batches: list[list[Move]]) -> tuple[Any, Any]:
    """How many were taken of each batch, and the rows; nothing of it stays."""
    await intake.open()
    taken = [await intake.send(batch) for batch in batches]
    await intake.close()
    rows = [world.sql(query) for query in ROWS]
    for table in ("social_events", "event_receipts", "room_presence"):
        world.sql(f"delete from seda.{table}")
    return taken, rows


async def test_rows_and_the_api_leave_the_same(world: World, tmp_path: Path) -> None:
    people = [world.person(f"person {number}") for number in range(5)]
    batches = moves_of(people, world.entity("room", "electronic"), datetime.now(UTC))
    of = {person.id: person for person in people}
    with api_process(world, tmp_path, SEDA_PRESENCE_LINGER_MS="30000") as running:
        over_http = ApiIntake(running.url, lambda person: world.token(of[person]))
        as_rows = RowIntake(world.databases[Region.GLOBAL], LINGER)
        one = await carry(as_rows, world, batches)
        assert await carry(over_http, world, batches) == one
    assert one[0] == [5, 3, 0, 0]
    assert [len(rows) for rows in one[1]] == [8, 8, 5]
    with pytest.raises(ApiRefusedError, match="is it running"):
        await carry(over_http, world, batches)
