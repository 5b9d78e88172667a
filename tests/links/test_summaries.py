"""What a provider may send, and what of it the database takes."""

from datetime import UTC, datetime

import pytest
from psycopg.types.json import Jsonb

from seda.database.regions import RegionalDatabase
from seda.links.connector import (
    MOST_PLAYLISTS,
    FavouriteArtist,
    OwnPlaylist,
    Summary,
    identifier,
    objects,
    texts,
)
from seda.links.imports import apply_staged
from seda.links.summaries import LARGEST, staged

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def _artists(count: int, name: str) -> tuple[FavouriteArtist, ...]:
    return tuple(FavouriteArtist(f"{n:022}", f"{name} {n}") for n in range(count))


def _map(database: RegionalDatabase, summary: Summary) -> int:
    """Stages and maps it for somebody; how many playlists are there afterwards."""
    with database.transaction() as connection:
        ((user,),) = connection.execute("insert into seda.users default values returning id")
        connection.execute(
            "insert into seda.linked_accounts (user_id, provider) values (%s, 'spotify')", [user]
        )
        connection.execute(
            "insert into seda.provider_imports (user_id, provider, staged, staged_at) "
            "values (%s, 'spotify', %s, %s)", [user, Jsonb(staged(summary)), NOW],
        )  # fmt: skip
    apply_staged(database, now=NOW)
    with database.transaction() as connection:
        ((found,),) = connection.execute(
            "select count(*) from seda.playlists where owner_user_id = %s", [user]
        )
    return int(found)


@pytest.mark.parametrize("name", ["An artist of a usual name", "Ж" * 300, "𝄞" * 300, '"\\' * 150])
def test_somebody_with_fifty_long_playlists_is_imported(
    database: RegionalDatabase, name: str
) -> None:
    playlists = tuple(
        OwnPlaylist(f"list-{n}", name, _artists(100, name)) for n in range(MOST_PLAYLISTS)
    )
    assert _map(database, Summary(_artists(50, name), ("techno",), playlists)) == MOST_PLAYLISTS


def test_as_much_of_each_playlist_is_kept_as_fits() -> None:
    few = tuple(OwnPlaylist(f"{n}", "x", _artists(100, "x")) for n in range(10))
    kept = {len(each["artists"]) for each in staged(Summary(None, (), few))["playlists"]}
    assert kept == {100}
    many = tuple(OwnPlaylist(f"{n}", "x", _artists(100, "of a usual name")) for n in range(50))
    kept = {len(each["artists"]) for each in staged(Summary(None, (), many))["playlists"]}
    assert kept == {50}
    assert LARGEST == 262144


def test_what_comes_twice_or_is_no_text_is_imported_once_and_clean(
    database: RegionalDatabase,
) -> None:
    odd = FavouriteArtist("a\0b\ud800", "na\0me\udfff")
    lists = tuple(OwnPlaylist("same\0", "x", (odd, odd)) for _ in range(3))
    assert _map(database, Summary((odd, odd), ("te\0chno",), lists)) == 1


def test_answers_are_whatever_a_provider_sends() -> None:
    assert list(objects(None)) == list(texts(7)) == list(objects({"a": 1})) == []
    assert list(objects([{"a": 1}, None, 3])) == [{"a": 1}]
    assert list(texts(["a", None, 3])) == ["a"]
    assert identifier("abc") == "abc"
    for none in (None, 7, "", "a\0", "a\n", "\ud800", "x" * 201):
        assert identifier(none) is None
