"""What is new to a user, and how much of it a list must hold at each of its prefixes."""

from seda.recommender.arrays import BoolArray, Csr, IntArray, sparse_rows, stored_at
from seda.recommender.candidates import CandidatePool

NEW_PER_TEN = 3
"""New items that each ten places of a list must hold."""


def new_to_user(
    pool: CandidatePool,
    *,
    plays: Csr,
    shown_recently: Csr | None,
    clusters: IntArray | None,
    homes: IntArray | None,
) -> BoolArray:
    """Whether each candidate is new: never played, not shown recently, outside the home clusters.

    `plays` and `shown_recently` CSR `(users, items)`, of which stored entries count; `clusters`
    int32 `(items,)` and `homes` int32 `(users, 3)`, -1 for none. An item without a cluster is
    outside every home. Returns bool `(nnz,)`.
    """
    new = ~stored_at(sparse_rows(plays), pool.indptr, pool.items)
    if shown_recently is not None:
        new &= ~stored_at(sparse_rows(shown_recently), pool.indptr, pool.items)
    if clusters is not None and homes is not None:
        labels = clusters[pool.items]
        for slot in range(homes.shape[1]):
            new &= (labels < 0) | (labels != homes[pool.owners, slot])
    return new


def quota(prefix: int) -> int:
    """New items that a prefix of this length must hold: floor(0.3 n), from n = 10 on ceil(0.3 n).

    Since any prefix of ten or more may be somebody's whole list or first page, it gets the ceiling.
    """
    return (NEW_PER_TEN * prefix + (9 if prefix >= 10 else 0)) // 10
