"""Everything that ranking one entity type for one shard of users may read, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from seda.recommender.arrays import Csr, FloatArray, IntArray, LongArray
from seda.recommender.candidates import CandidateLists, CandidatePool, Source, union
from seda.recommender.features import WeightedRows
from seda.recommender.rules import ListRules


@dataclass(frozen=True, eq=False, kw_only=True)
class RankingInputs:
    """Everything `recommend` may use; `U` users of the shard, `I` items of one entity type.

    All CSR matrices are `(U, I)` unless said otherwise. None means "not known": the feature is
    missing, the rule does not apply.
    """

    plays: Csr
    """Plays (or memberships) of the users; what is stored is known to them."""
    lists: Mapping[Source, CandidateLists] = field(default_factory=dict)
    """Candidates by source; a source may be absent."""
    pool: CandidatePool | None = None
    """The candidates, where they were merged before; `lists` and what is blocked are then in it."""
    block_known: bool = True
    """Whether stored entries of `plays` are kept out (false where coming back makes sense)."""
    blocked: Csr | None = None
    """Stored entries may not appear: suppressed, own, in another language."""
    taste: FloatArray | None = None
    """`(U, d)`, zeros for none."""
    item_vectors: npt.NDArray[np.floating[Any]] | None = None
    """`(I, d)` float32 or float16, zeros for none."""
    user_factors: FloatArray | None = None
    """`(U, f)`, zeros for none."""
    item_factors: FloatArray | None = None
    """`(I, f)`, zeros for none."""
    item_weights: Mapping[str, WeightedRows] = field(default_factory=dict)
    """By feature name: what the users hold, and its weights to items."""
    tag_taste: FloatArray | None = None
    """`(U, t)`, zeros for none."""
    tag_vectors: FloatArray | None = None
    """`(I, t)`, zeros for none."""
    medoids: IntArray | None = None
    """`(U, m)` items that stand for each user's tastes, from `content.medoids`."""
    profile_sizes: FloatArray | None = None
    """`(U,)` items known to each user."""
    social: Csr | None = None
    """`social.friend_taste`."""
    friend_counts: Csr | None = None
    """`candidates.friend_counts`."""
    presence: Csr | None = None
    """Friends present now."""
    presence_logs: Csr | None = None
    """Sums of `social.sighting_logs` of the friends present."""
    popularity: FloatArray | None = None
    """`(I,)`, damped (e.g. log of decayed plays); positive means heard at all."""
    recency: FloatArray | None = None
    """`(I,)`, larger is fresher."""
    item_genres: Csr | None = None
    """`(I, genres)`."""
    user_genres: Csr | None = None
    """`(U, genres)`."""
    clusters: IntArray | None = None
    """`(I,)` from `clusters.cluster_items`."""
    home_clusters: IntArray | None = None
    """`(U, 3)` from `clusters.home_clusters`."""
    shown_recently: Csr | None = None
    """Stored entries were shown by an earlier generation of the last 14 days."""
    ignored: Csr | None = None
    """`fatigue.ignored_impressions`."""
    response_rates: FloatArray | None = None
    """`(I,)` from `response.smoothed_rates`, NaN for not known."""
    trending: FloatArray | None = None
    """`(I,)`: by how much more than before an item is listened to; positive is more."""
    trending_in: Csr | None = None
    """`(I, genres)` from `explain.trending_in`."""
    rules: ListRules = field(default_factory=ListRules)
    """What the lists keep to."""
    user_keys: LongArray | None = None
    """int64 `(U,)`: stable ids, which decide each user's own turns and draws."""
    day: int = 0
    """Turns and draws move on with it."""
    privacy_flags: FloatArray | None = None
    """`(U,)`."""
    user_providers: FloatArray | None = None
    """`(U, providers)` affinities."""
    item_providers: FloatArray | None = None
    """`(I, providers)`, 1 where the item is available there."""

    def rows(self, start: int, stop: int) -> Self:
        """The same inputs for the users `start:stop` only."""
        per_user = {
            name: value[start:stop]
            for name in _PER_USER
            if (value := getattr(self, name)) is not None
        }
        lists = {
            source: CandidateLists(entry.items[start:stop], entry.scores[start:stop])
            for source, entry in self.lists.items()
        }
        weighted = {
            name: WeightedRows(entry.rows[start:stop], entry.weights)
            for name, entry in self.item_weights.items()
        }
        pool = None if self.pool is None else self.pool.rows(start, stop)
        return replace(self, lists=lists, item_weights=weighted, pool=pool, **per_user)

    def not_allowed(self) -> Csr | None:
        """What may not be listed: blocked, and known where coming back makes no sense."""
        if not self.block_known:
            return self.blocked
        return self.plays if self.blocked is None else union(self.plays, self.blocked)


_PER_USER = (
    "plays", "blocked", "taste", "user_factors", "social", "friend_counts", "presence",
    "user_genres", "home_clusters", "shown_recently", "privacy_flags", "user_providers",
    "tag_taste", "medoids", "profile_sizes", "presence_logs", "ignored", "user_keys",
)  # fmt: skip
