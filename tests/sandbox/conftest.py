"""Small copies of both Last.fm layouts, and what a database holds, as one comparable value."""

import gzip
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from seda.database.embedded import EmbeddedServer
from seda.database.migrate import migrate
from seda.database.regions import Databases, Region
from seda.settings import Settings

Rows = dict[str, list[str]]

# Forty-two listeners of three artists. Tag 7 is on two artists and used by all but one of them;
# user 1 filed three artists under tag 9.
_PEOPLE = range(1, 43)
PACKAGE: Rows = {
    "users.csv.gz": ["user_id,n_train,n_valid,n_friends", *(f"{user},1,0,0" for user in _PEOPLE)],
    "artists.csv.gz": ["artist_id,name", "5,Björk", '6,"Earth, Wind & Fire"', "8,Sigur Rós"],
    "tags.csv.gz": ["tag_id,tag", "7,Post Rock", "9,80s new wave"],
    "train.csv.gz": [
        "user_id,artist_id,plays",
        "1,5,40",
        "1,6,10",
        "1,8,90",
        *(f"{user},5,{user}" for user in _PEOPLE[1:]),
    ],
    "friends.csv.gz": ["user_a,user_b", "1,2", "1,3"],
    "train_pair_tags.csv.gz": [
        "user_id,artist_id,tag_id,year,month",
        "1,5,9,2009,7",
        "1,6,9,2009,7",
        "1,8,9,2009,7",
        "1,8,7,2009,7",
        *(f"{user},5,7,2010,1" for user in range(2, 24)),
    ],
    "other_artist_tags.csv.gz": ["artist_id,tag_id,n_users", "8,7,6"],
    "other_user_tags.csv.gz": ["user_id,tag_id,n", "30,7,2"],
}
ORIGINAL: Rows = {
    "artists.dat": [
        "id\tname\turl\tpictureURL",
        "5\tBjörk\thttp://a\thttp://b",
        '6\t"Weird" name\thttp://a\t',
        "8\tSigur Rós\thttp://a",
    ],
    "tags.dat": ["tagID\ttagValue", "7\tchanson française", "9\t80s"],
    "user_artists.dat": [
        "userID\tartistID\tweight",
        "1\t5\t40",
        "1\t8\t90",
        *(f"{user}\t5\t{user}" for user in _PEOPLE[1:]),
    ],
    "user_friends.dat": ["userID\tfriendID", "1\t2", "2\t1", "1\t3", "3\t1"],
    "user_taggedartists.dat": [
        "userID\tartistID\ttagID\tday\tmonth\tyear",
        *(f"{user}\t5\t7\t1\t4\t2009" for user in range(1, 24)),
        "2\t8\t7\t1\t4\t2009",
        "2\t999\t7\t1\t4\t2009",
    ],
}


def write(folder: Path, files: Rows) -> Path:
    """The files as the set has them: gzipped UTF-8, or Latin-1 with Windows line ends."""
    folder.mkdir(exist_ok=True)
    for name, lines in files.items():
        if name.endswith(".gz"):
            with gzip.open(folder / name, "wb") as file:
                file.write("\n".join([*lines, ""]).encode())
        else:
            (folder / name).write_bytes("\r\n".join([*lines, ""]).encode("latin-1"))
    return folder


@pytest.fixture(scope="module")
def shared_databases(
    server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory, request
) -> Iterator[Databases]:
    """Two migrated databases for all tests of one module, which only read what a fixture wrote."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    module = request.module.__name__.rpartition(".")[2]
    names = {region: f"{module}_{worker}_{region}" for region in Region}
    databases = Databases(
        Settings(
            _env_file=None,
            home=tmp_path_factory.mktemp("home"),
            database_url=server.uri(names[Region.GLOBAL]),
            eu_database_url=server.uri(names[Region.EU]),
        )
    )
    migrate(databases)
    yield databases
    with psycopg.connect(server.uri("postgres"), autocommit=True) as connection:
        for name in names.values():
            connection.execute(f'drop database "{name}" with (force)')


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return write(tmp_path / "package", PACKAGE)


@pytest.fixture
def original(tmp_path: Path) -> Path:
    return write(tmp_path / "original", ORIGINAL)


@pytest.fixture(scope="session")
def write_files() -> Callable[[Path, Rows], Path]:
    return write


@pytest.fixture(scope="session")
def package_lines() -> Rows:
    """What a module's shared import reads; not to be changed."""
    return PACKAGE


@pytest.fixture
def package_files() -> Rows:
    return {name: list(lines) for name, lines in PACKAGE.items()}


@pytest.fixture
def original_files() -> Rows:
    return {name: list(lines) for name, lines in ORIGINAL.items()}


@pytest.fixture(scope="session")
def fingerprint() -> Callable[[Databases], dict[str, tuple[int, str]]]:
    """Rows and their hash of every table of both databases; transaction ids and
    moments are nobody's choice."""

    def of(databases: Databases) -> dict[str, tuple[int, str]]:
        found = {}
        for region in Region:
            with databases[region].connect() as connection:
                tables = connection.execute(
                    "select relname from pg_class where relnamespace = 'seda'::regnamespace "
                    "and relkind in ('r', 'p') and not relispartition order by 1"
                ).fetchall()
                for (table,) in tables:
                    found[f"{region}.{table}"] = connection.execute(
                        "select count(*), md5(string_agg(row, '|' order by row)) from (select "
                        "(to_jsonb(t) - 'transaction_id' - 'changed_at')::text as row "
                        f"from seda.{table} t) rows"
                    ).fetchone()
        return found

    return of
