"""The shape of the seeded world: heavy tails, taste, homophily, small worlds."""

import numpy as np
import orjson
import pytest

from seda.sandbox.generation.listening import periods
from seda.sandbox.generation.whole import make_world
from seda.sandbox.profiles import PROFILES, SMOKE

NOW = np.datetime64("2026-03-14T15:09:26", "us")


@pytest.fixture(scope="module")
def world():
    return make_world(SMOKE, 7, NOW)


def genres_of(world):
    return [set(orjson.loads(chosen)["genres"]) for chosen in world.people.preferences]


def test_profiles_have_the_promised_sizes():
    sizes = {p.name: (p.users, p.artists, p.playlists, p.rooms) for p in PROFILES.values()}
    assert sizes == {
        "smoke": (300, 1_000, 500, 120),
        "medium": (5_000, 20_000, 20_000, 2_000),
        "large": (25_000, 100_000, 100_000, 10_000),
    }


def test_another_seed_is_another_world(world):
    other = make_world(SMOKE, 8, NOW)
    assert not np.isin(other.people.ids.view("S16"), world.people.ids.view("S16")).any()
    assert other.catalogue.artists.names != world.catalogue.artists.names


def test_popularity_is_heavy_tailed(world):
    plays = np.bincount(world.plays[0].entities, world.plays[0].plays, minlength=SMOKE.artists)
    ranked = np.sort(plays)[::-1]
    assert ranked[:100].sum() > 0.4 * ranked.sum()
    assert ranked[500:].sum() < 0.2 * ranked.sum()


def test_friends_share_tastes_far_more_than_strangers(world):
    genres = genres_of(world)
    pairs = zip(world.friendships.first, world.friendships.second, strict=True)
    friends = np.mean([bool(genres[a] & genres[b]) for a, b in pairs])
    strangers = np.mean(
        [
            bool(genres[a] & genres[b])
            for a, b in np.random.default_rng(0).integers(0, 300, (5000, 2))
        ]
    )
    assert friends > 3 * strangers
    assert friends < 0.95  # some friends are anybody


def test_friends_of_friends_are_often_friends(world):
    together = np.zeros((SMOKE.users, SMOKE.users))
    together[world.friendships.first, world.friendships.second] = 1
    together += together.T
    degree = together.sum(axis=1)
    closed = np.trace(together @ together @ together) / (degree * (degree - 1)).sum()
    assert closed > 3 * degree.mean() / SMOKE.users


def test_people_listen_within_their_tastes(world):
    genres, artists = genres_of(world), world.catalogue.artists.genres
    plays = world.plays[0]

    def inside(people):
        shared = [
            not genres[person].isdisjoint(artists[artist])
            for person, artist in zip(people, plays.entities, strict=True)
        ]
        return np.average(shared, weights=plays.plays)

    own = inside(plays.people)
    assert own > 3 * inside(np.random.default_rng(0).permutation(plays.people))
    assert 0.5 < own < 0.95


def test_every_key_stands_once(world):
    for plays in world.plays:
        keys = np.stack([plays.people, plays.entities, plays.periods.astype(np.int64)], axis=1)
        assert len(np.unique(keys, axis=0)) == len(keys)
        assert plays.plays.min() >= 1
    members = np.stack([world.memberships.rooms, world.memberships.members], axis=1)
    assert len(np.unique(members, axis=0)) == len(members)
    assert (world.memberships.joined_at <= world.memberships.last_joined_at).all()


def test_artists_have_one_to_four_genres_and_mostly_their_own_name(world):
    catalogue = world.catalogue
    counts = np.bincount(catalogue.artist_genres.artists)
    assert set(counts) == {1, 2, 3, 4}
    assert len(set(catalogue.artists.names)) > 0.99 * SMOKE.artists
    sums = np.bincount(catalogue.artist_genres.artists, catalogue.artist_genres.weights)
    assert sums == pytest.approx(1.0, abs=1e-5)


def test_about_one_in_twenty_hides_presence(world):
    hidden = sum(b"hide_presence" in one for one in world.people.privacy_settings)
    assert 5 <= hidden <= 30


def test_everybody_chose_three_genres(world):
    assert min(len(genres) for genres in genres_of(world)) >= 3


def test_periods_are_mondays_and_firsts_of_months():
    dates = periods(np.datetime64("2026-03-14", "D"))
    mondays, firsts = dates[-5:], dates[:-5]
    assert all(day.item().weekday() == 0 for day in mondays)
    assert all(day.item().day == 1 for day in firsts)
    assert dates[0] >= np.datetime64("2025-11-14")
    assert dates[-1] == np.datetime64("2026-03-09")
