"""A world as tables: which row goes into which region's database, as columns for COPY.

A person's rows go to the database of their home only; the catalogue goes to every one, and knows
its owners and creators only where they live.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from seda.database.copy import (
    Column,
    FixedColumn,
    VariableColumn,
    booleans,
    constants,
    dates,
    floats,
    integers,
    jsonbs,
    text_arrays,
    texts,
    texts_by_code,
    timestamps,
    uuids,
)
from seda.database.regions import Region
from seda.sandbox.identity import id_texts
from seda.sandbox.world import HOMES, NOWHERE, Events, Ids, Plays, Positions, World

CHUNK: Final = 500_000
"""Rows of one piece of a large table: what bounds the memory of a load."""
_MINUTE: Final = 60_000_000


@dataclass(frozen=True, eq=False)
class TableRows:
    """Rows of one table. A row is the same as an earlier one if the `key` columns agree; then only
    the `refresh` columns may be corrected, and `touched` says that they were."""

    relation: str
    columns: dict[str, Column]
    key: tuple[str, ...]
    refresh: tuple[str, ...] = ()
    touched: str | None = None
    rows: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", len(next(iter(self.columns.values()))))


def region_rows(world: World, region: Region) -> Iterator[TableRows]:
    """Every row of the region's database, parents before children."""
    home = HOMES.index(region)
    here = world.people.homes == home
    yield _users(world, here)
    yield from _catalogue(world, here)
    yield _friends(world, here)
    for plays in world.plays:
        yield from _plays(world, plays, here)
    yield _memberships(world, here)
    if world.live is not None:
        yield from _live(world, here)


def directory_rows(world: World) -> TableRows:
    """Which region to ask for a person; these rows live in the global database only."""
    people = world.people
    known = np.flatnonzero(people.homes != NOWHERE)
    return TableRows(
        "seda.region_directory",
        {
            "auth_user_id": texts([people.auth_user_ids[person] for person in known]),
            "user_id": uuids(people.ids[known]),
            "region": texts_by_code(people.homes[known], HOMES),
            "created_at": timestamps(people.created_at[known]),
        },
        key=("auth_user_id",),
    )


def _users(world: World, here: NDArray[np.bool_]) -> TableRows:
    people, at = world.people, np.flatnonzero(here)

    def some(values: list[Any]) -> list[Any]:
        return [values[person] for person in at]

    return TableRows(
        "seda.users",
        {
            "id": uuids(people.ids[at]),
            "auth_user_id": texts(some(people.auth_user_ids)),
            "created_at": timestamps(people.created_at[at]),
            "country": texts(some(people.countries)),
            "time_zone": texts([zone or "UTC" for zone in some(people.time_zones)]),
            "preferences": jsonbs(some(people.preferences)),
            "privacy_settings": jsonbs(some(people.privacy_settings)),
            "display_name": texts(some(people.display_names)),
            "avatar_url": texts(some(people.avatar_urls)),
            "external_ids": jsonbs(some(people.external_ids)),
        },
        key=("id",),
    )


def _catalogue(world: World, here: NDArray[np.bool_]) -> Iterator[TableRows]:
    catalogue = world.catalogue
    artists, tags = catalogue.artists, catalogue.artist_genres
    yield TableRows(
        "seda.artists",
        {
            "id": uuids(artists.ids),
            "external_ids": jsonbs(artists.external_ids),
            "name": texts(artists.names),
            "genres": text_arrays(
                [genre for genres in artists.genres for genre in genres],
                np.array([len(genres) for genres in artists.genres], np.int64),
            ),
            "popularity_score": floats(artists.popularity),
            "language": texts(artists.languages),
            "created_at": timestamps(artists.created_at),
            "last_updated": timestamps(artists.created_at),
        },
        key=("id",),
        refresh=("external_ids", "name", "genres", "popularity_score", "language"),
        touched="last_updated",
    )
    yield TableRows(
        "seda.artist_genres",
        {
            "artist_id": uuids(artists.ids[tags.artists]),
            "genre": texts(tags.genres),
            "weight": floats(tags.weights),
        },
        key=("artist_id", "genre"),
        refresh=("weight",),
    )
    yield _rooms(world, here)
    yield from _playlists(world, here)


def _rooms(world: World, here: NDArray[np.bool_]) -> TableRows:
    rooms = world.catalogue.rooms
    participants = np.zeros(len(rooms.ids), np.int32)
    if world.live is not None:
        # As the cache is kept: those who are present in this database.
        presence = world.live.presence
        np.add.at(participants, presence.rooms[here[presence.people]], 1)
    return TableRows(
        "seda.rooms",
        {
            "id": uuids(rooms.ids),
            "external_ids": jsonbs(rooms.external_ids),
            "name": texts(rooms.names),
            "created_by": _people_or_null(world.people.ids, rooms.creators, here),
            "genre": texts(rooms.genres),
            "current_participants": integers(participants, 4),
            "language": texts(rooms.languages),
            "created_at": timestamps(rooms.created_at),
            "last_updated": timestamps(rooms.created_at),
        },
        key=("id",),
        refresh=("external_ids", "name", "genre", "language"),
        touched="last_updated",
    )


