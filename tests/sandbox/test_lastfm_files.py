"""Every way in which a folder can be wrong is refused by file and line."""

import gzip

import pytest

from seda.database.regions import Region
from seda.sandbox.lastfm import import_lastfm
from seda.sandbox.lastfm_files import UnknownLayoutError, read_lastfm
from seda.sandbox.tables import MalformedFileError


@pytest.mark.parametrize(
    ("name", "line", "text", "why"),
    [
        ("train.csv.gz", 3, "1,6", "2 columns where the header has 3"),
        ("train.csv.gz", 3, "1,6,7,8", "4 columns"),
        ("train.csv.gz", 3, "one,6,10", "not a whole number"),
        ("train.csv.gz", 3, "1,6,1.5", "not a whole number"),
        ("train.csv.gz", 3, "1,6,99999999999999999999", "not a whole number"),
        ("train.csv.gz", 3, "1,6,-4", "plays is -4"),
        ("train.csv.gz", 3, "1,6,0", "plays is 0"),
        ("train.csv.gz", 3, "77,6,10", "user 77 is not in users.csv.gz"),
        ("train.csv.gz", 3, "1,66,10", "artist 66 is not in artists.csv.gz"),
        ("train.csv.gz", 3, "1,5,10", "earlier line"),
        ("train.csv.gz", 1, "user_id,artist_id", "no column plays"),
        ("users.csv.gz", 3, "1,1,0,0", "earlier line"),
        ("artists.csv.gz", 3, "5,Other", "artist 5 stood on an earlier line"),
        ("artists.csv.gz", 3, "6, ", "name is blank"),
        ("artists.csv.gz", 4, '8,"never closed', "unexpected end of data"),
        ("tags.csv.gz", 2, "-7,Post Rock", "tag_id is -7"),
        ("friends.csv.gz", 3, "1,78", "user 78"),
        ("friends.csv.gz", 3, "3,3", "own friend"),
        ("train_pair_tags.csv.gz", 3, "1,6,10,2009,7", "tag 10 is not in tags.csv.gz"),
        ("train_pair_tags.csv.gz", 3, "2,6,9,2009,7", "no row for this artist"),
        ("other_artist_tags.csv.gz", 2, "8,7,0", "n_users is 0"),
        ("other_user_tags.csv.gz", 2, "300,7,2", "user 300"),
    ],
)
def test_a_bad_line_of_the_package_is_named(
    package_files, write_files, tmp_path, name, line, text, why
):
    package_files[name][line - 1] = text
    folder = write_files(tmp_path / "bad", package_files)
    with pytest.raises(MalformedFileError, match=why) as refusal:
        read_lastfm(folder)
    assert str(refusal.value).startswith(f"{name} line {line}: ")


@pytest.mark.parametrize(
    ("name", "line", "text", "why"),
    [
        ("user_artists.dat", 2, "1\t5", "2 columns"),
        ("user_artists.dat", 2, "1\t5\t-1", "weight is -1"),
        ("user_artists.dat", 3, "1\t5\t1", "earlier line"),
        ("user_artists.dat", 3, "1\t80\t1", "artist 80 is not in artists.dat"),
        ("artists.dat", 2, "x5\tBjörk\tu\tp", "not a whole number"),
        ("artists.dat", 1, "id\tlabel\turl\tpictureURL", "no column name"),
        ("user_friends.dat", 4, "1\t99", "user 99 is not in user_artists.dat"),
        ("user_taggedartists.dat", 5, "1\t5\t70\t1\t4\t2009", "tag 70 is not in tags.dat"),
        ("user_taggedartists.dat", 5, "100\t5\t7\t1\t4\t2009", "user 100"),
    ],
)
def test_a_bad_line_of_the_original_files_is_named(
    original_files, write_files, tmp_path, name, line, text, why
):
    original_files[name][line - 1] = text
    folder = write_files(tmp_path / "bad", original_files)
    with pytest.raises(MalformedFileError, match=why) as refusal:
        read_lastfm(folder)
    assert str(refusal.value).startswith(f"{name} line {line}: ")


def test_nothing_is_written_when_a_line_is_bad(
    databases, package_files, write_files, tmp_path, fingerprint
):
    before = fingerprint(databases)
    package_files["other_user_tags.csv.gz"].append("30,7,x")
    with pytest.raises(MalformedFileError, match=r"other_user_tags.csv.gz line 3"):
        import_lastfm(databases, write_files(tmp_path / "bad", package_files))
    assert fingerprint(databases) == before


def test_a_cut_off_file_is_refused(package):
    path = package / "train.csv.gz"
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(MalformedFileError, match=r"train.csv.gz line \d+: .*copy it again"):
        read_lastfm(package)


def test_both_layouts_in_one_folder_are_refused(package, original_files, write_files):
    write_files(package, original_files)
    with pytest.raises(UnknownLayoutError, match="both the benchmark package"):
        read_lastfm(package)


def test_a_folder_with_neither_layout_is_refused(tmp_path):
    with pytest.raises(UnknownLayoutError, match="neither the benchmark package"):
        read_lastfm(tmp_path)
    with pytest.raises(UnknownLayoutError, match="not a folder"):
        read_lastfm(tmp_path / "absent")


def test_an_incomplete_folder_names_what_it_lacks(package):
    (package / "tags.csv.gz").unlink()
    with pytest.raises(UnknownLayoutError, match=r"lacks tags.csv.gz"):
        read_lastfm(package)


def test_the_validation_split_is_never_opened(package, databases):
    (package / "valid.csv.gz").write_bytes(gzip.compress(b"user_id,artist_id,plays\n1,5,-1\n"))
    (package / "score.py").write_text("raise SystemExit\n")
    import_lastfm(databases, package)
    with databases[Region.GLOBAL].connect() as connection:
        assert connection.execute("select min(plays) from seda.activity_counts").fetchone() == (2,)
