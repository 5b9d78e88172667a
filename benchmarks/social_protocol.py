"""The social protocol of RecBole-GNN on Last.fm 2K: random 8:1:1 per user, several seeds.

Run with `python -m benchmarks.social_protocol DIR [--seeds 5]`. DIR holds the benchmark package
(its training split joined with its validation split) or the original files. Tags of hidden pairs
are removed. Rankers learn on inner folds of the training part; hyper-parameters are ours unless
`--search`, which chooses them by the validation part of each seed. LightGCN trains until the
validation part says enough. Full ranking of all items.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from benchmarks.peers.lightgcn import LightGCNConfig, train_lightgcn
from seda.recommender.evaluate import bootstrap, hit_table, ndcg_at, recall_at
from seda.recommender.fitting import SignalConfig, SignalModels, fitted_lists, train_signals
from seda.recommender.learned import tuned_config
from seda.recommender.learning import (
    TreeConfig,
    cross_fitted_rows,
    fit_trees,
    held_out_folds,
    together,
)
from seda.recommender.models.listening import Listening
from seda.recommender.models.neighbours import train_neighbours
from seda.recommender.nearest import top_k_products
from seda.sandbox.lastfm_listening import LastfmListening, read_all_listening

OURS = "ours: LambdaRank"


def main() -> None:
    """Prints NDCG@10 and Recall@10 of each method over all seeds, and ours against each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--search", type=int, default=0, help="trials of each model per seed")
    arguments = parser.parse_args()
    if arguments.directory is None:
        print("Skipped: it needs the folder of the Last.fm 2K data.")
        return
    source = read_all_listening(arguments.directory)
    gains: dict[str, list[np.ndarray]] = {}
    for seed in range(arguments.seeds):
        for name, found in _one_seed(source, seed, arguments.folds, arguments.search).items():
            gains.setdefault(name, []).append(found)
            print(f"seed {seed} {name}: {found.mean(axis=0).round(4).tolist()}", flush=True)
    pooled = {name: np.concatenate(parts) for name, parts in gains.items()}
    for name, each in pooled.items():
        ndcg, recall = (bootstrap(each[:, column], 1) for column in (0, 1))
        ahead = bootstrap(pooled[OURS][:, 0] - each[:, 0], 1)
        print(
            f"{name:24s} ndcg@10 {ndcg.value:.4f} [{ndcg.low:.4f}, {ndcg.high:.4f}]  "
            f"recall@10 {recall.value:.4f} [{recall.low:.4f}, {recall.high:.4f}]  "
            f"ours {ahead.value:+.4f} [{ahead.low:+.4f}, {ahead.high:+.4f}]"
        )


def _one_seed(source: LastfmListening, seed: int, folds: int, trials: int) -> dict[str, np.ndarray]:
    """Name → `(users, 2)` NDCG@10 and Recall@10 on the seed's test part."""
    valid, test = _parts(source.whole.plays, seed)
    hidden = (valid + test).tocsr()
    listening = source.without(hidden)

    def without(held: sp.csr_matrix) -> Listening:
        return source.without((hidden + held).tocsr())

    config = SignalConfig()
    if trials:
        config = tuned_config(listening, valid, trials=trials, seed=seed)
    rows = together(cross_fitted_rows(listening, without, config=config, folds=folds, seed=seed))
    trees = fit_trees(rows, config=TreeConfig(), seed=seed)
    models = train_signals(listening, config=config, seed=seed)
    known = (listening.plays + valid).tocsr()
    lists = {
        OURS: _without_valid(
            fitted_lists(models, listening, trees, everyone=listening.plays, k=60, seed=seed).items,
            valid,
        )
    }
    lists |= {name: _ranked(scores, known) for name, scores in _single(models, listening, config)}
    graph = train_lightgcn(listening.plays, valid, config=LightGCNConfig(), seed=seed)
    lists["LightGCN"] = _ranked(graph.scores(), known)
    return {name: _judged(each, test) for name, each in lists.items()}


def _single(models: SignalModels, listening: Listening, config: SignalConfig) -> list:
    bare = replace(listening, item_tags=None, friends=None)
    plain = train_signals(bare, config=config, seed=0)
    return [
        ("ALS + tags", models.als.scores(listening)),
        ("EASE + tags + friends", models.ease.scores(listening)),
        ("ALS", plain.als.scores(bare)),
        ("EASE", plain.ease.scores(bare)),
        ("item-item", train_neighbours(bare, config=config.neighbours).scores(bare)),
    ]


def _parts(plays: sp.csr_matrix, seed: int) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """A tenth of everybody's pairs for validation, another for the test."""
    folds = held_out_folds(plays, 10, seed)
    return next(folds), next(folds)


def _without_valid(lists: np.ndarray, valid: sp.csr_matrix) -> np.ndarray:
    """The lists without validation pairs, which are no candidates of the test; order kept."""
    kept = (lists >= 0) & ~hit_table(lists, valid)
    order = np.argsort(~kept, axis=1, kind="stable")
    return np.take_along_axis(np.where(kept, lists, -1), order, axis=1)[:, :10].copy()


def _ranked(scores: np.ndarray, known: sp.csr_matrix) -> np.ndarray:
    identity = np.eye(scores.shape[0], dtype=np.float32)
    return top_k_products(identity, scores.T, 10, exclude=known).items


def _judged(lists: np.ndarray, test: sp.csr_matrix) -> np.ndarray:
    counts = np.diff(test.indptr)
    some = counts > 0
    hits, counts = hit_table(lists, test)[some], counts[some]
    return np.column_stack([ndcg_at(hits, counts, 10), recall_at(hits, counts, 10)])


if __name__ == "__main__":
    main()
