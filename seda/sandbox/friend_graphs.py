"""A world of people, friendships and rooms, and nothing else: for what only presence needs.

People and friendships are the sandbox's own; on top come blocks, one-sided friendships and follows,
which the sandbox does not have and which decide who may hear of whom.
"""

from datetime import UTC, datetime
from typing import Final

import numpy as np
import psycopg
from numpy.random import Generator

from seda.database.copy import constants, timestamps, uuids
from seda.database.identifiers import Ids
from seda.database.regions import Databases, Region
from seda.progress import SilentProgress
from seda.sandbox.generation.catalogue import make_rooms
from seda.sandbox.generation.friendship import make_friendships
from seda.sandbox.generation.people import draw_tastes, make_people
from seda.sandbox.loading import append, refuse_production
from seda.sandbox.rows import directory_rows, region_rows
from seda.sandbox.table_rows import TableRows
from seda.sandbox.world import (
    ArtistGenres,
    Artists,
    Catalogue,
    Memberships,
    PlaylistArtists,
    Playlists,
    World,
)

BLOCKED_SHARE: Final = 0.02
"""Of the friendships; in as many again, one of the two is no friend of the other any more."""
FOLLOWS: Final = 1
"""Per person, whom they need not know."""


def make_friend_graph(people: int, rooms: int, seed: int, now: datetime) -> World:
    """The world at `now`: the same arguments, the same rows. All people live in one region."""
    prefix, today = f"friends:{people}:{seed}", np.datetime64(now.date())
    streams = iter(np.random.default_rng(one) for one in np.random.SeedSequence(seed).spawn(4))
    tastes = draw_tastes(next(streams), people)
    them = make_people(next(streams), prefix, tastes, 0.0, today)
    places, _ = make_rooms(next(streams), prefix, rooms, tastes, today)
    nobody, never = np.zeros(0, np.int32), np.zeros(0, "M8[us]")
    none: Ids = np.zeros((0, 16), np.uint8)
    floats = np.zeros(0)
    return World(
        source="seda",
        people=them,
        catalogue=Catalogue(
            Artists(none, [], [], [], floats, [], never),
            ArtistGenres(nobody, [], floats.astype(np.float32)),
            Playlists(none, [], [], nobody, "seda", nobody, [], [], nobody.astype(bool), never),
            PlaylistArtists(nobody, nobody, nobody),
            places,
        ),
        friendships=make_friendships(next(streams), tastes, today),
        plays=(),
        memberships=Memberships(nobody, nobody, never, never),
    )


def seed_friend_graph(
    databases: Databases, *, people: int, rooms: int, seed: int, now: datetime
) -> None:
    """Fill the empty global database with the world, and both with its rooms.

    Raises:
        ProductionRefusedError: `SEDA_ENV` is production.
    """
    refuse_production(databases.settings, "seed_friend_graph")
    world = make_friend_graph(people, rooms, seed, now.astimezone(UTC).replace(microsecond=0))
    for region in Region:
        with databases[region].transaction() as connection:
            append(connection, region_rows(world, region), SilentProgress())
            if region is Region.GLOBAL:
                append(connection, [directory_rows(world)], SilentProgress())
                _estrange(connection, np.random.default_rng([seed, 1]), world)


def _estrange(connection: psycopg.Connection, rng: Generator, world: World) -> None:
    """Blocks, friendships that one side ended, follows."""
    pairs, ids = world.friendships, world.people.ids
    some = rng.permutation(len(pairs.first))[: 2 * round(BLOCKED_SHARE * len(pairs.first))]
    blocked, left = some[::2], some[1::2]
    swapped = rng.random(len(blocked)) < 0.5
    who = np.where(swapped, pairs.second[blocked], pairs.first[blocked])
    whom = np.where(swapped, pairs.first[blocked], pairs.second[blocked])
    followers = np.repeat(np.arange(len(ids)), FOLLOWS)
    followed = rng.integers(0, len(ids), len(followers))
    apart = followers != followed
    for kind, users, others in (
        (b"block", who, whom),
        (b"follow", followers[apart], followed[apart]),
    ):
        columns = {
            "user_id": uuids(ids[users]),
            "friend_user_id": uuids(ids[others]),
            "relationship_type": constants(kind, len(users)),
            "created_at": timestamps(np.full(len(users), world.people.created_at.max())),
        }
        key = ("user_id", "friend_user_id", "relationship_type")
        append(connection, [TableRows("seda.friends", columns, key=key)], SilentProgress())
    connection.execute(
        "delete from seda.friends f using unnest(%s::uuid[], %s::uuid[]) as e(user_id, friend_id) "
        "where f.user_id = e.user_id and f.friend_user_id = e.friend_id "
        "and f.relationship_type = 'friend'",
        [_texts(ids[pairs.first[left]]), _texts(ids[pairs.second[left]])],
    )


def _texts(ids: Ids) -> list[str]:
    return [one.tobytes().hex() for one in ids]
