"""Reads a folder of the HetRec 2011 Last.fm set, in either layout, into one form.

Everything is checked here, before anything is written: the first bad line is refused by file and
line number. What the numbers mean for rooms, playlists and genres is not decided here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from seda.errors import SedaError
from seda.sandbox.tables import Known, Numbers, Table
from seda.sandbox.world import Positions

PACKAGE: Final = (
    "train.csv.gz",
    "friends.csv.gz",
    "artists.csv.gz",
    "users.csv.gz",
    "tags.csv.gz",
    "train_pair_tags.csv.gz",
    "other_artist_tags.csv.gz",
    "other_user_tags.csv.gz",
)
"""The benchmark package's files that are read; its validation split is not among them."""
ORIGINAL: Final = (
    "user_artists.dat",
    "artists.dat",
    "tags.dat",
    "user_taggedartists.dat",
    "user_friends.dat",
)


class UnknownLayoutError(SedaError):
    """The folder is not one complete copy of the set in one layout."""


@dataclass(frozen=True, eq=False)
class LastfmData:
    """The set in one form. Ids are as in the files, int64 and ascending; the rest are positions.

    `listens` (rows, 2): user, artist, each pair once, with `plays` int64 >= 1. `friends`
    (pairs, 2): first < second, each pair once. `listened_tags` (rows, 3): user, artist, tag, for
    artists that the user listened to. `artist_tags` (rows, 2): artist, tag, with `taggers` int64,
    how many people said so. `user_tags` (rows, 2): user, tag, whatever artist it was given to.
    `left_out` counts the tag rows of artists that the catalogue does not have.
    """

    users: Numbers
    artists: Numbers
    artist_names: list[str]
    tags: Numbers
    tag_names: list[str]
    listens: Positions
    plays: Numbers
    friends: Positions
    listened_tags: Positions
    artist_tags: Positions
    taggers: Numbers
    user_tags: Positions
    left_out: int = 0


def read_lastfm(directory: Path) -> LastfmData:
    """The folder's contents, whichever layout it has.

    Raises:
        UnknownLayoutError: neither layout, both, or a missing file.
        MalformedFileError: a line that is not as it should be.
    """
    if not directory.is_dir():
        raise UnknownLayoutError(f"{directory} is not a folder: give the one that holds the set.")
    package = [name for name in PACKAGE if (directory / name).is_file()]
    original = [name for name in ORIGINAL if (directory / name).is_file()]
    if package and original:
        raise UnknownLayoutError(
            f"{directory} holds both the benchmark package ({package[0]}) and the original files "
            f"({original[0]}), whose ids differ: keep them in separate folders."
        )
    if not package and not original:
        raise UnknownLayoutError(
            f"{directory} holds neither the benchmark package ({PACKAGE[0]}, …) nor the original "
            f"files ({ORIGINAL[0]}, …) of the Last.fm set: give the folder that does."
        )
    missing = sorted(set(PACKAGE if package else ORIGINAL) - {*package, *original})
    if missing:
        raise UnknownLayoutError(
            f"{directory} lacks {', '.join(missing)}: copy the whole set there."
        )
    return _package(directory) if package else _original(directory)


def _package(directory: Path) -> LastfmData:
    users = _users_of_package(directory)
    artists, artist_names = _listing(directory, "artists.csv.gz", "artist", "artist_id", "name")
    tags, tag_names = _listing(directory, "tags.csv.gz", "tag", "tag_id", "tag")
    table = Table(directory / "train.csv.gz", ["user_id", "artist_id", "plays"])
    listens, plays = _listens(table, users, artists)
    own = _own_tags(directory, users, artists, tags, listens)
    elsewhere, amounts = _other_tags(directory, artists, tags)
    artist_tags, taggers = _summed(
        np.concatenate([own[:, 1:], elsewhere]),
        np.concatenate([np.ones(len(own), np.int64), amounts]),
    )
    used = np.concatenate([own[:, [0, 2]], _vocabulary(directory, users, tags)])
    return LastfmData(
        users=users.ids,
        artists=artists.ids,
        artist_names=artist_names,
        tags=tags.ids,
        tag_names=tag_names,
        listens=listens,
        plays=plays,
        friends=_friends(Table(directory / "friends.csv.gz", ["user_a", "user_b"]), users),
        listened_tags=own,
        artist_tags=artist_tags,
        taggers=taggers,
        user_tags=np.unique(used, axis=0),
    )


