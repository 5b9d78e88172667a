"""A world as tables: which row goes into which region's database, as columns for COPY.

A person's rows go to the database of their home only; the catalogue goes to every one, and knows
its owners and creators only where they live. What only a seeded sandbox has is in `live_rows`.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from seda.database.copy import (
    Column,
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
from seda.database.identifiers import Ids, id_order
from seda.database.regions import Region
from seda.sandbox.live_rows import count_live_rows, live_rows
from seda.sandbox.table_rows import TableRows, entity_ids_of, nullable
from seda.sandbox.world import HOMES, NOWHERE, Plays, Positions, World

CHUNK: Final = 500_000
"""Rows of one piece of a large table: what bounds the memory of a load."""


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
        yield from live_rows(world, world.live, here)


def count_rows(world: World, region: Region) -> int:
    """How many rows `region_rows` will give, without making them."""
    here = world.people.homes == HOMES.index(region)
    catalogue, pairs = world.catalogue, world.friendships
    count = len(catalogue.artists.ids) + len(catalogue.artist_genres.genres)
    count += len(catalogue.rooms.ids) + len(catalogue.playlists.ids)
    count += len(catalogue.playlist_artists.places) + int(here.sum())
    theirs = [pairs.first, pairs.second, world.memberships.members]
    theirs += [plays.people for plays in world.plays]
    if world.live is not None:
        count += count_live_rows(world.live, here)
    return count + sum(int(here[people].sum()) for people in theirs)


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
    order = _by_id(playlists.ids, entries.playlists)
    for start in range(0, len(order), CHUNK):
        part = order[start : start + CHUNK]
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
    mine = mine[_by_id(world.people.ids, plays.people[mine])]
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


def _by_id(ids: Ids, positions: Positions) -> NDArray[np.intp]:
    """The order that fills a primary key which begins with these ids from left to right."""
    rank = np.empty(len(ids), np.int32)
    rank[id_order(ids)] = np.arange(len(ids))
    return np.argsort(rank[positions], kind="stable")


def _people_or_null(ids: Ids, people: Positions, here: NDArray[np.bool_]) -> Column:
    """uuid; NULL for nobody and for whoever lives elsewhere."""
    shown = (people >= 0) & here[people]
    encoded = np.full(len(people), b"", object)
    encoded[shown] = [ids[person].tobytes() for person in people[shown]]
    return nullable(encoded, shown, 16)
