"""Tables of what only a seeded sandbox has: who is where now, recent events, settings."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray

from seda.database.copy import (
    Column,
    FixedColumn,
    booleans,
    constants,
    jsonbs,
    texts,
    timestamps,
    uuids,
)
from seda.database.identifiers import Ids
from seda.sandbox.identity import id_texts
from seda.sandbox.table_rows import TableRows, entity_ids_of, nullable
from seda.sandbox.world import Events, Live, NotificationChoices, World

_MINUTE: Final = 60_000_000


def live_rows(world: World, live: Live, here: NDArray[np.bool_]) -> Iterator[TableRows]:
    """The rows of the people who are `here`, bool `(people,)`."""
    ids = world.people.ids
    mine = np.flatnonzero(here[live.follows.people])
    yield TableRows(
        "seda.artist_follows",
        {
            "user_id": uuids(ids[live.follows.people[mine]]),
            "artist_id": uuids(world.catalogue.artists.ids[live.follows.artists[mine]]),
            "source": constants(world.source.encode(), len(mine)),
            "created_at": timestamps(live.follows.created_at[mine]),
        },
        key=("user_id", "artist_id"),
    )
    present = np.flatnonzero(here[live.presence.people])
    yield TableRows(
        "seda.room_presence",
        {
            "room_id": uuids(world.catalogue.rooms.ids[live.presence.rooms[present]]),
            "user_id": uuids(ids[live.presence.people[present]]),
            "joined_at": timestamps(live.presence.joined_at[present]),
            "last_seen_at": timestamps(live.presence.last_seen_at[present]),
        },
        key=("room_id", "user_id"),
    )
    yield from _analytics(world, live.analytics, here)
    yield from _social(world, live.social, here)
    yield _notification_preferences(world, live.notifications, here)


def count_live_rows(live: Live, here: NDArray[np.bool_]) -> int:
    """How many rows `live_rows` will give."""
    events = [live.analytics.people, live.social.people]
    theirs = [live.follows.people, live.presence.people, *events, *events]
    return int(here.sum()) + sum(int(here[people].sum()) for people in theirs)


def _analytics(world: World, events: Events, here: NDArray[np.bool_]) -> Iterator[TableRows]:
    mine = np.flatnonzero(here[events.people])
    entities = id_texts(_event_entities(world, events)[mine])
    props = [
        orjson.dumps({"entity_type": events.entity_types[event], "entity_id": entity})
        for event, entity in zip(mine, entities, strict=True)
    ]
    yield TableRows(
        "seda.fact_events",
        {
            "event_id": uuids(events.ids[mine]),
            "user_id": uuids(world.people.ids[events.people[mine]]),
            "event_type": texts([events.kinds[event] for event in mine]),
            "props": jsonbs(props),
            "created_at": timestamps(events.occurred_at[mine]),
        },
        key=("event_id",),
    )
    yield _receipts(world, events, mine)


def _social(world: World, events: Events, here: NDArray[np.bool_]) -> Iterator[TableRows]:
    mine = np.flatnonzero(here[events.people])
    yield TableRows(
        "seda.social_events",
        {
            "event_id": uuids(events.ids[mine]),
            "user_id": uuids(world.people.ids[events.people[mine]]),
            "kind": texts([events.kinds[event] for event in mine]),
            "entity_type": texts([events.entity_types[event] for event in mine]),
            "entity_id": uuids(_event_entities(world, events)[mine]),
            "occurred_at": timestamps(events.occurred_at[mine]),
            "received_at": timestamps(events.occurred_at[mine]),
        },
        key=("received_at", "id"),
    )
    yield _receipts(world, events, mine)


def _receipts(world: World, events: Events, mine: NDArray[np.intp]) -> TableRows:
    # Nobody sends these events again, so any hash of fixed size stands for their bodies.
    hashes = np.concatenate([events.ids[mine], events.ids[mine]], axis=1)
    return TableRows(
        "seda.event_receipts",
        {
            "event_id": uuids(events.ids[mine]),
            "user_id": uuids(world.people.ids[events.people[mine]]),
            "body_hash": FixedColumn(np.ascontiguousarray(hashes).view("V32").ravel(), "V32"),
            "received_at": timestamps(events.occurred_at[mine]),
        },
        key=("event_id",),
    )


def _notification_preferences(
    world: World, choices: NotificationChoices, here: NDArray[np.bool_]
) -> TableRows:
    at = np.flatnonzero(here)
    return TableRows(
        "seda.notification_preferences",
        {
            "user_id": uuids(world.people.ids[at]),
            "push_opt_in": booleans(choices.push_opt_in[at]),
            "toasts_enabled": booleans(choices.toasts_enabled[at]),
            "quiet_from": _times_or_null(choices.quiet_from[at]),
            "quiet_to": _times_or_null(choices.quiet_to[at]),
            "updated_at": timestamps(world.people.created_at[at]),
        },
        key=("user_id",),
    )


def _event_entities(world: World, events: Events) -> Ids:
    kinds = np.array(events.entity_types)
    ids = np.zeros((len(kinds), 16), np.uint8)
    for kind in ("artist", "playlist", "room"):
        of_kind = kinds == kind
        ids[of_kind] = entity_ids_of(world, kind)[events.entities[of_kind]]
    return ids


def _times_or_null(minutes: NDArray[np.int32]) -> Column:
    """time of day, from minutes; NULL where negative."""
    shown = minutes >= 0
    encoded = np.full(len(minutes), b"", object)
    encoded[shown] = [(int(minute) * _MINUTE).to_bytes(8, "big") for minute in minutes[shown]]
    return nullable(encoded, shown, 8)
