"""Quality on Last.fm 2K: the published list against every single model and against peers.

Run with `python -m benchmarks.quality DIR [--inner SEED] [--lists OUT] [--peers FOLDER]`. DIR is
the benchmark package. Everything is fitted on its training split, rankers learn on inner folds of
it, and all are judged once, on its validation split or (`--inner`) on a further holdout of the
training split. `--lists` writes each method's recommendations for the package's own scorer;
`--peers` judges such files of others too (`benchmarks/peers/rectools_lists.py` writes some).
"""

import argparse
import csv
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from implicit.nearest_neighbours import BM25Recommender

from benchmarks.peers.lightgcn import LightGCN, LightGCNConfig, train_lightgcn
from seda.recommender.clusters import cluster_items
from seda.recommender.cores import single_threaded_blas
from seda.recommender.evaluate import (
    bootstrap,
    distance_at,
    hit_table,
    ndcg_at,
    recall_at,
)
from seda.recommender.fitting import SignalConfig, SignalModels, fitted_lists, train_signals
from seda.recommender.learning import (
    TreeConfig,
    cross_fitted_rows,
    fit_linear,
    fit_trees,
    held_out_folds,
    pairs_without,
    together,
)
from seda.recommender.models.chance import train_chance
from seda.recommender.models.listening import Listening
from seda.recommender.models.popularity import train_popularity
from seda.recommender.nearest import top_k_products
from seda.recommender.ranking import LinearWeights
from seda.recommender.rules import list_rules
from seda.sandbox.lastfm_listening import LastfmListening, read_holdout

SEED = 20_261_101
OURS = "ours: LambdaRank, published"


def main() -> None:
    """Prints one line per method, and the difference of ours to it with its 95 % interval."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?")
    parser.add_argument("--inner", type=int, help="judge on an inner holdout with this seed")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--lists", type=Path, help="folder for the methods' recommendations")
    parser.add_argument("--peers", type=Path, help="folder with recommendations of others")
    arguments = parser.parse_args()
    if arguments.directory is None:
        print("Skipped: it needs the folder of the Last.fm 2K data.")
        return
    source, listening, held = read_holdout(arguments.directory, arguments.inner)
    judged = {}
    everybody = methods(source, listening, arguments.folds)
    if arguments.peers:
        everybody = chain(everybody, _read(arguments.peers, source))
    for name, lists in everybody:
        judged[name] = _judged(lists, held, listening.item_tags)
        if arguments.lists:
            _write(arguments.lists, name, lists, source)
    for name, (gains, recalls, coverage, first, whole) in judged.items():
        estimate, difference = bootstrap(gains, SEED), bootstrap(judged[OURS][0] - gains, SEED)
        print(
            f"{name:34s} ndcg@10 {estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]  "
            f"recall@20 {recalls.mean():.4f}  coverage@10 {coverage:.3f}  "
            f"distance@10 {first:.3f} @50 {whole:.3f}  "
            f"ours {difference.value:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"
        )


def methods(
    source: LastfmListening, listening: Listening, folds: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Name and lists `(users, 100)` of every method, ours first."""

    def without(held: sp.csr_matrix) -> Listening:
        gone = source.whole.plays - listening.plays
        gone.eliminate_zeros()
        return source.without((gone + held).tocsr())

    config = SignalConfig()
    parts = cross_fitted_rows(listening, without, config=config, folds=folds, seed=SEED)
    rows = together(parts)
    models = train_signals(listening, config=config, seed=SEED)
    tuned = fit_linear(rows)
    print(tuned)
    rankers = {
        "LambdaRank": fit_trees(rows, config=TreeConfig(), seed=SEED),
        "tuned blend": tuned,
        "design blend": LinearWeights(content=0, tags=0.5),
    }
    for name, ranker in rankers.items():
        for kind, how in selections(models, listening).items():
            lists = fitted_lists(
                models, listening, ranker, everyone=listening.plays, k=100, seed=SEED, **how
            )
            yield f"ours: {name}, {kind}", lists.items
    single = {
        "ALS + tags": models.als,
        "EASE + tags + friends": models.ease,
        "item-item TF-IDF": models.neighbours,
        "walks": models.walks,
        "tag neighbours": models.tag_neighbours,
        "tag space": models.tags,
        "popularity": train_popularity(listening),
        "random": train_chance(listening, seed=SEED),
    }
    for name, model in single.items():
        yield name, _ranked(model.scores(listening), listening.plays)
    yield from _peers(listening.plays)


