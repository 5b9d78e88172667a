"""The Last.fm set as what models are fitted on, for benchmarks: held pairs take their tags along.

22 % of the pairs were tagged by the listener, so a holdout whose tags stay in leaks.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from seda.recommender.evaluate import per_user_holdout
from seda.recommender.learning import pairs_without
from seda.recommender.models.listening import Listening
from seda.sandbox.lastfm_files import LastfmData, read_lastfm
from seda.sandbox.tables import Table


@dataclass(frozen=True, eq=False)
class LastfmListening:
    """The set's listening by position; `without` gives what is left beside held-out pairs."""

    data: LastfmData

    @property
    def whole(self) -> Listening:
        """All pairs, all tags, all friendships."""
        data = self.data
        first, second = data.friends.T
        ends = (np.concatenate([first, second]), np.concatenate([second, first]))
        users, artists = len(data.users), len(data.artists)
        pairs = (data.plays.astype(np.float32), (data.listens[:, 0], data.listens[:, 1]))
        friends = (np.ones(len(ends[0]), np.float32), ends)
        return Listening(
            sp.csr_matrix(pairs, shape=(users, artists)),
            item_tags=self._tags(self._taggers),
            friends=sp.csr_matrix(friends, shape=(users, users)),
        )

    @property
    def _taggers(self) -> sp.csr_matrix:
        data = self.data
        counts = (data.taggers.astype(np.float32), (data.artist_tags[:, 0], data.artist_tags[:, 1]))
        return sp.csr_matrix(counts, shape=(len(data.artists), len(data.tags)))

    def _tags(self, taggers: sp.csr_matrix) -> sp.csr_matrix:
        damped = taggers.copy()
        damped.data = np.log1p(damped.data)
        damped.eliminate_zeros()
        return damped

    def without(self, held: sp.csr_matrix) -> Listening:
        """The listening without the stored entries of `held`, and without those people's tags."""
        users, artists, tags = self.data.listened_tags.T
        pair_held = sp.csr_matrix(held, copy=True)
        pair_held.data[:] = 1
        gone = np.asarray(pair_held[users, artists]).ravel() > 0
        counts = (np.ones(int(gone.sum()), np.float32), (artists[gone], tags[gone]))
        dropped = sp.csr_matrix(counts, shape=(len(self.data.artists), len(self.data.tags)))
        whole = self.whole
        return replace(
            whole,
            plays=pairs_without(whole.plays, held),
            item_tags=self._tags((self._taggers - dropped).tocsr()),
        )


def read_listening(directory: Path) -> LastfmListening:
    """The set in `directory`, in either layout; of the package, its training split.

    Raises:
        UnknownLayoutError, MalformedFileError: as `read_lastfm` does.
    """
    return LastfmListening(read_lastfm(directory))


def read_all_listening(directory: Path) -> LastfmListening:
    """As `read_listening`, and of the package its validation pairs too (whose tags it lacks)."""
    data = read_lastfm(directory)
    if (directory / "valid.csv.gz").is_file():
        more = read_validation(directory, data).tocoo()
        data = replace(
            data,
            listens=np.concatenate([data.listens, np.column_stack([more.row, more.col])]),
            plays=np.concatenate([data.plays, more.data.astype(np.int64)]),
        )
    return LastfmListening(data)


def read_holdout(
    directory: Path, inner: int | None
) -> tuple[LastfmListening, Listening, sp.csr_matrix]:
    """The set, what models may be fitted on, and what is held from them, CSR (users, artists).

    Held is the package's validation split or, with the seed `inner`, 17 % of everybody's training
    pairs, whose tags are gone.
    """
    source = read_listening(directory)
    if inner is None:
        return source, source.whole, read_validation(directory, source.data)
    _, held = per_user_holdout(source.whole.plays, 0.17, inner)
    return source, source.without(held), held


def read_validation(directory: Path, data: LastfmData) -> sp.csr_matrix:
    """The package's validation split: CSR (users, artists) of plays, in the positions of `data`."""
    table = Table(directory / "valid.csv.gz", ["user_id", "artist_id", "plays"])
    users, artists = (
        np.searchsorted(ids, table.integers(name))
        for ids, name in ((data.users, "user_id"), (data.artists, "artist_id"))
    )
    entries = (table.integers("plays").astype(np.float32), (users, artists))
    return sp.csr_matrix(entries, shape=(len(data.users), len(data.artists)))
