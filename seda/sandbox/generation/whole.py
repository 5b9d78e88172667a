"""The whole sandbox from one seed.

Every stage has its own stream of the seed, so that changing one reshuffles no other.
"""

import numpy as np

from seda.sandbox.generation.catalogue import make_artists, make_playlists, make_rooms
from seda.sandbox.generation.friendship import make_friendships
from seda.sandbox.generation.listening import (
    artist_follows,
    artist_plays,
    playlist_plays,
    room_memberships,
    room_plays,
)
from seda.sandbox.generation.people import draw_tastes, make_people, notification_choices
from seda.sandbox.generation.present import analytics_events, make_presence, social_events
from seda.sandbox.profiles import SandboxProfile
from seda.sandbox.world import Catalogue, Live, World

SOURCE = "seda"


def sandbox_name(profile: SandboxProfile, seed: int) -> str:
    """What tells one sandbox from another; part of every id."""
    return f"{profile.name}:{seed}"


def make_world(profile: SandboxProfile, seed: int, now: np.datetime64) -> World:
    """The sandbox as seen at `now`, datetime64 in UTC: the same arguments, the same rows."""
    prefix = f"sandbox:{sandbox_name(profile, seed)}"
    streams = iter(np.random.default_rng(one) for one in np.random.SeedSequence(seed).spawn(16))
    today = now.astype("M8[D]")
    tastes = draw_tastes(next(streams), profile.users)
    people = make_people(next(streams), prefix, tastes, profile.eu_share, today)
    artists, genres, artist_appeal = make_artists(
        next(streams), prefix, profile.artists, tastes.popularity, today
    )
    playlists, entries, playlist_appeal = make_playlists(
        next(streams), prefix, profile.playlists, tastes, artist_appeal, today
    )
    rooms, room_appeal = make_rooms(next(streams), prefix, profile.rooms, tastes, today)
    friendships = make_friendships(next(streams), tastes, today)
    plays = artist_plays(next(streams), tastes, artist_appeal, profile.listened_artists, today)
    open_to = np.where(playlists.public, -1, playlists.owners)
    listened = playlist_plays(next(streams), tastes, playlist_appeal, open_to, today)
    members = room_memberships(next(streams), tastes, room_appeal, rooms.creators, now)
    visits = room_plays(next(streams), members, today)
    presence = make_presence(next(streams), profile.users, members, now)
    count = profile.users
    return World(
        source=SOURCE,
        people=people,
        catalogue=Catalogue(artists, genres, playlists, entries, rooms),
        friendships=friendships,
        plays=(plays, listened, visits),
        memberships=members,
        live=Live(
            follows=artist_follows(next(streams), plays, now),
            presence=presence,
            analytics=analytics_events(next(streams), prefix, count, plays, members, now),
            social=social_events(next(streams), prefix, count, plays, members, presence, now),
            notifications=notification_choices(next(streams), count),
        ),
    )
