"""Learning to rank from an inner holdout of interactions: a linear blend, and LambdaRank trees.

The signals that a row shows were fitted without the pairs that the row is judged by: folds are
held out in turn, their evidence dropped (plays, and tags that came with them), the signals
fitted on the rest. Nothing here sees a holdout that is reported.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.optimize import minimize

from seda.recommender.arrays import (
    BoolArray,
    Csr,
    DoubleArray,
    FloatArray,
    LongArray,
    sparse_rows,
    stored_at,
)
from seda.recommender.candidates import merge_candidates
from seda.recommender.cores import available_cores
from seda.recommender.evaluate import ndcg_at
from seda.recommender.fitting import (
    PER_SOURCE,
    SignalConfig,
    fitted_candidates,
    fitted_inputs,
    train_signals,
)
from seda.recommender.models.listening import Listening
from seda.recommender.ranking import INPUTS, SIGNALS, LinearWeights, ranker_inputs
from seda.recommender.recommend import CHUNK_USERS, pool_features
from seda.recommender.signals.social import newcomer_share
from seda.recommender.trees import TreeRanker

ROWS_PER_THREAD = 100_000
"""Below this many rows, more threads would only wait for each other."""
Without = Callable[[Csr], Listening]
"""Held-out pairs, CSR `(users, items)` → the listening without them and without their tags."""


@dataclass(frozen=True)
class TreeConfig:
    """Hyper-parameters of LambdaRank (Burges 2010) as LightGBM fits it."""

    trees: int = 100
    """Boosting rounds."""
    leaves: int = 12
    """Leaves of each tree."""
    learning_rate: float = 0.04
    """Shrinkage of each tree."""
    rows_per_leaf: int = 1000
    """Fewest rows of a leaf: fewer and it remembers single people."""
    ridge: float = 10.0
    """L2 penalty of leaf outputs."""
    features_per_tree: float = 0.6
    """Share of the inputs that each tree may use."""
    truncation: int = 20
    """Places at the top whose order counts."""


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Candidates whose outcome is known: `inputs` float32 `(n, len(INPUTS))`, `relevant` bool
    `(n,)`; person g has `sizes[g]` rows in turn, and at least one of them is relevant."""

    inputs: FloatArray
    relevant: BoolArray
    sizes: LongArray
    held: LongArray
    """int64 `(persons,)`: held-out items, whether they became candidates or not."""
    positions: LongArray
    """int64 `(n,)`: the place where a row was shown, 0 where its outcome owes nothing to one."""
    weights: DoubleArray
    """float64 `(n,)`: how much a row counts."""


def thinned(rows: TrainingRows, at_most: int, seed: int) -> TrainingRows:
    """All relevant rows, and of the others a random part, so that about `at_most` are left.

    Most of a pool is far below the places whose order counts: a third of it teaches as much.
    """
    spare = rows.relevant.size - int(rows.relevant.sum())
    share = (at_most - int(rows.relevant.sum())) / max(spare, 1)
    if share >= 1:
        return rows
    drawn = np.random.default_rng(seed).random(rows.relevant.size) < share
    kept = rows.relevant | drawn
    owners = np.repeat(np.arange(rows.sizes.size), rows.sizes)
    return TrainingRows(
        rows.inputs[kept],
        rows.relevant[kept],
        np.bincount(owners[kept], minlength=rows.sizes.size),
        rows.held,
        rows.positions[kept],
        rows.weights[kept],
    )


def cross_fitted_rows(
    listening: Listening, without: Without, *, config: SignalConfig, folds: int, seed: int,
    item_vectors: FloatArray | None = None,
) -> list[TrainingRows]:  # fmt: skip
    """Training rows of every person, fold by fold (a signal fit each); deterministic in `seed`.

    Each fold holds out a part of everybody's interactions; an item that nobody would have left
    stays in, since nothing could recommend it.
    """
    return [
        held_out_rows(
            without(held), held, config=config, seed=seed + fold, item_vectors=item_vectors
        )
        for fold, held in enumerate(held_out_folds(listening.plays, folds, seed))
    ]


