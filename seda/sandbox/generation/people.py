"""Listeners: where they live, what they like, what they chose in their settings.

A taste is one to three subgenres with weights; everything that a listener does is drawn from it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import orjson
from numpy.random import Generator
from numpy.typing import NDArray

from seda.sandbox.generation.draws import Floats, draw_by_row, pick, times_before
from seda.sandbox.generation.genres import (
    LEAVES,
    LEAVES_PER_ROOT,
    ROOTS,
    affinity,
    root_of,
)
from seda.sandbox.generation.names import listener_names
from seda.sandbox.generation.places import EEA, OUTSIDE_EEA, Country
from seda.sandbox.identity import entity_ids, id_texts
from seda.sandbox.world import HOMES, NotificationChoices, People, Positions

TASTES: Final = 3
HIDDEN_SHARE: Final = 0.05
_EU: Final = HOMES.index("eu")


@dataclass(frozen=True, eq=False)
class Tastes:
    """`leaves` int32 `(people, 3)`, -1 for none, the dearest first; `weights` float64 of the same
    shape, each row summing to 1. `popularity` float64 `(leaves,)` is how common each subgenre is.
    """

    leaves: Positions
    weights: Floats
    popularity: Floats


def leaf_popularity(rng: Generator) -> Floats:
    """How common each subgenre is, `(leaves,)`, summing to 1: a few roots are everywhere."""
    roots = np.arange(1, len(ROOTS) + 1) ** -0.6
    leaves = np.repeat(rng.permutation(roots), LEAVES_PER_ROOT) * rng.uniform(0.5, 1.5, len(LEAVES))
    return leaves / leaves.sum()


def draw_tastes(rng: Generator, people: int) -> Tastes:
    """Tastes whose parts are usually, not always, of neighbouring genres."""
    popularity = leaf_popularity(rng)
    carried = affinity()
    np.fill_diagonal(carried, 0.0)
    dearest = rng.choice(len(LEAVES), people, p=popularity)
    leaves = np.full((people, TASTES), -1, np.int32)
    leaves[:, 0] = dearest
    for column in range(1, TASTES):
        near = draw_by_row(rng, dearest, carried)
        far = rng.choice(len(LEAVES), people, p=popularity)
        leaves[:, column] = np.where(rng.random(people) < 0.6, near, far)
    count = rng.choice([1, 2, 3], people, p=[0.25, 0.45, 0.30])
    again = (leaves[:, 2] == leaves[:, 1]) | (leaves[:, 2] == leaves[:, 0])
    leaves[(count < 3) | again, 2] = -1
    leaves[(count < 2) | (leaves[:, 1] == leaves[:, 0]), 1] = -1
    raw = rng.uniform(0.4, 1.0, leaves.shape) * np.array([1.0, 0.6, 0.4])
    raw[leaves < 0] = 0
    return Tastes(leaves, raw / raw.sum(axis=1, keepdims=True), popularity)


def make_people(
    rng: Generator, prefix: str, tastes: Tastes, eu_share: float, now: np.datetime64
) -> People:
    """The listeners; exactly the rounded `eu_share` of them live in the EU region."""
    count = len(tastes.leaves)
    homes = np.zeros(count, np.int8)
    homes[rng.permutation(count)[: round(eu_share * count)]] = _EU
    countries = _countries(rng, homes)
    ids = entity_ids(f"{prefix}:user", range(count))
    pictured = rng.random(count) < 0.9
    hidden = rng.random(count) < HIDDEN_SHARE
    return People(
        ids=ids,
        auth_user_ids=id_texts(entity_ids(f"{prefix}:auth", range(count))),
        external_ids=[b"{}"] * count,
        display_names=listener_names(rng, count),
        countries=[country.code for country in countries],
        time_zones=[
            country.zones[place % len(country.zones)]
            for country, place in zip(countries, rng.integers(0, 12, count).tolist(), strict=True)
        ],
        avatar_urls=[
            f"https://avatars.example/{user}.svg" if shown else None
            for user, shown in zip(id_texts(ids), pictured.tolist(), strict=True)
        ],
        preferences=_preferences(rng, tastes, countries),
        privacy_settings=[b'{"hide_presence":true}' if one else b"{}" for one in hidden.tolist()],
        homes=homes,
        created_at=times_before(rng, now, 900, count),
    )


def notification_choices(rng: Generator, people: int) -> NotificationChoices:
    """Four of ten want pushes, three of ten have quiet hours at night."""
    quiet = rng.random(people) < 0.3
    begin = rng.choice([21 * 60, 22 * 60, 22 * 60 + 30, 23 * 60], people)
    end = rng.choice([6 * 60, 7 * 60, 7 * 60 + 30, 8 * 60], people)
    return NotificationChoices(
        push_opt_in=rng.random(people) < 0.4,
        toasts_enabled=rng.random(people) < 0.92,
        quiet_from=np.where(quiet, begin, -1).astype(np.int32),
        quiet_to=np.where(quiet, end, -1).astype(np.int32),
    )


def _countries(rng: Generator, homes: NDArray[np.int8]) -> list[Country]:
    inside = pick(rng, EEA, len(homes), [country.weight for country in EEA])
    outside = pick(rng, OUTSIDE_EEA, len(homes), [country.weight for country in OUTSIDE_EEA])
    return [
        eea if home == _EU else other
        for home, eea, other in zip(homes.tolist(), inside, outside, strict=True)
    ]


def _preferences(rng: Generator, tastes: Tastes, countries: list[Country]) -> list[bytes]:
    """What onboarding asks for: at least three genres, and languages."""
    monolingual = (rng.random(len(countries)) < 0.4).tolist()
    sisters = rng.integers(1, LEAVES_PER_ROOT, len(countries)).tolist()
    roots = root_of(tastes.leaves)
    chosen = []
    for person, country in enumerate(countries):
        genres: dict[str, None] = {}
        for leaf, root in zip(tastes.leaves[person].tolist(), roots[person].tolist(), strict=True):
            if leaf >= 0:
                genres |= {LEAVES[leaf]: None, ROOTS[root]: None}
        dearest = int(tastes.leaves[person, 0])
        first_of_root = dearest - dearest % LEAVES_PER_ROOT
        sister = first_of_root + (dearest + sisters[person]) % LEAVES_PER_ROOT
        if len(genres) < 3:
            genres[LEAVES[sister]] = None
        languages = country.languages[:1] if monolingual[person] else country.languages
        chosen.append(orjson.dumps({"genres": list(genres), "languages": list(languages)}))
    return chosen
