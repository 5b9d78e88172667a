"""LightGCN (He et al., SIGIR 2020, sections 3.1 and 3.2), a peer to compare with.

Embeddings are averaged over the layers of a graph convolution without weights, and fitted by
pairwise ranking (BPR) with Adam. The convolution is linear and symmetric, so the gradient of the
first layer is the same convolution of the last one's: sparse products do, without a framework.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from seda.recommender.evaluate import hit_table, ndcg_at
from seda.recommender.nearest import top_k_products

MOST_DRAWS = 100


@dataclass(frozen=True)
class LightGCNConfig:
    """The paper's choices, but for a larger step and batch, which need fewer epochs here, and a
    penalty that did best on the validation part of the social protocol's first seed."""

    factors: int = 64
    layers: int = 3
    rate: float = 5e-3
    regularization: float = 1e-3
    """Of the embeddings of a batch, as in the authors' code (`decay`)."""
    batch: int = 4096
    most_epochs: int = 400
    look_every: int = 10
    """Epochs between two looks at the held-out pairs."""
    patience: int = 5
    """Looks without a better one, after which the fit ends."""


class Adam:
    """Kingma and Ba 2015, algorithm 1, in place."""

    def __init__(self, values: np.ndarray, rate: float) -> None:
        self._values, self._rate, self._step = values, rate, 0
        self._mean, self._square = np.zeros_like(values), np.zeros_like(values)

    def descend(self, gradient: np.ndarray) -> None:
        self._step += 1
        self._mean += np.float32(0.1) * (gradient - self._mean)
        self._square += np.float32(0.001) * (gradient * gradient - self._square)
        scale = self._rate * np.sqrt(1 - 0.999**self._step) / (1 - 0.9**self._step)
        self._values -= np.float32(scale) * self._mean / (np.sqrt(self._square) + np.float32(1e-8))


@dataclass(frozen=True, eq=False)
class LightGCN:
    """Float32 `users` and `items`, `(n, factors)` each, as they were after `epochs`."""

    users: np.ndarray
    items: np.ndarray
    epochs: int

    def scores(self) -> np.ndarray:
        """`(users, items)` float32."""
        return np.asarray(self.users @ self.items.T)


def train_lightgcn(
    plays: sp.csr_matrix, held: sp.csr_matrix | None, *, config: LightGCNConfig, seed: int
) -> LightGCN:
    """The epoch that ranked `held` best by NDCG@10, or without it the last one.

    `plays` and `held` are CSR `(users, items)`; only which pairs are stored counts.
    """
    users, items = plays.shape
    random = np.random.default_rng(seed)
    scale = np.sqrt(6 / (users + items + config.factors))
    embeddings = random.uniform(-scale, scale, (users + items, config.factors)).astype(np.float32)
    graph, adam = _normalised(plays), Adam(embeddings, config.rate)

    def model(epochs: int) -> LightGCN:
        final = _propagated(graph, embeddings, config.layers)
        return LightGCN(final[:users], final[users:], epochs)

    best, found, worse = -1.0, model(0), 0
    for epoch in range(1, config.most_epochs + 1):
        for triples in _triples(plays, config.batch, random):
            adam.descend(_gradient(graph, embeddings, triples, users, config))
        if held is None or epoch % config.look_every:
            continue
        now = model(epoch)
        ndcg = _ndcg(now, plays, held)
        worse = 0 if ndcg > best else worse + 1
        if ndcg > best:
            best, found = ndcg, now
        if worse >= config.patience:
            break
    return model(config.most_epochs) if held is None else found


def _normalised(plays: sp.csr_matrix) -> sp.csr_matrix:
    """The bipartite graph, each edge over the root of both degrees (equation 3)."""
    links = sp.csr_matrix(plays, dtype=np.float32)
    links.data = np.ones_like(links.data)
    graph = sp.bmat([[None, links], [links.T, None]], format="csr", dtype=np.float32)
    roots = 1 / np.sqrt(np.maximum(np.diff(graph.indptr), 1)).astype(np.float32)
    return sp.csr_matrix(sp.diags(roots) @ graph @ sp.diags(roots), dtype=np.float32)


def _propagated(graph: sp.csr_matrix, embeddings: np.ndarray, layers: int) -> np.ndarray:
    """The mean over all layers (equation 4)."""
    layer, total = embeddings, embeddings.copy()
    for _ in range(layers):
        layer = graph @ layer
        total += layer
    return total / np.float32(layers + 1)


def _triples(
    plays: sp.csr_matrix, batch: int, random: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Users, items that they played and items that they did not: every pair once."""
    users, items = plays.shape
    owners = np.repeat(np.arange(users), np.diff(plays.indptr))
    taken = np.sort(owners * np.int64(items) + plays.indices)
    others = random.integers(0, items, plays.nnz)
    for _ in range(MOST_DRAWS):  # who has played everything has no other item
        keys = owners * np.int64(items) + others
        places = np.minimum(np.searchsorted(taken, keys), taken.size - 1)
        again = np.flatnonzero(taken[places] == keys)
        if not again.size:
            break
        others[again] = random.integers(0, items, again.size)
    order = random.permutation(plays.nnz)
    for start in range(0, plays.nnz, batch):
        chosen = order[start : start + batch]
        yield owners[chosen], plays.indices[chosen], others[chosen]


def _gradient(
    graph: sp.csr_matrix, embeddings: np.ndarray,
    triples: tuple[np.ndarray, np.ndarray, np.ndarray], users: int, config: LightGCNConfig,
) -> np.ndarray:  # fmt: skip
    """Of the mean BPR loss of a batch with its penalty (equation 15), like `embeddings`."""
    final = _propagated(graph, embeddings, config.layers)
    rows = np.concatenate([triples[0], triples[1] + users, triples[2] + users])
    own, liked, other = np.split(final[rows], 3)
    size = np.float32(own.shape[0])
    margin = np.einsum("bf,bf->b", own, liked - other)
    pull = (-1 / (1 + np.exp(margin)) / size)[:, None].astype(np.float32)
    at_last = _summed(rows, np.concatenate([pull * (liked - other), pull * own, -pull * own]),
                      embeddings.shape[0])  # fmt: skip
    penalty = _summed(rows, embeddings[rows] * (np.float32(config.regularization) / size),
                      embeddings.shape[0])  # fmt: skip
    return _propagated(graph, at_last, config.layers) + penalty


def _summed(rows: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Values added up by row, `(size, factors)` float32."""
    entries = (np.ones(rows.size, np.float32), (rows, np.arange(rows.size)))
    return np.asarray(sp.csr_matrix(entries, shape=(size, rows.size)) @ values)


def _ndcg(model: LightGCN, plays: sp.csr_matrix, held: sp.csr_matrix) -> float:
    lists = top_k_products(model.users, model.items, 10, exclude=plays).items
    counts = np.diff(held.indptr)
    some = counts > 0
    return float(ndcg_at(hit_table(lists, held)[some], counts[some], 10).mean())
