"""Cold start on Last.fm 2K: somebody of whom only three picked genres are known.

Run with `python -m benchmarks.cold_start DIR`. People with at least three tags of the 100 largest
genres keep their three largest; their own rows are removed from the fit, in five user folds. The
weights from a pick to artists are learned from the others: what they play, and what they would
have picked. Judged on the package's validation split, or with `--inner` on a holdout of training.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from seda.recommender.arrays import empty_rows
from seda.recommender.evaluate import bootstrap, hit_table, ndcg_at
from seda.recommender.models.listening import Listening, relative_strengths
from seda.recommender.models.picks import PICKS, PicksConfig, largest_picks, train_picks
from seda.recommender.models.popularity import train_popularity
from seda.recommender.nearest import top_k_products
from seda.sandbox.lastfm_listening import LastfmListening, read_holdout

GENRES, FOLDS, SEED = 100, 5, 20_261_102


def main() -> None:
    """Prints NDCG@10 of every method, and the picks' lead over tag share x popularity."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?")
    parser.add_argument("--inner", type=int, help="judge on an inner holdout with this seed")
    arguments = parser.parse_args()
    if arguments.directory is None:
        print("Skipped: it needs the folder of the Last.fm 2K data.")
        return
    source, listening, held = read_holdout(arguments.directory, arguments.inner)
    listening = replace(listening, picks=_picks(listening))
    gains = _all_folds(source, listening, held)
    reference = gains["tag share x popularity"]
    for name, each in gains.items():
        mean, ahead = bootstrap(each, SEED), bootstrap(each - reference, SEED)
        print(
            f"{name:28s} ndcg@10 {mean.value:.4f} [{mean.low:.4f}, {mean.high:.4f}]  "
            f"against tag share x popularity {ahead.value:+.4f} "
            f"[{ahead.low:+.4f}, {ahead.high:+.4f}]"
        )


def _all_folds(
    source: LastfmListening, listening: Listening, held: sp.csr_matrix
) -> dict[str, np.ndarray]:
    hidden = source.whole.plays - listening.plays
    hidden.eliminate_zeros()
    picked = np.diff(listening.picks.indptr) >= PICKS
    judged = np.flatnonzero(picked & (np.diff(held.indptr) > 0))
    fold_of = np.random.default_rng(SEED).integers(0, FOLDS, judged.size)
    gains: dict[str, list[np.ndarray]] = {}
    for fold in range(FOLDS):
        cold = judged[fold_of == fold]
        # Their rows leave the fit with the tags that they gave.
        is_cold = np.isin(np.arange(held.shape[0]), cold).astype(np.float32)
        kept = (sp.diags(is_cold) @ listening.plays).tocsr()
        kept.eliminate_zeros()
        tags = source.without((kept + hidden).tocsr()).item_tags
        for name, scores in _methods(listening, tags, cold):
            identity = np.eye(cold.size, dtype=np.float32)
            # What they played before is not asked for again: known to us, not to the models.
            lists = top_k_products(identity, scores.T, 10, exclude=listening.plays[cold]).items
            truth = held[cold]
            gains.setdefault(name, []).append(
                ndcg_at(hit_table(lists, truth), np.diff(truth.indptr), 10)
            )
    return {name: np.concatenate(parts) for name, parts in gains.items()}


def _methods(
    listening: Listening, tags: sp.csr_matrix, cold: np.ndarray
) -> list[tuple[str, np.ndarray]]:
    others = np.setdiff1d(np.arange(listening.plays.shape[0]), cold)
    fit = replace(_of(listening, others, others), item_tags=tags)
    newcomers = _of(listening, cold, others)
    newcomers = replace(
        newcomers, plays=empty_rows(*newcomers.plays.shape), picks=largest_picks(newcomers.picks)
    )
    fit = replace(fit, picks=largest_picks(fit.picks))
    model = train_picks(fit, config=PicksConfig())
    alone = replace(newcomers, friends=empty_rows(*newcomers.friends.shape))
    popular = np.expm1(train_popularity(fit).scores(alone))
    share = (newcomers.picks @ _genre_shares(fit).T).toarray()
    return [
        ("popularity", popular),
        ("tag share x popularity", (share * popular).astype(np.float32)),
        ("learned picks", model.scores(alone)),
        ("learned picks + friends", model.scores(newcomers)),
    ]


def _of(listening: Listening, people: np.ndarray, fitted: np.ndarray) -> Listening:
    """The rows of some people, and their friends among those in the fit."""
    return replace(
        listening,
        plays=listening.plays[people],
        friends=listening.friends[people][:, fitted],
        picks=listening.picks[people],
    )


def _genre_shares(listening: Listening) -> sp.csr_matrix:
    """Each artist's tags as shares, CSR (artists, tags), of the largest genres only."""
    tags = listening.item_tags
    largest = np.argsort(-np.asarray(tags.sum(axis=0)).ravel(), kind="stable")[:GENRES]
    totals = np.maximum(np.asarray(tags.sum(axis=1)).ravel(), 1e-9)
    kept = np.zeros(tags.shape[1], np.float32)
    kept[largest] = 1
    shares = (sp.diags((1 / totals).astype(np.float32)) @ tags @ sp.diags(kept)).tocsr()
    shares.eliminate_zeros()
    return shares


def _picks(listening: Listening) -> sp.csr_matrix:
    """How much of everybody's listening is in each of the largest genres."""
    return (relative_strengths(listening.plays) @ _genre_shares(listening)).tocsr()


if __name__ == "__main__":
    main()
