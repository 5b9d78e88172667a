"""The rows of a sandbox as arrays: a catalogue, people, and what people did with it.

People and entities are positions here, and ids only where they are written; `-1` is nobody. What
makes a world (the import's rules, the generators) and what writes it know only these types.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from seda.database.identifiers import Ids

Positions = NDArray[np.int32]
Moments = NDArray[np.datetime64]

HOMES: Final = ("global", "eu")
"""What the codes of `People.homes` stand for."""
NOWHERE: Final = -1


@dataclass(frozen=True, eq=False)
class People:
    """One entry per person; `ids` is `(people, 16)` uint8.

    `homes` int8: index into `HOMES`, or `NOWHERE` for a person of whom no row is written.
    `external_ids`, `preferences` and `privacy_settings` are JSON.
    """

    ids: Ids
    auth_user_ids: list[str]
    external_ids: list[bytes]
    display_names: list[str | None]
    countries: list[str | None]
    time_zones: list[str | None]
    avatar_urls: list[str | None]
    preferences: list[bytes]
    privacy_settings: list[bytes]
    homes: NDArray[np.int8]
    created_at: Moments


@dataclass(frozen=True, eq=False)
class Artists:
    """One entry per artist; `genres` best first; `popularity` float64 in [0, 1]."""

    ids: Ids
    external_ids: list[bytes]
    names: list[str]
    genres: list[list[str]]
    popularity: NDArray[np.float64]
    languages: list[str | None]
    created_at: Moments


@dataclass(frozen=True, eq=False)
class ArtistGenres:
    """One entry per (artist, genre); `weights` float32 > 0."""

    artists: Positions
    genres: list[str]
    weights: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Playlists:
    """One entry per playlist; `owners` are positions of people; `public` is bool."""

    ids: Ids
    external_ids: list[bytes]
    names: list[str]
    owners: Positions
    provider: str
    track_counts: NDArray[np.int32]
    genres: list[str | None]
    languages: list[str | None]
    public: NDArray[np.bool_]
    created_at: Moments


@dataclass(frozen=True, eq=False)
class PlaylistArtists:
    """One entry per (playlist, artist); `places` count from 1."""

    playlists: Positions
    artists: Positions
    places: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Rooms:
    """One entry per room; `creators` are positions of people."""

    ids: Ids
    external_ids: list[bytes]
    names: list[str]
    creators: Positions
    genres: list[str | None]
    languages: list[str | None]
    created_at: Moments


@dataclass(frozen=True, eq=False)
class Catalogue:
    """What is in every region with the same ids."""

    artists: Artists
    artist_genres: ArtistGenres
    playlists: Playlists
    playlist_artists: PlaylistArtists
    rooms: Rooms


@dataclass(frozen=True, eq=False)
class Friendships:
    """One entry per pair of friends, either order, each pair once."""

    first: Positions
    second: Positions
    since: Moments


@dataclass(frozen=True, eq=False)
class Plays:
    """Counts of one entity type: (person, entity, period) once; `plays` int64 > 0."""

    entity_type: str
    people: Positions
    entities: Positions
    periods: NDArray[np.datetime64]
    plays: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Memberships:
    """One entry per (room, member)."""

    rooms: Positions
    members: Positions
    joined_at: Moments
    last_joined_at: Moments


@dataclass(frozen=True, eq=False)
class Follows:
    """One entry per (person, artist)."""

    people: Positions
    artists: Positions
    created_at: Moments


@dataclass(frozen=True, eq=False)
class Presence:
    """Who is in which room now; a person is in one room at most."""

    rooms: Positions
    people: Positions
    joined_at: Moments
    last_seen_at: Moments


@dataclass(frozen=True, eq=False)
class Events:
    """Events in the order of `occurred_at`; `kinds` are the table's words."""

    ids: Ids
    people: Positions
    kinds: list[str]
    entity_types: list[str]
    entities: Positions
    occurred_at: Moments


@dataclass(frozen=True, eq=False)
class NotificationChoices:
    """One entry per person; `quiet_from` and `quiet_to` are minutes of the day, -1 for none."""

    push_opt_in: NDArray[np.bool_]
    toasts_enabled: NDArray[np.bool_]
    quiet_from: NDArray[np.int32]
    quiet_to: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Live:
    """What only a seeded sandbox has: the present moment and the last days."""

    follows: Follows
    presence: Presence
    analytics: Events
    social: Events
    notifications: NotificationChoices


@dataclass(frozen=True, eq=False)
class World:
    """Everything; `source` stands in the rows that know where they came from."""

    source: str
    people: People
    catalogue: Catalogue
    friendships: Friendships
    plays: tuple[Plays, ...]
    memberships: Memberships
    live: Live | None = field(default=None)