def _playlists(world: World, here: NDArray[np.bool_]) -> Iterator[TableRows]:
    catalogue = world.catalogue
    playlists, entries = catalogue.playlists, catalogue.playlist_artists
    yield TableRows(
        "seda.playlists",
        {
            "id": uuids(playlists.ids),
            "external_ids": jsonbs(playlists.external_ids),
            "name": texts(playlists.names),
            "owner_user_id": _people_or_null(world.people.ids, playlists.owners, here),
            "provider": constants(playlists.provider.encode(), len(playlists.ids)),
            "track_count": integers(playlists.track_counts, 4),
            "genre": texts(playlists.genres),
            "language": texts(playlists.languages),
            "visibility": texts_by_code(playlists.public.astype(np.int8), ("private", "public")),
            "created_at": timestamps(playlists.created_at),
            "last_updated": timestamps(playlists.created_at),
        },
        key=("id",),
        refresh=("external_ids", "name", "track_count", "genre", "language"),
        touched="last_updated",
    )
    for start in range(0, len(entries.playlists), CHUNK):
        part = slice(start, start + CHUNK)
        yield TableRows(
            "seda.playlist_artists",
            {
                "playlist_id": uuids(playlists.ids[entries.playlists[part]]),
                "artist_id": uuids(catalogue.artists.ids[entries.artists[part]]),
                "position": integers(entries.places[part], 4),
            },
            key=("playlist_id", "artist_id"),
            refresh=("position",),
        )


def _friends(world: World, here: NDArray[np.bool_]) -> TableRows:
    pairs, ids = world.friendships, world.people.ids
    users = np.concatenate([pairs.first, pairs.second])
    friends = np.concatenate([pairs.second, pairs.first])
    mine = np.flatnonzero(here[users])
    mine = mine[np.lexsort((friends[mine], users[mine]))]
    return TableRows(
        "seda.friends",
        {
            "user_id": uuids(ids[users[mine]]),
            "friend_user_id": uuids(ids[friends[mine]]),
            "relationship_type": constants(b"friend", len(mine)),
            "created_at": timestamps(np.concatenate([pairs.since, pairs.since])[mine]),
        },
        key=("user_id", "friend_user_id", "relationship_type"),
    )


def _plays(world: World, plays: Plays, here: NDArray[np.bool_]) -> Iterator[TableRows]:
    mine = np.flatnonzero(here[plays.people])
    # In the order of the primary key's first column, which fills its index from left to right.
    by_id = np.argsort(np.argsort(world.people.ids.view("S16").ravel(), kind="stable"))
    mine = mine[np.argsort(by_id[plays.people[mine]], kind="stable")]
    entities = entity_ids_of(world, plays.entity_type)
    for start in range(0, len(mine), CHUNK):
        part = mine[start : start + CHUNK]
        yield TableRows(
            "seda.activity_counts",
            {
                "user_id": uuids(world.people.ids[plays.people[part]]),
                "entity_type": constants(plays.entity_type.encode(), len(part)),
                "entity_id": uuids(entities[plays.entities[part]]),
                "source": constants(world.source.encode(), len(part)),
                "period": dates(plays.periods[part]),
                "plays": integers(plays.plays[part], 8),
            },
            key=("user_id", "entity_type", "entity_id", "source", "period"),
            refresh=("plays",),
        )


def _memberships(world: World, here: NDArray[np.bool_]) -> TableRows:
    members = world.memberships
    mine = np.flatnonzero(here[members.members])
    return TableRows(
        "seda.room_members",
        {
            "room_id": uuids(world.catalogue.rooms.ids[members.rooms[mine]]),
            "user_id": uuids(world.people.ids[members.members[mine]]),
            "source": constants(world.source.encode(), len(mine)),
            "joined_at": timestamps(members.joined_at[mine]),
            "last_joined_at": timestamps(members.last_joined_at[mine]),
        },
        key=("room_id", "user_id"),
    )


def _live(world: World, here: NDArray[np.bool_]) -> Iterator[TableRows]:
    assert world.live is not None
    ids, live = world.people.ids, world.live
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
    yield _notification_preferences(world, here)


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


def _notification_preferences(world: World, here: NDArray[np.bool_]) -> TableRows:
    assert world.live is not None
    choices, at = world.live.notifications, np.flatnonzero(here)
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


def entity_ids_of(world: World, entity_type: str) -> Ids:
    """The ids of one kind of catalogue entity, `(n, 16)` uint8."""
    catalogue = world.catalogue
    return {
        "artist": catalogue.artists.ids,
        "playlist": catalogue.playlists.ids,
        "room": catalogue.rooms.ids,
    }[entity_type]


def _event_entities(world: World, events: Events) -> Ids:
    kinds = np.array(events.entity_types)
    ids = np.zeros((len(kinds), 16), np.uint8)
    for kind in ("artist", "playlist", "room"):
        of_kind = kinds == kind
        ids[of_kind] = entity_ids_of(world, kind)[events.entities[of_kind]]
    return ids


def _people_or_null(ids: Ids, people: Positions, here: NDArray[np.bool_]) -> Column:
    """uuid; NULL for nobody and for whoever lives elsewhere."""
    shown = (people >= 0) & here[people]
    encoded = np.full(len(people), b"", object)
    encoded[shown] = [ids[person].tobytes() for person in people[shown]]
    return _nullable(encoded, shown, 16)


def _times_or_null(minutes: NDArray[np.int32]) -> Column:
    """time of day, from minutes; NULL where negative."""
    shown = minutes >= 0
    encoded = np.full(len(minutes), b"", object)
    encoded[shown] = [(int(minute) * _MINUTE).to_bytes(8, "big") for minute in minutes[shown]]
    return _nullable(encoded, shown, 8)


def _nullable(encoded: NDArray[np.object_], shown: NDArray[np.bool_], size: int) -> Column:
    lengths = np.where(shown, size, -1).astype(np.int32)
    return VariableColumn(len(encoded), lambda rows: (encoded[rows].tolist(), lengths[rows]))