def _original(directory: Path) -> LastfmData:
    # 444 artists of the set have no picture; the last column may be missing.
    artists, artist_names = _listing(
        directory, "artists.dat", "artist", "id", "name", "url", "pictureURL", optional=1
    )
    tags, tag_names = _listing(directory, "tags.dat", "tag", "tagID", "tagValue")
    table = Table(directory / "user_artists.dat", ["userID", "artistID", "weight"])
    users = Known("user", table.name, np.unique(table.integers("userID")))
    listens, plays = _listens(table, users, artists)
    every = _assignments(directory, users, artists, tags)
    listed = np.unique(every[every[:, 1] >= 0], axis=0)
    artist_tags, taggers = _summed(listed[:, 1:], np.ones(len(listed), np.int64))
    friends = Table(directory / "user_friends.dat", ["userID", "friendID"])
    return LastfmData(
        users=users.ids,
        artists=artists.ids,
        artist_names=artist_names,
        tags=tags.ids,
        tag_names=tag_names,
        listens=listens,
        plays=plays,
        friends=_friends(friends, users),
        listened_tags=listed[_listened(listed, listens, len(artists.ids))],
        artist_tags=artist_tags,
        taggers=taggers,
        user_tags=np.unique(every[:, [0, 2]], axis=0),
        left_out=int((every[:, 1] < 0).sum()),
    )


def _listing(
    directory: Path, name: str, noun: str, *columns: str, optional: int = 0
) -> tuple[Known, list[str]]:
    """The ids and texts of the first two columns."""
    table = Table(directory / name, columns, optional=optional)
    return table.listing(noun, columns[0], columns[1])


def _own_tags(
    directory: Path, users: Known, artists: Known, tags: Known, listens: Positions
) -> Positions:
    """(rows, 3) user, artist, tag, each once, of artists that the user listened to."""
    columns = ["user_id", "artist_id", "tag_id", "year", "month"]
    table = Table(directory / "train_pair_tags.csv.gz", columns)
    own = np.column_stack(
        [
            table.references("user_id", users),
            table.references("artist_id", artists),
            table.references("tag_id", tags),
        ]
    )
    strange = np.flatnonzero(~_listened(own, listens, len(artists.ids)))
    if len(strange):
        table.refuse(int(strange[0]), "the user has no row for this artist in train.csv.gz")
    return np.unique(own, axis=0)


def _other_tags(directory: Path, artists: Known, tags: Known) -> tuple[Positions, Numbers]:
    """(rows, 2) artist, tag, and how many people said so who never listened to the artist."""
    table = Table(directory / "other_artist_tags.csv.gz", ["artist_id", "tag_id", "n_users"])
    pairs = table.distinct(
        "artist and tag", table.references("artist_id", artists), table.references("tag_id", tags)
    )
    return pairs, table.integers("n_users", least=1)


def _users_of_package(directory: Path) -> Known:
    table = Table(directory / "users.csv.gz", ["user_id"])
    ids = table.integers("user_id")
    table.distinct("user", ids)
    return Known("user", table.name, np.sort(ids))


def _vocabulary(directory: Path, users: Known, tags: Known) -> Positions:
    """(rows, 2) user, tag of tags given to artists that the user never listened to."""
    table = Table(directory / "other_user_tags.csv.gz", ["user_id", "tag_id", "n"])
    table.integers("n", least=1)
    return table.distinct(
        "user and tag", table.references("user_id", users), table.references("tag_id", tags)
    )


def _listens(table: Table, users: Known, artists: Known) -> tuple[Positions, Numbers]:
    """(rows, 2) user, artist and their plays, from the first three columns."""
    user, artist, plays = table.columns
    pairs = table.distinct(
        "user and artist", table.references(user, users), table.references(artist, artists)
    )
    return pairs, table.integers(plays, least=1)


def _assignments(directory: Path, users: Known, artists: Known, tags: Known) -> Positions:
    """(rows, 3) user, artist, tag as they stand in the original file; artist -1 if not listed.

    Unlike the other files, this one speaks of artists that nobody listened to and that artists.dat
    does not list: they have no name, so they are no error.
    """
    columns = ["userID", "artistID", "tagID", "day", "month", "year"]
    table = Table(directory / "user_taggedartists.dat", columns)
    return np.column_stack(
        [
            table.references("userID", users),
            artists.positions(table.integers("artistID")),
            table.references("tagID", tags),
        ]
    )


def _friends(table: Table, users: Known) -> Positions:
    """(pairs, 2) first < second, each once, from a file that has one direction or both."""
    first, second = table.columns
    pairs = table.distinct(
        "friendship", table.references(first, users), table.references(second, users)
    )
    alone = np.flatnonzero(pairs[:, 0] == pairs[:, 1])
    if len(alone):
        table.refuse(int(alone[0]), "a user cannot be their own friend")
    return np.unique(np.sort(pairs, axis=1), axis=0)


def _listened(assignments: Positions, listens: Positions, artists: int) -> np.ndarray:
    """Whether the user of each (user, artist, tag) row listened to its artist, bool."""
    pairs = assignments[:, 0].astype(np.int64) * artists + assignments[:, 1]
    return np.isin(pairs, listens[:, 0].astype(np.int64) * artists + listens[:, 1])


def _summed(pairs: Positions, amounts: Numbers) -> tuple[Positions, Numbers]:
    """Each distinct row of `pairs` with the sum of its amounts."""
    distinct, which = np.unique(pairs, axis=0, return_inverse=True)
    sums = np.zeros(len(distinct), np.int64)
    np.add.at(sums, which.ravel(), amounts)
    return distinct, sums
