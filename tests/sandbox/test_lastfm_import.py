"""What `seda import lastfm` writes, and that it writes it once."""

import math
import uuid
from datetime import date

import pytest

from seda.database.regions import Region
from seda.sandbox.identity import NAMESPACE
from seda.sandbox.lastfm import ConflictingImportError, import_lastfm
from seda.sandbox.loading import ProductionRefusedError


def rows(databases, query, *, region=Region.GLOBAL, values=None):
    with databases[region].connect() as connection:
        return connection.execute(query, values).fetchall()


def our_id(kind, key):
    return uuid.uuid5(NAMESPACE, f"lastfm:{kind}:{key}")


@pytest.fixture(scope="module")
def imported_report(shared_databases, write_files, package_lines, tmp_path_factory):
    folder = write_files(tmp_path_factory.mktemp("imported"), package_lines)
    return import_lastfm(shared_databases, folder)


@pytest.fixture(scope="module")
def imported(shared_databases, imported_report):
    """The package, imported; no test changes it."""
    return shared_databases


def test_report_counts_what_the_folder_held(imported_report):
    report = imported_report
    assert (report.users, report.artists, report.listens, report.friends) == (42, 3, 44, 2)
    assert (report.rooms, report.playlists) == (1, 1)


def test_people_keep_the_files_ids_and_get_ours(imported):
    assert rows(
        imported,
        "select id, auth_user_id, external_ids, region, email from seda.users "
        "where display_name = 'Listener 17'",
    ) == [(our_id("user", 17), str(our_id("auth", 17)), {"lastfm": "17"}, "global", None)]
    assert rows(imported, "select count(*) from seda.region_directory") == [(42,)]


def test_listens_bear_one_date_and_their_source(imported):
    assert rows(
        imported,
        "select entity_id, plays, source, period from seda.activity_counts "
        "where user_id = %s order by plays",
        values=(our_id("user", 1),),
    ) == [
        (our_id("artist", artist), plays, "lastfm", date(2011, 5, 1))
        for artist, plays in ((6, 10), (5, 40), (8, 90))
    ]


def test_a_friendship_is_two_rows(imported):
    found = rows(imported, "select user_id, friend_user_id from seda.friends")
    one, two, three = (our_id("user", user) for user in (1, 2, 3))
    assert sorted(found) == sorted([(one, two), (two, one), (one, three), (three, one)])


def test_genres_weigh_by_the_people_who_said_so(imported):
    weights = {
        (str(artist), genre): weight
        for artist, genre, weight in rows(
            imported, "select artist_id, genre, weight from seda.artist_genres"
        )
    }
    # 22 people tagged artist 5 with tag 7; artist 8 got it from its listener and six others.
    assert weights[str(our_id("artist", 5)), "post rock"] == pytest.approx(math.log2(23))
    assert weights[str(our_id("artist", 8)), "post rock"] == pytest.approx(math.log2(8))
    assert rows(
        imported,
        "select name, genres from seda.artists where id = %s",
        values=(our_id("artist", 8),),
    ) == [("Sigur Rós", ["post rock", "80s new wave"])]


def test_a_tag_of_many_is_a_room_with_those_who_use_it(imported):
    assert rows(imported, "select id, name, genre, external_ids from seda.rooms") == [
        (our_id("room", 7), "Post Rock", "post rock", {"lastfm": "7"})
    ]
    members = {user for (user,) in rows(imported, "select user_id from seda.room_members")}
    # 2 to 23 said it of artist 5; everybody else listens to artists that others gave it.
    assert members == {our_id("user", user) for user in range(1, 43)}


def test_a_long_list_under_one_tag_is_a_playlist_most_played_first(imported):
    playlist = our_id("playlist", "1-9")
    assert rows(
        imported,
        "select id, name, owner_user_id, external_ids, track_count, genre, visibility "
        "from seda.playlists",
    ) == [
        (
            playlist,
            "80s New Wave mix",
            our_id("user", 1),
            {"lastfm": "1-9"},
            3,
            "80s new wave",
            "public",
        )
    ]
    assert rows(
        imported, "select artist_id, position from seda.playlist_artists order by position"
    ) == [(our_id("artist", artist), place) for place, artist in enumerate((8, 5, 6), 1)]


