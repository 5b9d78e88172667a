"""Onboarding: a token's subject becomes a listener of one region, with a feed in the answer."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from seda.database.regions import Region
from seda.people.residence import EEA, countries
from serving.bodies import Line
from serving.onboarding import Onboarded
from tests.serving.serving_world import Api, Entity, Listener, World, names

GENRES = ("techno", "jazz", "dub")


def newcomer() -> Listener:
    return Listener(uuid4(), uuid4(), Region.GLOBAL, "Newcomer")


def catalogue(world: World, *genres: str) -> dict[str, list[Entity]]:
    """Two artists per genre, in both regions, with a list and a vector each."""
    made = {}
    for place, genre in enumerate(genres or GENRES):
        artists = [world.entity("artist", f"{genre} {number}") for number in (1, 2)]
        world.genre_list(genre, artists)
        for region in Region:
            for number, artist in enumerate(artists):
                world.sql(
                    "insert into seda.artist_genres (artist_id, genre, weight) values (%s, %s, %s)",
                    artist.id, genre, 1 + number, region=region,
                )  # fmt: skip
                vector = np.eye(4)[place]
                world.sql(
                    "insert into seda.embedding_spaces (id, provider, model, dim, version, state) "
                    "values ('test', 'local', 'test', 4, '1', 'active') on conflict do nothing",
                    region=region,
                )
                world.sql(
                    "insert into seda.artists_vectors (space_id, entity_id, embedding, "
                    "content_hash) values ('test', %s, %s::halfvec, 'x')",
                    artist.id, str(vector.tolist()), region=region,
                )  # fmt: skip
        made[genre] = artists
    return made


async def onboard(api: Api, who: Listener, **members: Any) -> httpx.Response:
    body = {"genres": list(GENRES), "country": "US", **members}
    return await api.call("POST", "/onboarding", who, json=body)


@pytest.mark.parametrize(("country", "region"), [("PT", Region.EU), ("US", Region.GLOBAL)])
async def test_a_newcomer_has_a_feed_at_once_in_the_region_of_their_country(
    api: Api, world: World, country: str, region: Region
) -> None:
    catalogue(world)
    ada = newcomer()
    assert (await api.get("/feed", ada)).status_code == 404
    response = await onboard(
        api, ada, country=country, display_name=" Ada ", time_zone="Europe/Lisbon", language="pt",
        dob="1990-12-10",
    )  # fmt: skip
    assert response.status_code == 201, response.text
    body = response.json()
    Onboarded.model_validate(body)
    assert body["region"] == region
    assert body["feed"]["source"] == "genre"
    assert set(names(body["feed"])) == {f"{genre} {n}" for genre in GENRES for n in (1, 2)}
    id = UUID(body["user_id"])
    assert world.sql("select auth_user_id, user_id, region from seda.region_directory") == [
        (str(ada.sub), id, region)
    ]
    people = "select id, country, display_name, time_zone, role, dob::text, preferences from "
    assert world.sql(people + "seda.users", region=region) == [
        (id, country, "Ada", "Europe/Lisbon", "user", "1990-12-10",
         {"genres": list(GENRES), "languages": ["pt"]}),
    ]  # fmt: skip
    other = Region.GLOBAL if region is Region.EU else Region.EU
    assert world.sql("select 1 from seda.users", region=other) == []
    assert world.sql("select user_id, top_genres from seda.user_profiles", region=region) == [
        (id, list(GENRES))
    ]
    assert names(await api.page("/feed", ada)) == names(body["feed"])


async def test_the_seed_taste_is_the_mean_direction_of_the_genres(api: Api, world: World) -> None:
    catalogue(world)
    response = await onboard(api, newcomer())
    ((space, text),) = world.sql("select space_id, embedding::text from seda.user_vectors")
    taste = np.array([float(each) for each in text.strip("[]").split(",")])
    assert space == "test"
    np.testing.assert_allclose(taste, [3**-0.5] * 3 + [0], atol=1e-3)
    assert world.sql("select entity_uuid::text, entity_type from seda.embeddings_audit") == [
        (response.json()["user_id"], "user")
    ]


async def test_without_vectors_there_is_a_feed_and_no_taste(api: Api, world: World) -> None:
    for genre in GENRES:
        world.genre_list(genre, world.entities("artist", 1))
    assert (await onboard(api, newcomer())).status_code == 201
    assert world.sql("select 1 from seda.user_vectors") == []


async def test_a_repeated_onboarding_changes_the_genres_and_never_the_region(
    api: Api, world: World
) -> None:
    catalogue(world, *GENRES, "folk")
    ada = newcomer()
    first = await onboard(api, ada, country="PT", display_name="Ada")
    again = await onboard(api, ada, country="US", genres=["folk", "jazz", "dub", "folk"])
    assert again.status_code == 200
    assert again.json()["region"] == "eu"
    assert again.json()["user_id"] == first.json()["user_id"]
    assert again.json()["genres"] == ["folk", "jazz", "dub"]
    assert world.sql(
        "select display_name, country, preferences -> 'genres' from seda.users", region=Region.EU
    ) == [("Ada", "PT", ["folk", "jazz", "dub"])]
    assert world.sql("select top_genres from seda.user_profiles", region=Region.EU) == [
        (["folk", "jazz", "dub"],)
    ]
    assert "folk 1" in names(again.json()["feed"])
    assert world.sql("select 1 from seda.users") == []


async def test_a_listeners_computed_taste_is_not_overwritten(api: Api, world: World) -> None:
    artists = catalogue(world)["techno"]
    ada = world.person("Ada")
    world.sql(
        "insert into seda.activity_counts (user_id, entity_type, entity_id, source, period, plays) "
        "values (%s, 'artist', %s, 'seda', current_date, 3)", ada.id, artists[0].id,
    )  # fmt: skip
    assert (await onboard(api, ada)).status_code == 200
    assert world.sql("select 1 from seda.user_vectors") == []
    assert world.sql("select 1 from seda.user_profiles") == []


async def test_a_crash_between_the_databases_is_repaired_by_the_next_try(
    api: Api, world: World
) -> None:
    catalogue(world)
    ada = newcomer()
    # What a crash after the first of the two commits leaves.
    world.sql(
        "insert into seda.region_directory (auth_user_id, user_id, region) values (%s, %s, 'eu')",
        str(ada.sub), ada.id,
    )  # fmt: skip
    assert (await api.get("/feed", ada)).status_code == 404
    response = await onboard(api, ada, country="US")  # where they say they are now is too late
    assert response.status_code == 201
    assert response.json()["region"] == "eu"
    assert response.json()["user_id"] == str(ada.id)
    assert (await api.get("/feed", ada)).status_code == 200


async def test_both_regions_fail_apart_and_nothing_is_half_there(api: Api, world: World) -> None:
    catalogue(world)
    ada = newcomer()
    world.sql("alter table seda.users rename to elsewhere", region=Region.EU)
    try:
        assert (await onboard(api, ada, country="PT")).status_code == 500
    finally:
        world.sql("alter table seda.elsewhere rename to users", region=Region.EU)
    assert (await api.get("/feed", ada)).status_code == 404
    assert (await onboard(api, ada, country="PT")).status_code == 201


@pytest.mark.parametrize(
    "members",
    [
        {"genres": ["techno", "jazz"]}, {"genres": ["techno", "jazz", "techno"]},
        {"genres": ["techno", "jazz", "polka", "schlager"]}, {"genres": ["techno", "jazz", "*"]},
        {"genres": "techno"}, {"genres": ["techno", "jazz", "a\x00"]}, {"country": "EL"},
        {"country": "pt"}, {"country": None}, {"time_zone": "Mars/Olympus"},
        {"display_name": ""}, {"display_name": "a\x00b"}, {"display_name": "x" * 81},
        {"language": "portuguese"}, {"dob": "1890-01-01"}, {"role": "admin"},
        {"dob": (datetime.now(UTC) + timedelta(days=2)).date().isoformat()},
    ],
)  # fmt: skip
async def test_a_bad_onboarding_is_refused_and_leaves_nothing(
    api: Api, world: World, members: dict[str, Any]
) -> None:
    catalogue(world)
    response = await onboard(api, newcomer(), **members)
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert world.sql("select 1 from seda.region_directory") == []
    assert world.sql("select 1 from seda.users") == []


async def test_unknown_genres_are_named(api: Api, world: World) -> None:
    catalogue(world)
    problem = (await onboard(api, newcomer(), genres=["techno", "polka", "dub", "ska"])).json()
    assert (problem["code"], problem["genres"]) == ("unknown_genres", ["polka", "ska"])
    assert "polka, ska" in problem["detail"]


async def test_who_has_left_is_not_onboarded(api: Api, world: World) -> None:
    catalogue(world)
    gone = world.person("Gone", deleted=True)
    response = await onboard(api, gone)
    assert (response.status_code, response.json()["code"]) == (410, "account_deleted")


def test_the_directory_gives_everybody_their_own_entry_only(world: World) -> None:
    ada = newcomer()
    with world.as_person(ada) as connection:
        ((id, region),) = connection.execute("select * from seda.register_listener('eu')")
        again = connection.execute("select * from seda.register_listener('global')").fetchall()
        assert again == [(id, region)]
        assert connection.execute("select auth_user_id from seda.region_directory").fetchall() == [
            (str(ada.sub),)
        ]


def test_countries_are_all_of_iso_3166_and_the_economic_area_is_among_them() -> None:
    assert len(countries()) > 240
    assert countries() >= EEA
    assert len(EEA) == 30 + 7
    assert EEA.isdisjoint({"GB", "CH", "US", "TR", "UA"})


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("Zoë 👩\u200d🎤", True),
        ("می\u200cخواهم", True),
        ("\u200d", False),
        ("a\u202eb", False),  # turns what follows around
        ("a\nb", False),
        ("a\x00", False),
    ],
)
def test_a_name_may_hold_what_joins_letters_and_nothing_else_unseen(name: str, good: bool) -> None:
    try:
        assert TypeAdapter(Line).validate_python(name) == name
    except ValidationError:
        assert not good
    else:
        assert good