def selections(models: SignalModels, listening: Listening) -> dict[str, dict[str, Any]]:
    """How lists are made of the same scores: as published, with the quota alone, and raw.

    Likeness and clusters are those of the tag space; the benchmark has no texts of artists.
    """
    clusters = cluster_items(models.tags.items, seed=SEED)
    nobody = np.full(clusters.size, -1, np.int32)
    rules = list_rules(
        [""] * clusters.size, vectors=models.tags.items, genres=listening.item_tags,
        clusters=clusters, artists=nobody, owners=nobody, arrived=np.zeros(clusters.size, np.bool_),
    )  # fmt: skip
    return {
        "published": {"rules": rules, "clusters": clusters},
        "not diversified": {"clusters": clusters},
        "raw": {},
    }


def _peers(plays: sp.csr_matrix) -> Iterator[tuple[str, np.ndarray]]:
    users = np.arange(plays.shape[0])
    for name, peer in (
        ("peer: implicit ALS defaults", AlternatingLeastSquares(random_state=0)),
        ("peer: implicit BPR", BayesianPersonalizedRanking(random_state=0)),
        ("peer: implicit BM25", BM25Recommender()),
    ):
        with single_threaded_blas():
            peer.fit(plays, show_progress=False)
            lists, _ = peer.recommend(users, plays, N=100)
        yield name, lists
    yield "peer: LightGCN", _ranked(_lightgcn(plays).scores(), plays)


def _lightgcn(plays: sp.csr_matrix) -> LightGCN:
    """Fitted on everything, for as long as was best for a tenth that was held out before."""
    held = next(held_out_folds(plays, 10, SEED))
    config = LightGCNConfig()
    found = train_lightgcn(pairs_without(plays, held), held, config=config, seed=SEED)
    return train_lightgcn(plays, None, config=replace(config, most_epochs=found.epochs), seed=SEED)


def _read(folder: Path, source: LastfmListening) -> Iterator[tuple[str, np.ndarray]]:
    """The lists of each file of the folder, as `_write` makes them."""
    for path in sorted(folder.glob("*.csv")):
        table = np.genfromtxt(path, delimiter=",", names=True, dtype=np.int64, encoding="utf-8")
        users = np.searchsorted(source.data.users, table["user_id"])
        lists = np.full((len(source.data.users), 100), -1, np.int64)
        lists[users, table["rank"] - 1] = np.searchsorted(source.data.artists, table["artist_id"])
        yield f"peer: {path.stem}", lists


def _ranked(scores: np.ndarray, plays: sp.csr_matrix) -> np.ndarray:
    identity = np.eye(scores.shape[0], dtype=np.float32)
    return top_k_products(identity, scores.T, 100, exclude=plays).items


def _judged(
    lists: np.ndarray, held: sp.csr_matrix, tags: sp.csr_matrix
) -> tuple[np.ndarray, np.ndarray, float, float, float]:
    """NDCG@10 and Recall@20 by person, coverage@10, and mean distance by tags within 10 and 50."""
    counts = np.diff(held.indptr)
    some = counts > 0
    hits, counts = hit_table(lists, held)[some], counts[some]
    shown = lists[some, :10]
    coverage = np.unique(shown[shown >= 0]).size / held.shape[1]
    distances = [float(np.nanmean(distance_at(lists[some], tags, k))) for k in (10, 50)]
    return ndcg_at(hits, counts, 10), recall_at(hits, counts, 20), coverage, *distances


def _write(folder: Path, name: str, lists: np.ndarray, source: LastfmListening) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    file_name = "".join(letter if letter.isalnum() else "-" for letter in name) + ".csv"
    with (folder / file_name).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user_id", "artist_id", "rank"])
        for user, row in zip(source.data.users, lists, strict=True):
            artists = source.data.artists[row[row >= 0]]
            writer.writerows((user, artist, place + 1) for place, artist in enumerate(artists))


if __name__ == "__main__":
    main()