def test_the_other_region_gets_the_catalogue_and_no_person(imported):
    assert rows(imported, "select owner_user_id from seda.playlists", region=Region.EU) == [(None,)]
    for table, count in (
        ("artists", 3),
        ("rooms", 1),
        ("users", 0),
        ("friends", 0),
        ("activity_counts", 0),
        ("room_members", 0),
        ("region_directory", 0),
    ):
        assert rows(imported, f"select count(*) from seda.{table}", region=Region.EU) == [(count,)]


def test_listeners_can_live_in_the_eu(databases, package):
    import_lastfm(databases, package, region=Region.EU)
    assert rows(databases, "select count(*) from seda.users") == [(0,)]
    assert rows(databases, "select count(*) from seda.users", region=Region.EU) == [(42,)]
    assert rows(databases, "select distinct region from seda.region_directory") == [("eu",)]


def test_a_second_import_changes_no_row(databases, package, fingerprint):
    first = import_lastfm(databases, package)
    before = fingerprint(databases)
    assert first.changed_rows > 0
    assert import_lastfm(databases, package).changed_rows == 0
    assert fingerprint(databases) == before


def test_a_corrected_file_changes_its_rows_only(databases, package, package_files, write_files):
    import_lastfm(databases, package)
    package_files["train.csv.gz"][1] = "1,5,41"
    assert import_lastfm(databases, write_files(package, package_files)).changed_rows == 1


def test_original_files_decode_latin_1_and_leave_unlisted_artists_out(databases, original):
    report = import_lastfm(databases, original)
    assert (report.users, report.listens, report.friends, report.left_out_tags) == (42, 43, 2, 1)
    assert rows(databases, 'select name from seda.artists order by name collate "C"') == [
        ('"Weird" name',),
        ("Björk",),
        ("Sigur Rós",),
    ]
    assert rows(databases, "select name, genre from seda.rooms") == [
        ("chanson française", "chanson française")
    ]


def test_nobody_who_was_erased_comes_back(databases, package):
    erased, unlinked = our_id("user", 1), our_id("user", 2)
    with databases[Region.GLOBAL].transaction() as connection:
        connection.execute(
            "insert into seda.tombstones (user_id, scope) values (%s, 'account'), (%s, 'imports')",
            (erased, unlinked),
        )
    import_lastfm(databases, package)
    for table in ("activity_counts", "room_members", "friends"):
        assert (
            rows(
                databases,
                f"select from seda.{table} where user_id = any(%s)",
                values=([erased, unlinked],),
            )
            == []
        )
    assert rows(
        databases, "select id from seda.users where id = any(%s)", values=([erased, unlinked],)
    ) == [(unlinked,)]
    assert (
        rows(databases, "select from seda.region_directory where user_id = %s", values=(erased,))
        == []
    )
    assert rows(databases, "select from seda.playlists") == []


def test_listeners_never_live_in_two_regions(databases, package, fingerprint):
    import_lastfm(databases, package)
    before = fingerprint(databases)
    with pytest.raises(ConflictingImportError, match="live in the region global"):
        import_lastfm(databases, package, region=Region.EU)
    assert fingerprint(databases) == before


def test_ids_of_the_other_layout_are_not_mixed_in(
    databases, package, original_files, write_files, tmp_path
):
    import_lastfm(databases, package)
    original_files["artists.dat"][1:] = [f"{one}\tSomebody {one}\tu\tp" for one in (5, 6, 8)]
    with pytest.raises(ConflictingImportError, match="seda reset"):
        import_lastfm(databases, write_files(tmp_path / "other", original_files))


def test_production_is_refused(databases, package, fingerprint):
    before = fingerprint(databases)
    databases.settings.env = "production"
    with pytest.raises(ProductionRefusedError, match="SEDA_ENV"):
        import_lastfm(databases, package)
    assert fingerprint(databases) == before
