"""What listeners did: artists and playlists played, rooms joined, artists followed.

An artist is drawn by taste times popularity; the more often, the more it was played.
"""

from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from seda.sandbox.generation.catalogue import Appeal
from seda.sandbox.generation.draws import Longs, draw_by_row, times_before, unique_pairs
from seda.sandbox.generation.friendship import choose_column
from seda.sandbox.generation.people import Tastes
from seda.sandbox.world import Follows, Memberships, Plays, Positions

DAYS: Final = 120
WEEKS: Final = 5
_STRAY_SHARE: Final = 0.08
"""Of what is played, this much is outside the listener's tastes."""
_RISING_SHARE: Final = 0.01


def artist_plays(
    rng: Generator, tastes: Tastes, artists: Appeal, median: int, today: np.datetime64
) -> Plays:
    """About `median` artists for the median listener, from 0.45 to 2.8 times that; log-normal
    plays. One artist in a hundred is rising: all its plays are of the newest period."""
    count = len(tastes.leaves)
    number = np.exp(rng.normal(np.log(median), 0.5, count)).clip(0.45 * median, 2.8 * median)
    people, drawn = _draw(rng, tastes, artists, (number * 1.4).astype(np.int64))
    pairs, often = np.unique(people * len(artists.leaves) + drawn, return_counts=True)
    people, entities = np.divmod(pairs, len(artists.leaves))
    plays = np.exp(rng.normal(2.0, 1.1, len(pairs))) * often
    rising = rng.random(len(artists.leaves)) < _RISING_SHARE
    return _spread(
        rng, "artist", people, entities, np.ceil(plays).astype(np.int64), today, rising[entities]
    )


def playlist_plays(
    rng: Generator, tastes: Tastes, playlists: Appeal, open_to: Positions, today: np.datetime64
) -> Plays:
    """About seven playlists per listener; a private one (`open_to` is its owner, else -1) is
    played by its owner only."""
    people, drawn = _draw(rng, tastes, playlists, rng.poisson(7, len(tastes.leaves)))
    kept = unique_pairs(people, drawn)
    people, drawn = people[kept], drawn[kept]
    allowed = (open_to[drawn] < 0) | (open_to[drawn] == people)
    people, drawn = people[allowed], drawn[allowed]
    plays = np.ceil(np.exp(rng.normal(1.2, 0.9, len(people)))).astype(np.int64)
    return _spread(rng, "playlist", people, drawn, plays, today, np.zeros(len(people), bool))


def room_memberships(
    rng: Generator, tastes: Tastes, rooms: Appeal, creators: Positions, now: np.datetime64
) -> Memberships:
    """About six rooms per listener by taste, and the rooms that they opened."""
    people, drawn = _draw(rng, tastes, rooms, 1 + rng.poisson(5, len(tastes.leaves)))
    opened = np.flatnonzero(creators >= 0)
    people = np.concatenate([creators[opened], people])
    drawn = np.concatenate([opened, drawn])
    kept = unique_pairs(people, drawn)
    joined = times_before(rng, now, DAYS, len(kept))
    since = (now.astype("M8[us]") - joined).astype(np.int64)
    back = (since * rng.random(len(kept)) ** 2).astype(np.int64) // 1_000_000
    return Memberships(
        rooms=drawn[kept].astype(np.int32),
        members=people[kept].astype(np.int32),
        joined_at=joined,
        last_joined_at=now.astype("M8[us]") - back.astype("m8[s]"),
    )


def room_plays(rng: Generator, members: Memberships, today: np.datetime64) -> Plays:
    """How often members came by, counted in the period of their last visit."""
    dates = periods(today)
    visit = np.searchsorted(dates, members.last_joined_at.astype("M8[D]"), side="right") - 1
    count = len(members.rooms)
    return Plays(
        "room",
        members.members,
        members.rooms,
        dates[np.maximum(visit, 0)],
        np.ceil(np.exp(rng.normal(1.0, 0.8, count))).astype(np.int64),
    )


def artist_follows(rng: Generator, plays: Plays, now: np.datetime64) -> Follows:
    """Some of the artists that a listener plays, those played most of all."""
    following = rng.random(len(plays.people)) < np.where(plays.plays > 40, 0.15, 0.02)
    people, artists = plays.people[following], plays.entities[following]
    kept = unique_pairs(people, artists)
    return Follows(people[kept], artists[kept], times_before(rng, now, 300, len(kept), recent=1.5))


def periods(today: np.datetime64) -> NDArray[np.datetime64]:
    """The dates that counts bear, ascending: the Mondays of the last weeks, and the first days of
    the months before them, none older than `DAYS`."""
    monday = today - (today.astype(np.int64) + 3) % 7
    weeks = monday - 7 * np.arange(WEEKS)
    months = today.astype("M8[M]") - np.arange(DAYS // 28)
    firsts = months.astype("M8[D]")
    older = firsts[(firsts < weeks[-1]) & (firsts >= today - np.timedelta64(DAYS, "D"))]
    return np.sort(np.concatenate([weeks, older]))


def _draw(rng: Generator, tastes: Tastes, appeal: Appeal, number: Longs) -> tuple[Longs, Longs]:
    """`number[person]` draws for each person, with repetition: people and entities."""
    people = np.repeat(np.arange(len(number)), number)
    leaves = tastes.leaves[people, choose_column(rng, tastes, people)]
    stray = rng.random(len(people)) < _STRAY_SHARE
    leaves[stray] = rng.choice(len(tastes.popularity), stray.sum(), p=tastes.popularity)
    return people, draw_by_row(rng, leaves, appeal.chances())


def _spread(
    rng: Generator,
    entity_type: str,
    people: Longs,
    entities: Longs,
    plays: Longs,
    today: np.datetime64,
    rising: NDArray[np.bool_],
) -> Plays:
    """The plays of each pair in one period, or in two for three of ten pairs."""
    dates = periods(today)
    newest = len(dates) - 1
    first = np.where(rising, newest, rng.integers(0, len(dates), len(people)))
    second = (first + rng.integers(1, len(dates), len(people))) % len(dates)
    parted = (rng.random(len(people)) < 0.3) & (plays > 1) & ~rising
    later = np.where(
        parted, np.maximum(1, (plays * rng.uniform(0.1, 0.6, len(plays))).astype(int)), 0
    )
    return Plays(
        entity_type,
        np.concatenate([people, people[parted]]).astype(np.int32),
        np.concatenate([entities, entities[parted]]).astype(np.int32),
        np.concatenate([dates[first], dates[second[parted]]]),
        np.concatenate([plays - later, later[parted]]),
    )