def together(parts: Sequence[TrainingRows]) -> TrainingRows:
    """The rows of several folds as one."""
    return TrainingRows(
        *(np.concatenate([getattr(part, entry.name) for part in parts])
          for entry in fields(TrainingRows))
    )  # fmt: skip


def held_out_rows(
    listening: Listening, held: Csr, *, config: SignalConfig, seed: int,
    item_vectors: FloatArray | None = None,
) -> TrainingRows:  # fmt: skip
    """Rows of one fold: signals fitted on `listening`, which lacks `held`, and judged by it."""
    models = train_signals(listening, config=config, seed=seed)
    parts = []
    for start in range(0, held.shape[0], CHUNK_USERS):
        chosen = slice(start, min(start + CHUNK_USERS, held.shape[0]))
        inputs = fitted_inputs(
            models, listening.rows(chosen), listening.plays, item_vectors=item_vectors
        )
        lists = fitted_candidates(inputs, PER_SOURCE)
        pool = merge_candidates(lists, blocked=inputs.plays)
        relevant = stored_at(sparse_rows(held[chosen]), pool.indptr, pool.items)
        judged = ranker_inputs(pool_features(inputs, pool))
        useful = np.bincount(pool.owners[relevant], minlength=pool.users) > 0
        kept = useful[pool.owners]
        parts.append(
            TrainingRows(
                judged[kept],
                relevant[kept],
                np.diff(pool.indptr)[useful],
                np.diff(held[chosen].indptr)[useful].astype(np.int64),
                positions=np.zeros(int(kept.sum()), np.int64),
                weights=np.ones(int(kept.sum())),
            )
        )
    return together(parts)


def held_out_folds(plays: Csr, folds: int, seed: int) -> Iterator[Csr]:
    """Each fold's held-out pairs, CSR `(users, items)`; a pair is in one fold at most."""
    rows = sp.csr_matrix(plays, dtype=np.float32)
    owners = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    random = np.random.default_rng(seed)
    order = np.lexsort((random.random(rows.nnz), owners))
    places = np.empty(rows.nnz, np.int64)
    places[order] = np.arange(rows.nnz) - rows.indptr[owners]
    # Everybody starts at a fold of their own, so that short profiles fill all folds alike.
    fold_of = (places + random.integers(0, folds, rows.shape[0])[owners]) % folds
    for fold in range(folds):
        held = fold_of == fold
        left = np.bincount(rows.indices[~held], minlength=rows.shape[1])
        held &= left[rows.indices] > 0
        entries = (rows.data[held], (owners[held], rows.indices[held]))
        yield sp.csr_matrix(entries, shape=rows.shape)


def pairs_without(plays: Csr, held: Csr) -> Csr:
    """`plays` without the stored entries of `held`."""
    rows = sp.csr_matrix(plays, dtype=np.float32)
    kept = ~stored_at(sparse_rows(held), rows.indptr.astype(np.int64), rows.indices)
    owners = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    return sp.csr_matrix((rows.data[kept], (owners[kept], rows.indices[kept])), shape=rows.shape)


def fit_linear(rows: TrainingRows, *, ridge: float = 1e-4) -> LinearWeights:
    """Weights that make what was held out likely among its pool (softmax per person).

    No weight is negative: a signal that only seems to repel is left out. `ridge` keeps weights of
    signals that say the same from running apart.
    """
    signals = rows.inputs[:, : len(SIGNALS)].astype(np.float64)
    social = INPUTS.index("social")
    known = np.expm1(rows.inputs[:, INPUTS.index("profile_size")])
    inputs = np.column_stack([signals, signals[:, social] * newcomer_share(known)])
    starts = np.concatenate([[0], np.cumsum(rows.sizes)[:-1]])
    hits = np.add.reduceat(rows.relevant.astype(np.float64), starts)

    def loss(weights: DoubleArray) -> tuple[float, DoubleArray]:
        raw = inputs @ weights
        raw -= np.repeat(np.maximum.reduceat(raw, starts), rows.sizes)
        powers = np.exp(raw)
        totals = np.add.reduceat(powers, starts)
        likely = powers * np.repeat(hits / totals, rows.sizes)
        value = hits @ np.log(totals) - raw[rows.relevant].sum()
        slope = inputs.T @ (likely - rows.relevant)
        scale = 1 / max(hits.sum(), 1)
        return value * scale + ridge * weights @ weights, slope * scale + 2 * ridge * weights

    found = minimize(
        loss, np.full(inputs.shape[1], 0.1), jac=True, method="L-BFGS-B",
        bounds=[(0, None)] * inputs.shape[1], options={"maxiter": 100},
    )  # fmt: skip
    shown = (inputs != 0).any(axis=0)
    named = dict(zip(SIGNALS, (found.x * shown).tolist(), strict=False))
    if not shown[INPUTS.index("presence")]:
        # Nobody's presence is in an old interaction: the design's word stands.
        named["presence"] = LinearWeights().presence
    return LinearWeights(**named, newcomers=float(found.x[-1]))


