"""Invented names: artists, rooms, playlists and listeners. Any likeness is chance."""

from collections import Counter
from typing import Final

from numpy.random import Generator


def _words(text: str) -> list[str]:
    return text.split()


def _phrases(text: str) -> list[str]:
    return text.split(", ")


_ADJECTIVES: Final = _words(
    "Silent Golden Velvet Electric Northern Crimson Hollow Paper Midnight Glass Wild Distant "
    "Burning Lunar Broken Silver Quiet Neon Hidden Bitter Gentle Amber Frozen Restless Ivory "
    "Crooked Emerald Rusty Marble Solar Tender Violet Hazy Ancient Copper Drifting Feral Sacred "
    "Scarlet Shifting Wandering Weightless Painted Salted Twin Second Little Slow Blind Sunken"
)
_NOUNS: Final = _words(
    "Harbours Foxes Machines Rivers Lanterns Satellites Wolves Gardens Engines Mirrors Tides "
    "Orchards Pilots Sparrows Kites Avenues Tigers Signals Mountains Ghosts Cathedrals Comets "
    "Islands Horses Radios Meadows Shadows Oceans Carousels Deserts Empires Fires Letters Moths "
    "Parades Planets Ravens Saints Strangers Summers Theatres Thieves Trains Valleys Windows "
    "Arcades Canyons Choirs Forests Harvests"
)
_SYLLABLES: Final = _words(
    "ka ro mi sel ta vi no ra lu zen ya ko ber fa li mar do ne sha ti val on ri sa mo el an dre "
    "ju pe lo hi ma xi or be ni go la ven"
)
_SURNAMES: Final = _words(
    "Almeida Andersson Asante Bakker Bernard Castillo Chen Costa Dahl Diallo Duarte Eriksen "
    "Fernández Ferrari Fischer Flores García Haddad Hansen Hernández Ivanov Jansen Jensen Kim "
    "Kowalski Kruger Lambert Laurent Lee Lindqvist López Mancini Martins Mbeki Moreau Müller "
    "Nakamura Nguyen Novák Nowak O'Brien Okafor Olsen Park Patel Pereira Popescu Ramos Romano "
    "Rossi Ruiz Santos Sato Schmidt Silva Singh Sørensen Suzuki Tanaka Torres Varga Virtanen "
    "Weber Yamamoto Yılmaz Zhang"
)
_GIVEN: Final = _words(
    "Alex Aisha Amélie Ana Anders Anja Astrid Bea Bruno Camila Carlos Chidi Chloé Clara Dario "
    "Diego Elena Elif Emil Emma Esra Fatima Felix Freya Gabriel Giulia Hana Hugo Ingrid Isabel "
    "Ivan Jae Jana João Jonas Julia Kai Kenji Lara Lars Lea Leo Lina Liam Lucía Luka Malik Mara "
    "Marco María Marta Mateo Maya Mei Mina Nadia Naomi Nia Nils Noah Noor Oskar Pablo Petra Priya "
    "Rafael Rina Rosa Sam Sara Sofía Sven Tariq Theo Tomás Vera Wei Yara Yuki Zoë"
)

_ROOM_WORDS: Final = _phrases(
    "lounge, after hours, late night, first listen, basement, rooftop, sunrise, new music friday, "
    "deep cuts, all day, focus, fresh finds, classics, warm-up, listening club, heads, vinyl hour, "
    "slow sunday, world tour, discovery"
)
_PLAYLIST_WORDS: Final = _phrases(
    "mix, essentials, on repeat, for the road, late nights, sunday morning, deep cuts, workout, "
    "rainy days, focus, throwbacks, new finds, summer, slow burn, party, headphones, warm-up, "
    "all killer, golden hour, study"
)


def artist_names(rng: Generator, count: int) -> list[str]:
    """Readable, nearly all different; `(count,)`."""
    shapes = rng.integers(0, 5, count).tolist()
    words = {
        name: rng.integers(0, len(source), (count, 3)).tolist()
        for name, source in (
            ("adjective", _ADJECTIVES),
            ("noun", _NOUNS),
            ("syllable", _SYLLABLES),
            ("given", _GIVEN),
            ("surname", _SURNAMES),
        )
    }
    return [
        _artist_name(shapes[one], {kind: words[kind][one] for kind in words})
        for one in range(count)
    ]


def _artist_name(shape: int, word: dict[str, list[int]]) -> str:
    invented = "".join(_SYLLABLES[place] for place in word["syllable"]).capitalize()
    adjective, noun = _ADJECTIVES[word["adjective"][0]], _NOUNS[word["noun"][0]]
    if shape == 0:
        return f"{invented} {_SURNAMES[word['surname'][0]]}"
    if shape == 1:
        return f"{_GIVEN[word['given'][0]]} {invented}"
    if shape == 2:
        return f"{invented} & the {adjective} {noun}"
    if shape == 3:
        return f"{adjective} {invented}"
    return f"{invented} {noun}"


def listener_names(rng: Generator, count: int) -> list[str | None]:
    """A given name and an initial, as people show themselves; names repeat, as people's do."""
    given = rng.integers(0, len(_GIVEN), count).tolist()
    family = rng.integers(0, len(_SURNAMES), count).tolist()
    return [f"{_GIVEN[g]} {_SURNAMES[f][0]}." for g, f in zip(given, family, strict=True)]


def room_names(rng: Generator, genres: list[str]) -> list[str]:
    """The genre and what the room is for; the first room of a genre has its bare name."""
    return _named(rng, genres, _ROOM_WORDS, bare_first=True)


def playlist_names(rng: Generator, genres: list[str]) -> list[str]:
    """The genre and the occasion."""
    names = _named(rng, genres, _PLAYLIST_WORDS, bare_first=False)
    return [name[:1].upper() + name[1:] for name in names]


def _named(rng: Generator, genres: list[str], words: list[str], *, bare_first: bool) -> list[str]:
    taken: Counter[str] = Counter()
    names = []
    for genre, place in zip(genres, rng.integers(0, len(words), len(genres)).tolist(), strict=True):
        name = genre if bare_first and not taken[genre] else f"{genre} {words[place]}"
        taken[name] += 1
        names.append(name if taken[name] == 1 else f"{name} {taken[name]}")
    return names
