"""The seeded catalogue: artists with weighted genres, genre-coherent playlists, rooms.

Popularity is heavy-tailed everywhere; a few artists, playlists and rooms are only days old.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from seda.sandbox.generation.draws import (
    Floats,
    Longs,
    draw_by_row,
    pick,
    times_before,
    unique_pairs,
    zipf_weights,
)
from seda.sandbox.generation.friendship import choose_column
from seda.sandbox.generation.genres import LEAVES, ROOTS, affinity, root_language, root_of
from seda.sandbox.generation.names import artist_names, playlist_names, room_names
from seda.sandbox.generation.people import Tastes
from seda.sandbox.identity import entity_ids
from seda.sandbox.world import (
    ArtistGenres,
    Artists,
    Catalogue,
    Moments,
    PlaylistArtists,
    Playlists,
    Positions,
    Rooms,
)

GENRES: Final = LEAVES + ROOTS
"""Every genre by position: the subgenres, then the roots."""
_ARTIST_TAIL: Final = 1.0
_ROOM_TAIL: Final = 0.8
_PLAYLIST_TAIL: Final = 0.7
_NEW_SHARE: Final = 0.06
_OTHER_LANGUAGES: Final = (
    "en",
    "es",
    "pt",
    "fr",
    "de",
    "ja",
    "ko",
    "hi",
    "it",
    "sv",
    "instrumental",
)


@dataclass(frozen=True, eq=False)
class Appeal:
    """What draws a taste to entities: `leaves` int32, each one's subgenre, and `popularity`
    float64, summing to 1; both `(entities,)`."""

    leaves: Positions
    popularity: Floats

    def chances(self, *, loyalty: float = 1.0) -> Floats:
        """`(subgenres, entities)`: the pull of each entity on each taste, not normalised."""
        pull: Floats = (affinity() ** loyalty)[:, self.leaves] * self.popularity
        return pull


@dataclass(frozen=True, eq=False)
class Scene:
    """The catalogue's rows and what the listening is drawn from."""

    catalogue: Catalogue
    artists: Appeal
    playlists: Appeal
    rooms: Appeal


def make_artists(
    rng: Generator, prefix: str, count: int, leaf_popularity: Floats, now: np.datetime64
) -> tuple[Artists, ArtistGenres, Appeal]:
    """Artists, the weights of their one to four genres (summing to 1), and their appeal."""
    leaves = rng.choice(len(LEAVES), count, p=leaf_popularity).astype(np.int32)
    genres, weights = _genre_mixtures(rng, leaves)
    present = weights > 0
    appeal = Appeal(leaves, zipf_weights(rng, count, _ARTIST_TAIL))
    rank = np.argsort(np.argsort(-appeal.popularity)) + 1
    listed = np.argsort(-weights, axis=1, kind="stable")
    artists = Artists(
        ids=entity_ids(f"{prefix}:artist", range(count)),
        external_ids=[b"{}"] * count,
        names=artist_names(rng, count),
        genres=[
            [GENRES[genres[one, column]] for column in listed[one] if present[one, column]]
            for one in range(count)
        ],
        popularity=1 - np.log(rank) / np.log(count + 1),
        languages=_languages(rng, leaves),
        created_at=_creation(rng, count, now),
    )
    artist, column = np.nonzero(present)
    return (
        artists,
        ArtistGenres(
            artists=artist.astype(np.int32),
            genres=[GENRES[genre] for genre in genres[artist, column].tolist()],
            weights=weights[artist, column].astype(np.float32),
        ),
        appeal,
    )


def make_playlists(
    rng: Generator, prefix: str, count: int, tastes: Tastes, artists: Appeal, now: np.datetime64
) -> tuple[Playlists, PlaylistArtists, Appeal]:
    """Playlists of one subgenre and its neighbourhood; 60 % have an owner, who likes it."""
    owners, leaves = _made_by(rng, count, tastes, share=0.6)
    entries = _playlist_artists(rng, leaves, artists)
    sizes = np.bincount(entries.playlists, minlength=count)
    genres = [LEAVES[leaf] for leaf in leaves.tolist()]
    playlists = Playlists(
        ids=entity_ids(f"{prefix}:playlist", range(count)),
        external_ids=[b"{}"] * count,
        names=playlist_names(rng, genres),
        owners=owners,
        provider="seda",
        track_counts=(sizes * rng.integers(1, 5, count) + rng.integers(0, 4, count)).astype(
            np.int32
        ),
        genres=list(genres),
        languages=_languages(rng, leaves),
        public=(owners < 0) | (rng.random(count) > 0.05),
        created_at=_creation(rng, count, now),
    )
    return playlists, entries, Appeal(leaves, zipf_weights(rng, count, _PLAYLIST_TAIL))


