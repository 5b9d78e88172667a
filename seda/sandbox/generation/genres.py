"""The sandbox's genre tree: roots, their subgenres, which roots are neighbours, who sings how.

Real genre names, so that feeds read naturally and a text embedder has something to hold on to.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_TREE: Final = {
    "rock": "classic rock, garage rock, psychedelic rock, progressive rock, post-rock",
    "indie": "indie pop, indie folk, dream pop, shoegaze, lo-fi indie",
    "punk": "pop punk, hardcore punk, post-punk, emo, ska punk",
    "metal": "heavy metal, black metal, doom metal, metalcore, symphonic metal",
    "pop": "synth-pop, dance pop, art pop, electropop, power pop",
    "k-pop": "k-pop idol, korean r&b, korean indie, korean hip hop, k-ballad",
    "j-pop": "city pop, anime songs, j-rock, vocaloid, shibuya-kei",
    "electronic": "ambient techno, electro, idm, glitch, downtempo",
    "house": "deep house, tech house, progressive house, acid house, afro house",
    "techno": "minimal techno, dub techno, hard techno, melodic techno, detroit techno",
    "trance": "psytrance, uplifting trance, goa trance, vocal trance, progressive trance",
    "drum and bass": "liquid funk, neurofunk, jungle, jump up, halftime",
    "dubstep": "future garage, brostep, uk bass, riddim, post-dubstep",
    "ambient": "drone, dark ambient, new age, space music, field recordings",
    "hip hop": "boom bap, trap, conscious hip hop, cloud rap, grime",
    "r&b": "neo soul, contemporary r&b, alternative r&b, quiet storm, new jack swing",
    "soul": "northern soul, funk, motown, disco, southern soul",
    "jazz": "bebop, cool jazz, jazz fusion, latin jazz, nu jazz",
    "blues": "delta blues, chicago blues, blues rock, electric blues, soul blues",
    "classical": "baroque, romantic, minimalism, opera, chamber music",
    "folk": "singer-songwriter, celtic folk, bluegrass, freak folk, nordic folk",
    "country": "outlaw country, alt-country, honky tonk, country pop, americana",
    "reggae": "roots reggae, dub, dancehall, ska, lovers rock",
    "latin": "reggaeton, salsa, bossa nova, cumbia, bachata",
}
ROOTS: Final = tuple(_TREE)
LEAVES: Final = tuple(leaf.strip() for leaves in _TREE.values() for leaf in leaves.split(","))
LEAVES_PER_ROOT: Final = len(LEAVES) // len(ROOTS)

_SCENES: Final = (
    ("rock", "indie", "punk", "metal", "blues"),
    ("pop", "k-pop", "j-pop", "r&b", "indie"),
    ("electronic", "house", "techno", "trance", "drum and bass", "dubstep", "ambient"),
    ("hip hop", "r&b", "soul", "reggae", "jazz"),
    ("jazz", "blues", "soul", "latin", "reggae"),
    ("classical", "ambient", "folk", "jazz"),
    ("folk", "country", "indie", "blues"),
)
_SINGING: Final = {
    "k-pop": "ko",
    "j-pop": "ja",
    "latin": "es",
    "classical": "de",
    "techno": "de",
    "reggae": "en",
}


def root_of(leaves: NDArray[np.integer]) -> NDArray[np.integer]:
    """The root of each leaf, both as positions."""
    return leaves // LEAVES_PER_ROOT


def root_language(root: int) -> str:
    """The language most often sung in the genre."""
    return _SINGING.get(ROOTS[root], "en")


def affinity() -> NDArray[np.float64]:
    """How much a taste for one subgenre carries over to another, `(leaves, leaves)`: itself 1, a
    sister .28, a subgenre of a neighbouring root .02, any other .0015."""
    roots = np.arange(len(LEAVES)) // LEAVES_PER_ROOT
    near = np.eye(len(ROOTS), dtype=bool)
    for scene in _SCENES:
        members = [ROOTS.index(root) for root in scene]
        near[np.ix_(members, members)] = True
    carried = np.where(near, 0.02, 0.0015)[np.ix_(roots, roots)]
    carried[roots[:, None] == roots[None, :]] = 0.28
    np.fill_diagonal(carried, 1.0)
    return carried
