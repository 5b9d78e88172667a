"""`seda export recommendations`: what is served, under the ids that the data came with."""

import csv
import uuid
from pathlib import Path

import psycopg
import pyarrow
import pytest
from psycopg import sql
from pyarrow import parquet

from seda.database.regions import RegionalDatabase
from seda.publishing import export
from seda.publishing.export import ExportError, export_recommendations
from tests.cli.cli_runs import Seda, sentence

PEOPLE = {name: uuid.UUID(int=number) for number, name in enumerate(("ada", "bo", "cy"), start=1)}
TABLES = {"artist": "artists", "playlist": "playlists", "room": "rooms"}


class Published:
    """Rows written by hand: people, entities and the generations that name them."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection

    def person(self, name: str, external: str | None) -> None:
        ids = f'{{"lastfm": "{external}"}}' if external else "{}"
        self.connection.execute(
            "insert into seda.users (id, auth_user_id, external_ids) values (%s, %s, %s)",
            [PEOPLE[name], str(PEOPLE[name]), ids],
        )

    def entity(self, kind: str, number: int, external: str | None) -> None:
        ids = f'{{"lastfm": "{external}"}}' if external else "{}"
        query = sql.SQL("insert into seda.{} (id, name, external_ids) values (%s, %s, %s)")
        self.connection.execute(
            query.format(sql.Identifier(TABLES[kind])),
            [uuid.UUID(int=number), f"{kind} {number}", ids],
        )

    def generation(
        self, kind: str, rows: list[tuple[str, int, int, float]], *, arm: str | None = "control"
    ) -> int:
        """One generation of (person, entity, rank, score) rows; `arm` None: nobody points at it."""
        ((generation,),) = self.connection.execute(
            "insert into seda.generations (shard, model_version, state) "
            "values ('global-00', 'blend-7', 'published') returning generation"
        )
        self.connection.execute(
            sql.SQL(
                "create table seda.{} partition of seda.recommendations for values in ({})"
            ).format(sql.Identifier(f"recommendations_g{generation}"), sql.Literal(generation))
        )
        for person, entity, rank, score in rows:
            self.connection.execute(
                "insert into seda.recommendations (id, generation, user_id, entity_type, "
                "entity_id, rank, score, model_version, created_at, expires_at) "
                "values (%s, %s, %s, %s, %s, %s, %s, 'blend-7', now(), now())",
                [uuid.uuid4(), generation, PEOPLE[person], kind, uuid.UUID(int=entity), rank,
                 score],
            )  # fmt: skip
        if arm:
            self.connection.execute(
                "insert into seda.generation_pointer values ('global-00', %s, %s, %s) "
                "on conflict (shard, entity_type, arm) do update "
                "set generation = excluded.generation",
                [kind, arm, generation],
            )
        return int(generation)


@pytest.fixture
def published(database: RegionalDatabase):
    """Two imported listeners and one of our own; artists 11 and 12."""
    with database.connect(autocommit=True) as connection:
        rows = Published(connection)
        for name, external in (("ada", "900"), ("bo", "17"), ("cy", None)):
            rows.person(name, external)
        for number in (11, 12):
            rows.entity("artist", number, str(number * 10))
        yield rows


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_csv_has_the_served_lists_best_first(
    published: Published, database: RegionalDatabase, tmp_path: Path
) -> None:
    published.generation("artist", [("ada", 12, 1, 0.1)])  # superseded by the next
    published.generation(
        "artist", [("ada", 12, 2, 0.25), ("ada", 11, 1, 0.75), ("bo", 12, 1, 1 / 3)]
    )
    published.generation("artist", [("bo", 11, 1, 0.9)], arm="challenger")
    path = tmp_path / "artists.csv"

    count = export_recommendations(database, entity_type="artist", path=path)

    assert count == 3
    assert read(path) == [
        {"user_id": "900", "artist_id": "110", "rank": "1", "score": "0.75",
         "model_version": "blend-7"},
        {"user_id": "900", "artist_id": "120", "rank": "2", "score": "0.25",
         "model_version": "blend-7"},
        {"user_id": "17", "artist_id": "120", "rank": "1", "score": repr(1 / 3),
         "model_version": "blend-7"},
    ]  # fmt: skip
    assert [each.name for each in tmp_path.iterdir()] == ["artists.csv"]


def test_what_was_ranked_stands_where_a_place_explores(
    published: Published, database: RegionalDatabase, tmp_path: Path
) -> None:
    published.generation("artist", [("ada", 11, 1, 0.25)])
    published.connection.execute(
        "update seda.recommendations set context = jsonb_build_object('exploration', "
        "jsonb_build_object('propensity', 0.002, 'ranked_score', 0.5, 'instead_of', %s::text))",
        [uuid.UUID(int=12)],
    )
    path = tmp_path / "artists.csv"

    assert export_recommendations(database, entity_type="artist", path=path) == 1

    assert [(row["artist_id"], row["score"]) for row in read(path)] == [("120", "0.5")]


def test_a_parquet_file_has_integers_where_all_ids_are(
    published: Published, database: RegionalDatabase, tmp_path: Path
) -> None:
    published.generation("artist", [("ada", 11, 1, 0.75), ("bo", 12, 1, 0.5)])
    path = tmp_path / "artists.parquet"

    assert export_recommendations(database, entity_type="artist", path=path) == 2

    table = parquet.read_table(path)
    assert table.schema.names == ["user_id", "artist_id", "rank", "score", "model_version"]
    assert table.schema.types == [
        pyarrow.int64(), pyarrow.int64(), pyarrow.int32(), pyarrow.float64(), pyarrow.string(),
    ]  # fmt: skip
    assert table["user_id"].to_pylist() == [900, 17]
    assert table["score"].to_pylist() == [0.75, 0.5]


def test_ids_stay_texts_where_one_of_them_is(
    published: Published, database: RegionalDatabase, tmp_path: Path
) -> None:
    published.entity("playlist", 21, "900-5")
    published.generation("playlist", [("ada", 21, 1, 0.75), ("cy", 21, 1, 0.5)])
    path = tmp_path / "playlists.parquet"

    export_recommendations(database, entity_type="playlist", path=path)

    table = parquet.read_table(path)
    assert table["user_id"].to_pylist() == ["900", str(PEOPLE["cy"])]
    assert table["playlist_id"].to_pylist() == ["900-5", "900-5"]


def test_what_may_not_be_shown_is_not_exported_and_ranks_close(
    published: Published, database: RegionalDatabase, tmp_path: Path
) -> None:
    lists = [(name, entity, entity - 10, 0.5) for name in PEOPLE for entity in (11, 12)]
    published.generation("artist", lists)
    run = published.connection.execute
    run("update seda.users set deleted_at = now() where id = %s", [PEOPLE["bo"]])
    run("insert into seda.tombstones (user_id, scope) values (%s, 'imports')", [PEOPLE["cy"]])
    run(
        "insert into seda.suppressions (user_id, entity_type, entity_id, kind) "
        "values (%s, 'artist', %s, 'never')",
        [PEOPLE["ada"], uuid.UUID(int=11)],
    )
    run(
        "insert into seda.suppressions (user_id, entity_type, entity_id, kind, suppressed_until) "
        "values (%s, 'artist', %s, 'dismiss', now() - interval '1 hour')",
        [PEOPLE["ada"], uuid.UUID(int=12)],
    )
    path = tmp_path / "artists.csv"

    export_recommendations(database, entity_type="artist", path=path)

    assert [(row["user_id"], row["artist_id"], row["rank"]) for row in read(path)] == [
        ("900", "120", "1")
    ]


def test_a_failure_halfway_leaves_the_file_that_was_there(
    published: Published,
    database: RegionalDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    published.generation("artist", [("ada", 11, 1, 0.75), ("bo", 12, 1, 0.5)])
    path = tmp_path / "artists.csv"
    path.write_text("yesterday's")
    written = []

    def fail_at_the_second_chunk(writer: object, columns: object) -> None:
        written.append(columns)
        if len(written) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "_CHUNK_ROWS", 1)
    monkeypatch.setattr(export._CsvWriter, "write", fail_at_the_second_chunk)

    with pytest.raises(OSError, match="No space left"):
        export_recommendations(database, entity_type="artist", path=path)

    assert path.read_text() == "yesterday's"
    assert [each.name for each in tmp_path.iterdir()] == ["artists.csv"]


@pytest.mark.parametrize("name", ["artists.json", "artists", "artists.csv.gz", "missing/a.csv"])
def test_a_file_that_cannot_be_written(
    database: RegionalDatabase, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ExportError, match=r"must end in \.csv|folder that exists"):
        export_recommendations(database, entity_type="artist", path=tmp_path / name)


def test_nothing_published_is_said(seda_here: Seda) -> None:
    said = sentence(seda_here("export", "recommendations", "--type", "room", "rooms.csv"))

    assert said == (
        "No room lists are published in the region global: run `seda materialize` first."
    )


def test_the_command_says_how_many_rows(
    published: Published, seda_here: Seda, tmp_path: Path
) -> None:
    published.generation("artist", [("ada", 11, 1, 0.75)])

    answer = seda_here("export", "recommendations", "--type", "artist", "artists.csv")

    assert answer.stdout == "1 rows in artists.csv.\n"
    assert len(read(tmp_path / "artists.csv")) == 1
