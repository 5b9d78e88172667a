"""Who made an item, and whether it has just arrived: what caps and rotation rest on."""

from uuid import UUID

import numpy as np

from seda.catalogue.provenance import load_provenance
from seda.database.identifiers import ids_of
from seda.database.regions import RegionalDatabase

ADA, BO = UUID(int=1), UUID(int=2)
PLAYLISTS = [UUID(int=number) for number in (31, 32, 33, 34)]
ARTISTS = [UUID(int=number) for number in (41, 42)]


def test_playlists_have_owners_and_leading_artists(database: RegionalDatabase) -> None:
    with database.transaction() as connection:
        for person in (ADA, BO):
            connection.execute(
                "insert into seda.users (id, auth_user_id) values (%s, %s)", [person, str(person)]
            )
        for artist in ARTISTS:
            connection.execute("insert into seda.artists (id, name) values (%s, 'a')", [artist])
        owners = (ADA, BO, ADA, None)
        for number, (playlist, owner) in enumerate(zip(PLAYLISTS, owners, strict=True)):
            connection.execute(
                "insert into seda.playlists (id, name, owner_user_id, created_at) "
                "values (%s, %s, %s, now() - make_interval(days => %s))",
                [playlist, f"list {number}", owner, 10 * number],
            )
        for playlist, artist, position in (
            (PLAYLISTS[0], ARTISTS[1], 1), (PLAYLISTS[0], ARTISTS[0], 0),
            (PLAYLISTS[1], ARTISTS[1], 3), (PLAYLISTS[2], ARTISTS[0], 5),
        ):  # fmt: skip
            connection.execute(
                "insert into seda.playlist_artists (playlist_id, artist_id, position) "
                "values (%s, %s, %s)", [playlist, artist, position],
            )  # fmt: skip
        asked = ids_of([*PLAYLISTS[::-1], UUID(int=99)])
        known = load_provenance(connection, "playlist", asked)
        artists = load_provenance(connection, "artist", ids_of(ARTISTS))
        rooms = load_provenance(connection, "room", ids_of([]))
    assert known.names == ["list 3", "list 2", "list 1", "list 0", ""]
    assert known.arrived.tolist() == [False, False, True, True, False]
    owners, leading = known.owners, known.artists
    assert owners[1] == owners[3] != owners[2]
    assert leading[1] == leading[3] != leading[2]
    assert (owners[[0, 4]] == -1).all()
    assert (leading[[0, 4]] == -1).all()
    assert np.unique(artists.owners).tolist() == [-1]
    assert artists.arrived.all()
    assert rooms.names == []
