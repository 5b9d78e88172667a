"""What stands in for a vector that is not there yet: the centroid of an entity's genres (EMB-4).

Nothing here is stored: a stand-in serves until the text is embedded. Genres get their vectors from
the artists that carry them, so no word of theirs is ever sent to a provider.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from seda.embeddings.taste import taste_vectors


def genre_centroids(
    genres: sparse.csr_matrix, vectors: NDArray[np.float16] | NDArray[np.float32]
) -> NDArray[np.float32]:
    """The mean direction of each genre's entities, `(genres, dim)` float32 of unit norm.

    `genres` is (entities, genres), the weight of each genre in each entity; `vectors` (entities,
    dim). A genre that no entity with a vector carries is a row of zeros.
    """
    return taste_vectors(genres.T.tocsr(), vectors)


def with_stand_ins(vectors: NDArray[np.float16], genres: sparse.csr_matrix) -> NDArray[np.float16]:
    """The vectors `(entities, dim)`, rows of zeros filled with the entity's genre centroid.

    A row stays zero where none of the entity's genres has a centroid.
    """
    missing = np.flatnonzero(~vectors.any(axis=1))
    if not len(missing) or len(missing) == len(vectors):
        return vectors
    filled = vectors.copy()
    filled[missing] = taste_vectors(genres[missing], genre_centroids(genres, vectors)).astype(
        np.float16
    )
    return filled
