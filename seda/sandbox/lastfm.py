"""`seda import lastfm`: the HetRec 2011 Last.fm set, checked as a whole, then written.

Ids in the files stay readable as `external_ids ->> 'lastfm'`; ours are functions of them, so a
second import finds every row and changes none. Listeners live in one region, the catalogue in all.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psycopg
from numpy.typing import NDArray

from seda.database.regions import Databases, Region
from seda.errors import SedaError
from seda.progress import Progress, SilentProgress
from seda.sandbox.identity import id_texts
from seda.sandbox.lastfm_files import LastfmData, read_lastfm
from seda.sandbox.lastfm_world import artist_ids, lastfm_world, user_ids
from seda.sandbox.loading import merge, refuse_production
from seda.sandbox.rows import directory_rows, region_rows
from seda.sandbox.world import NOWHERE, World


class ConflictingImportError(SedaError):
    """What is in the database already is not what this import would continue."""


@dataclass(frozen=True)
class ImportReport:
    """What the folder gave: pairs of friends, (person, artist) listens, (person, room) members; and
    how many rows of both databases were inserted or corrected.

    `left_out_tags` are rows of `user_taggedartists.dat` about artists that are in no other file.
    """

    users: int
    artists: int
    listens: int
    friends: int
    rooms: int
    members: int
    playlists: int
    changed_rows: int
    left_out_tags: int = 0


def import_lastfm(
    databases: Databases,
    directory: Path,
    *,
    region: Region = Region.GLOBAL,
    progress: Progress | None = None,
) -> ImportReport:
    """Load the folder; its listeners get the given region as their home.

    One transaction per region, the global one last: it holds the directory of who lives where, so
    that an interrupted import names nobody who is not there, and the next one completes it.

    Raises:
        ProductionRefusedError: `SEDA_ENV` is production.
        UnknownLayoutError, MalformedFileError: the files; nothing was written.
        ConflictingImportError: these listeners live in the other region, or other ids than the
            folder's were imported before; nothing was written.
    """
    refuse_production(databases.settings, "seda import lastfm")
    progress = progress or SilentProgress()
    data = read_lastfm(directory)
    _refuse_conflicts(databases, data, region, directory)
    erased, unlinked = _tombstoned(databases, data, region)
    world = lastfm_world(data, region, erased=erased, unlinked=unlinked)
    changed = 0
    for home in (Region.EU, Region.GLOBAL):
        tables = list(region_rows(world, home))
        if home is Region.GLOBAL:
            tables.append(directory_rows(world))
        progress.start(f"Last.fm → {home}", sum(table.rows for table in tables))
        with databases[home].transaction() as connection:
            changed += merge(connection, tables, progress)
    return _report(world, changed, data.left_out)


def _report(world: World, changed: int, left_out: int) -> ImportReport:
    return ImportReport(
        users=int((world.people.homes != NOWHERE).sum()),
        artists=len(world.catalogue.artists.ids),
        listens=len(world.plays[0].people),
        friends=len(world.friendships.first),
        rooms=len(world.catalogue.rooms.ids),
        members=len(world.memberships.rooms),
        playlists=len(world.catalogue.playlists.ids),
        changed_rows=changed,
        left_out_tags=left_out,
    )


def _refuse_conflicts(
    databases: Databases, data: LastfmData, region: Region, directory: Path
) -> None:
    with databases[Region.GLOBAL].transaction() as connection:
        elsewhere = connection.execute(
            "select region from seda.region_directory where user_id = any(%s::uuid[]) "
            "and region <> %s limit 1",
            (id_texts(user_ids(data)), str(region)),
        ).fetchone()
        names = dict(_names_of(connection, data))
    if elsewhere:
        raise ConflictingImportError(
            f"The Last.fm listeners live in the region {elsewhere[0]} already: import with "
            f"`--region {elsewhere[0]}`, or run `seda reset` first."
        )
    found = [
        names[artist] == name
        for artist, name in zip(data.artists.tolist(), data.artist_names, strict=True)
        if artist in names
    ]
    # A few corrected names are an update; most of them other means that the ids are others'.
    if found and sum(found) < len(found) / 2:
        raise ConflictingImportError(
            f"The ids in {directory} do not mean the artists that were imported before (package "
            "and original files number them differently): run `seda reset` first."
        )


def _names_of(connection: psycopg.Connection, data: LastfmData) -> list[tuple[int, str]]:
    rows = connection.execute(
        "select external_ids ->> 'lastfm', name from seda.artists where id = any(%s::uuid[])",
        (id_texts(artist_ids(data)),),
    ).fetchall()
    return [(int(external), name) for external, name in rows]


def _tombstoned(
    databases: Databases, data: LastfmData, region: Region
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Who had their account erased, and who had their imports removed; bool `(users,)` each."""
    with databases[region].transaction() as connection:
        scopes = {
            str(user): scope
            for user, scope in connection.execute("select user_id, scope from seda.tombstones")
        }
    found = [scopes.get(user) for user in id_texts(user_ids(data))]
    return (
        np.array([scope == "account" for scope in found], bool),
        np.array([scope == "imports" for scope in found], bool),
    )