def make_rooms(
    rng: Generator, prefix: str, count: int, tastes: Tastes, now: np.datetime64
) -> tuple[Rooms, Appeal]:
    """Rooms of a subgenre, one in four of a whole root; 85 % were opened by somebody."""
    creators, leaves = _made_by(rng, count, tastes, share=0.85)
    broad = rng.random(count) < 0.25
    genres = [
        ROOTS[root] if wide else LEAVES[leaf]
        for leaf, root, wide in zip(
            leaves.tolist(), root_of(leaves).tolist(), broad.tolist(), strict=True
        )
    ]
    rooms = Rooms(
        ids=entity_ids(f"{prefix}:room", range(count)),
        external_ids=[b"{}"] * count,
        names=room_names(rng, genres),
        creators=creators,
        genres=list(genres),
        languages=_languages(rng, leaves),
        created_at=_creation(rng, count, now),
    )
    return rooms, Appeal(leaves, zipf_weights(rng, count, _ROOM_TAIL))


def _genre_mixtures(rng: Generator, leaves: Positions) -> tuple[Longs, Floats]:
    """Genres `(artists, 4)` by position and their weights, 0 where there is no such genre: the
    subgenre, its root, a related subgenre, and another."""
    count = len(leaves)
    carried = affinity()
    np.fill_diagonal(carried, 0.0)
    genres = np.column_stack(
        [
            leaves,
            len(LEAVES) + root_of(leaves),
            draw_by_row(rng, leaves, carried),
            draw_by_row(rng, leaves, carried),
        ]
    )
    number = rng.choice([1, 2, 3, 4], count, p=[0.15, 0.35, 0.32, 0.18])
    weights = rng.uniform(0.3, 1.0, genres.shape) * np.array([1.6, 0.9, 0.7, 0.5])
    weights[np.arange(4) >= number[:, None]] = 0
    weights[genres[:, 3] == genres[:, 2], 3] = 0
    return genres, weights / weights.sum(axis=1, keepdims=True)


def _made_by(
    rng: Generator, count: int, tastes: Tastes, *, share: float
) -> tuple[Positions, Positions]:
    """Who made each thing (-1: nobody) and its subgenre, one of theirs."""
    makers = rng.integers(0, len(tastes.leaves), count)
    leaves = tastes.leaves[makers, choose_column(rng, tastes, makers)]
    return np.where(rng.random(count) < share, makers, -1).astype(np.int32), leaves


def _playlist_artists(rng: Generator, leaves: Positions, artists: Appeal) -> PlaylistArtists:
    """Five to fourteen artists per playlist, less the repeated, drawn closer than listening is."""
    playlists = np.repeat(np.arange(len(leaves)), rng.integers(5, 15, len(leaves)))
    drawn = draw_by_row(rng, leaves[playlists], artists.chances(loyalty=1.5))
    kept = np.sort(unique_pairs(playlists, drawn))
    playlists, drawn = playlists[kept], drawn[kept]
    starts = np.searchsorted(playlists, playlists)
    return PlaylistArtists(
        playlists=playlists.astype(np.int32),
        artists=drawn.astype(np.int32),
        places=(np.arange(len(playlists)) - starts + 1).astype(np.int32),
    )


def _languages(rng: Generator, leaves: NDArray[np.integer]) -> list[str | None]:
    own = rng.random(len(leaves)) < 0.75
    others = pick(rng, _OTHER_LANGUAGES, len(leaves))
    return [
        root_language(root) if usual else other
        for root, usual, other in zip(root_of(leaves).tolist(), own.tolist(), others, strict=True)
    ]


def _creation(rng: Generator, count: int, now: np.datetime64) -> Moments:
    """Years ago, or in the last fortnight for the newly arrived."""
    new = rng.random(count) < _NEW_SHARE
    old = times_before(rng, now - np.timedelta64(30, "D"), 1_500, count)
    return np.where(new, times_before(rng, now, 14, count), old)
