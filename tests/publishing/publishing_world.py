"""Small generations to publish, and what a reader asks about them."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np

from seda.database.identifiers import ids_of
from seda.database.regions import RegionalDatabase
from seda.publishing.cards import ENTITY_TYPES
from seda.publishing.generations import (
    load_cards,
    load_recommendations,
    open_generation,
    publish,
)
from seda.publishing.partitions import Patience
from seda.publishing.rows import CardRows, RecommendationRows

NOW = datetime(2026, 11, 1, 3, tzinfo=UTC)
LIFETIME = timedelta(hours=2)
BRIEF = Patience(lock_timeout=0.05, attempts=2, pause=0.01)
USERS = ids_of(UUID(int=number) for number in (0xA0, 0xB0, 0xC0))
ITEMS = 4


def recommendation_rows(
    types=ENTITY_TYPES, context: bytes = b'{"reasons":[]}'
) -> RecommendationRows:
    """Three people's rows: ITEMS of each type, their ids differ with the number of types."""
    rows = len(USERS) * len(types) * ITEMS
    first = 1 + 1000 * len(types)
    return RecommendationRows(
        ids=ids_of(UUID(int=number) for number in range(first, first + rows)),
        user_ids=np.repeat(USERS, len(types) * ITEMS, axis=0),
        entity_types=np.tile(np.repeat(np.array(types, "U8"), ITEMS), len(USERS)),
        entity_ids=ids_of(UUID(int=number << 32) for number in range(rows)),
        ranks=np.tile(np.arange(1, ITEMS + 1), len(USERS) * len(types)),
        scores=np.linspace(0, 1, rows),
        contexts=[context] * rows,
        signals=np.zeros((rows, 3), np.float32),
        contributions=np.zeros((rows, 2), np.float32),
        created_at=NOW,
        expires_at=np.datetime64("2026-11-02T15:00:00"),
        model_version="linear-1",
    )


def card_rows(types=ENTITY_TYPES, marker: object = 0) -> CardRows:
    """One row per person and type; every card says `marker`."""
    rows = len(USERS) * len(types)
    ids = ids_of(UUID(int=number + 1) for number in range(rows * ITEMS))
    return CardRows(
        user_ids=np.repeat(USERS, len(types), axis=0),
        entity_types=np.tile([ENTITY_TYPES.index(kind) for kind in types], len(USERS)).astype(int),
        lengths=np.full(rows, ITEMS),
        recommendation_ids=ids,
        entity_ids=ids[::-1],
        scores=np.linspace(1, 0, rows * ITEMS, dtype=np.float32),
        cards=[json.dumps({"marker": marker})] * (rows * ITEMS),
        is_new=np.zeros(rows * ITEMS, bool),
        genres=[""] * (rows * ITEMS),
        created_at=NOW,
        expires_at=NOW + timedelta(hours=36),
        model_version="linear-1",
    )


def opened(database: RegionalDatabase, shard: str, now: datetime = NOW) -> int:
    return open_generation(
        database, shard=shard, model_version="linear-1", run_id="run", data_versions={"n": 1},
        now=now,
    )  # fmt: skip


def loaded(database: RegionalDatabase, shard: str, types=ENTITY_TYPES, now=NOW) -> int:
    generation = opened(database, shard, now)
    load_recommendations(database, generation, recommendation_rows(types))
    load_cards(database, generation, card_rows(types, marker=generation))
    return generation


def published(database: RegionalDatabase, shard: str, now: datetime = NOW) -> int:
    generation = loaded(database, shard, now=now)
    publish(database, generation, entity_types=ENTITY_TYPES, now=now)
    return generation


def pointers_of(reader, shard: str, arm: str = "control") -> dict[str, int]:
    return dict(
        reader.execute(
            "select entity_type, generation from seda.generation_pointer "
            "where shard = %s and arm = %s",
            [shard, arm],
        ).fetchall()
    )


def state_of(reader, generation: int) -> str:
    ((state,),) = reader.execute(
        "select state from seda.generations where generation = %s", [generation]
    )
    return state


def tables_of(reader, generation: int) -> list[str]:
    rows = reader.execute(
        "select relname from pg_class where relname = any (%s) order by relname",
        [[f"recommendations_g{generation}", f"mv_user_top_candidates_g{generation}"]],
    )
    return [name for (name,) in rows]


def markers_of(reader, generation: int) -> set[int]:
    """What the cards of a generation say; a page's cursor asks in the same way."""
    rows = reader.execute(
        "select unnest(cards)::json ->> 'marker' from seda.mv_user_top_candidates "
        "where generation = %s",
        [generation],
    )
    return {int(marker) for (marker,) in rows}
