"""How much each person leans to items and genres, from what they did; pure functions of a snapshot.

Listening counts by the logarithm: the tenth play of an artist says less than the first.
"""

import numpy as np
from scipy import sparse

from seda.activity.snapshot import RegionSnapshot

# A playlist says half of what an artist says: somebody else chose most of what is in it.
PLAYLIST_WEIGHT = 0.5
# A chosen genre weighs like this many plays of one artist, so that it speaks first for a newcomer
# and is outvoted by a hundred listened artists.
CHOSEN_GENRE_PLAYS = 20.0


def taste_affinity(snapshot: RegionSnapshot, rows: slice) -> dict[str, sparse.csr_matrix]:
    """Affinities of a shard's people to what a taste vector is made of.

    Keys `artist`, `playlist` and `genre`; each CSR (rows, items or genres) float32, recent plays
    weighing more (SPEC EMB-10).
    """
    return {
        "artist": _logged(snapshot.entities["artist"].recent[rows]),
        "playlist": (_logged(snapshot.entities["playlist"].recent[rows]) * PLAYLIST_WEIGHT),
        "genre": snapshot.chosen_genres[rows] * np.float32(np.log1p(CHOSEN_GENRE_PLAYS)),
    }


def genre_affinity(snapshot: RegionSnapshot, rows: slice) -> sparse.csr_matrix:
    """How much a shard's people like each genre: CSR (rows, genres) float32.

    Chosen genres plus those of the artists they listen to.
    """
    affinity = taste_affinity(snapshot, rows)
    listened = affinity["artist"] @ snapshot.entities["artist"].genres
    return (listened + affinity["genre"]).tocsr().astype(np.float32)


def _logged(plays: sparse.csr_matrix) -> sparse.csr_matrix:
    logged = plays.copy()
    logged.data = np.log1p(logged.data)
    return logged