def fit_trees(rows: TrainingRows, *, config: TreeConfig, seed: int) -> TreeRanker:
    """LambdaRank trees on the rows; deterministic in `seed`. LightGBM is imported only here.

    What the places explain of shown rows' outcomes is learned apart, and is not in the trees.
    """
    import lightgbm

    inputs = rows.inputs.copy()
    inputs[:, INPUTS.index("ignored_impressions")] = 0  # every ranker discounts these alike
    data = lightgbm.Dataset(
        inputs, rows.relevant.astype(np.int32), group=rows.sizes, weight=rows.weights,
        position=rows.positions if rows.positions.any() else None, feature_name=list(INPUTS),
    )  # fmt: skip
    parameters = {
        "objective": "lambdarank",
        "num_leaves": config.leaves,
        "learning_rate": config.learning_rate,
        "min_data_in_leaf": config.rows_per_leaf,
        "lambda_l2": config.ridge,
        "feature_fraction": config.features_per_tree,
        "lambdarank_truncation_level": config.truncation,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": available_cores() if rows.relevant.size > ROWS_PER_THREAD else 1,
        "verbosity": -1,
    }
    booster = lightgbm.train(parameters, data, num_boost_round=config.trees)
    return _flattened([tree["tree_structure"] for tree in booster.dump_model()["tree_info"]])


def _flattened(trees: list[dict[str, Any]]) -> TreeRanker:
    """The arrays of LightGBM's nested nodes."""
    nodes: list[tuple[int, float, int, int, float]] = []

    def add(node: dict[str, Any]) -> int:
        place = len(nodes)
        nodes.append((-1, 0.0, -1, -1, float(node.get("leaf_value", 0.0))))
        if "split_feature" in node:
            left, right = add(node["left_child"]), add(node["right_child"])
            counts = [_count(node["left_child"]), _count(node["right_child"])]
            mean = float(np.average([nodes[left][4], nodes[right][4]], weights=counts))
            nodes[place] = (node["split_feature"], node["threshold"], left, right, mean)
        return place

    roots = [add(tree) for tree in trees]
    feature, threshold, left, right, value = (
        np.array(column) for column in zip(*nodes, strict=True)
    )
    return TreeRanker(
        feature.astype(np.int32),
        threshold.astype(np.float64),
        left.astype(np.int32),
        right.astype(np.int32),
        value.astype(np.float64),
        np.array(roots, np.int32),
    )


def _count(node: dict[str, Any]) -> int:
    return int(node.get("internal_count", node.get("leaf_count", 0)))


def ndcg_of_rows(scores: DoubleArray, rows: TrainingRows, k: int = 10) -> DoubleArray:
    """NDCG@k of each person's rows in the order of `scores`, float64 `(persons,)`."""
    owners = np.repeat(np.arange(rows.sizes.size), rows.sizes)
    order = np.lexsort((-scores, owners))
    starts = np.concatenate([[0], np.cumsum(rows.sizes)[:-1]]).astype(np.int64)
    places = np.arange(scores.size) - np.repeat(starts, rows.sizes)
    first = places < k
    hits = np.zeros((rows.sizes.size, k), np.bool_)
    hits[owners[first], places[first]] = rows.relevant[order][first]
    return ndcg_at(hits, rows.held, k)
