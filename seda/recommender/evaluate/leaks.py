"""Leaks: what a fit knew of the pairs that were hidden from it. Each finding is one sentence."""

import numpy as np

from seda.recommender.arrays import Csr, IntArray, LongArray, sparse_rows, stored_at

SUSPICIOUS_NDCG = 0.6
"""NDCG@10 that no honest holdout of listening has given."""


def find_leaks(
    train: Csr,
    held_out: Csr,
    *,
    fitted: Csr | None = None,
    side_pairs: Csr | None = None,
    lists: IntArray | None = None,
    rows: LongArray | None = None,
    ndcg: float = 0.0,
) -> tuple[str, ...]:
    """Sentences about hidden pairs that were seen; empty when the evaluation is clean.

    `train` and `held_out` CSR `(users, items)`; `fitted` is what the fit read as interactions and
    `side_pairs` the pairs whose side information (a listener's tags, say) shaped it; `lists` int32
    `(rows, k)` are those of the users `rows`; `ndcg` is what they achieved.
    """
    findings = []
    for known, what in (
        (fitted, "were among the interactions that the model was fitted on"),
        (side_pairs, "had side information of their own listener in the fit"),
    ):
        seen = 0 if known is None else _shared(known, held_out)
        if seen:
            findings.append(f"{seen:,} of {held_out.nnz:,} held-out pairs {what}.")
    unheard = np.bincount(train.indices, minlength=train.shape[1]) == 0
    certain = int(unheard[held_out.indices].sum())
    if certain:
        findings.append(
            f"{certain:,} held-out pairs are of items without a listener in the fit: that an item "
            "has none gives away that somebody's was hidden."
        )
    if lists is not None and rows is not None:
        repeated = _listed(train[rows], lists)
        if repeated:
            findings.append(f"{repeated:,} listed items were known to the fit as the user's own.")
    if ndcg > SUSPICIOUS_NDCG:
        findings.append(f"An NDCG@10 of {ndcg:.2f} is too good to be true.")
    return tuple(findings)


def _shared(left: Csr, right: Csr) -> int:
    owners = sparse_rows(right)
    return int(stored_at(sparse_rows(left), owners.indptr, owners.indices).sum())


def _listed(known: Csr, lists: IntArray) -> int:
    users, k = lists.shape
    indptr = np.arange(users + 1, dtype=np.int64) * k
    flat = np.ascontiguousarray(lists, np.int32).ravel()
    return int(stored_at(sparse_rows(known), indptr, flat).sum())
