"""Offline evaluation of a region's pipeline: the stored plays, split, fitted and ranked again.

Everything that plays decide (factors, taste, popularity, what is known) is computed from the
fold's plays alone; what they do not decide (vectors, clusters, genres, friendships) is as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from seda.activity.affinity import genre_affinity, taste_affinity
from seda.activity.snapshot import EntitySnapshot, RegionSnapshot, load_suppressed
from seda.database.regions import RegionalDatabase
from seda.embeddings.spaces import EmbeddingSpace
from seda.embeddings.stand_ins import genre_centroids
from seda.embeddings.taste import taste_vectors
from seda.experiments.listening import listening_of, rules_of
from seda.recommender.candidates import CandidateLists, Source, trending_candidates, union
from seda.recommender.clusters import cluster_items, home_clusters
from seda.recommender.evaluate import (
    PUBLISHED,
    EvaluationReport,
    Fold,
    OfflineData,
    Produced,
    evaluate_pipeline,
)
from seda.recommender.explain import trending_in
from seda.recommender.fitting import (
    SignalConfig,
    SignalModels,
    fitted_candidates,
    fitted_inputs,
    train_signals,
)
from seda.recommender.inputs import RankingInputs
from seda.recommender.learned import DESIGN, LearningPlan, learn, sampled
from seda.recommender.ranking import LinearWeights
from seda.recommender.recommend import recommend
from seda.recommender.rules import ListRules
from seda.recommender.seeding import hashed
from seda.vectorstore.aligned import AlignedVectors

SEED = 20_260_903
PER_SOURCE = 150
HALF_LIFE_DAYS = 60.0
"""Of `EntitySnapshot.recent`."""
PLAN = LearningPlan(people=2000, trials=0, folds=2)
"""Of rankers that an evaluation learns."""
MOST_PEOPLE = 6000
"""Of a region's people that an evaluation fits on: a sample is enough for its intervals."""
MOST_EVALUATED = 2000


@dataclass(frozen=True, eq=False)
class OfflineWorld:
    """A region as an evaluation sees it, for one entity type.

    `suppressed` CSR `(users, items)`; `vectors` and `clusters` per item; `parts` are the vectors
    that tastes are means of, by kind as in `taste_affinity`.
    """

    snapshot: RegionSnapshot
    kind: str
    suppressed: sparse.csr_matrix
    vectors: np.ndarray
    clusters: np.ndarray
    parts: dict[str, np.ndarray]
    rules: ListRules

    @property
    def entity(self) -> EntitySnapshot:
        return self.snapshot.entities[self.kind]


FitAndRank = Callable[[OfflineWorld, Fold], Produced]


def load_world(
    database: RegionalDatabase,
    snapshot: RegionSnapshot,
    space: EmbeddingSpace,
    kind: str,
    *,
    clusters: np.ndarray | None = None,
    most_people: int = MOST_PEOPLE,
) -> OfflineWorld:
    """What `evaluate_region` needs, in one space, for at most `most_people`, drawn by their ids.

    `clusters` int32 `(items,)` where they are known; otherwise they are made here.
    """
    suppressed = load_suppressed(database, snapshot, kind)
    people = _drawn(snapshot, most_people)
    parts = {
        each: AlignedVectors(database, each, snapshot.entities[each]).in_space(space)
        for each in {"artist", "playlist", kind}
    }
    vectors = parts[kind]
    if kind not in ("artist", "playlist"):
        del parts[kind]
    genres = genre_centroids(snapshot.entities["artist"].genres, parts["artist"])
    parts["genre"] = genres.astype(np.float16)
    if clusters is None:
        clusters = cluster_items(vectors, seed=SEED)
    rules = rules_of(database, snapshot, kind, clusters=clusters, vectors=vectors)
    return OfflineWorld(
        _of_people(snapshot, people), kind, suppressed[people], vectors, clusters, parts, rules
    )


def evaluate_region(
    world: OfflineWorld,
    fit_and_rank: FitAndRank,
    *,
    seed: int = SEED,
    most_users: int = MOST_EVALUATED,
    resamples: int = 1000,
) -> EvaluationReport:
    """The published lists of a pipeline against plays that it did not see.

    Where plays have times the newest are hidden, else a fifth of each person's.
    """
    return evaluate_pipeline(
        _offline_data(world),
        lambda fold: fit_and_rank(world, fold),
        seed=seed,
        k=50,
        most_users=most_users,
        resamples=resamples,
    )


def nightly_pipeline(kind: str, design: LinearWeights) -> FitAndRank:
    """The pipeline as the nightly graph runs it: the fits, four sources, a ranker, selection.

    `kind` is that of the active model version. A learned ranker is learned again, on the fold
    alone: the stored one has seen what the fold hides. Each source's own list is beside.
    """

    def fit_and_rank(world: OfflineWorld, fold: Fold) -> Produced:
        snapshot = _without_held_out(world, fold.train)
        entity = snapshot.entities[world.kind]
        listening = listening_of(snapshot, entity)
        learned = None
        if kind != DESIGN:
            sample = sampled(listening, PLAN.people, SEED)
            learned = learn(sample, plan=PLAN, seed=SEED, item_vectors=world.vectors)
        config = SignalConfig() if learned is None else learned.config
        models = train_signals(listening, config=config, seed=SEED)
        inputs = _inputs(world, snapshot, models, fold.rows)
        ranker = design if learned is None else learned.ranker(kind, design)
        ranked = recommend(inputs, weights=ranker, k=fold.k)
        singles = {
            source.name.lower(): _first(each, inputs.blocked, fold.k)
            for source, each in inputs.lists.items()
            if source.name
        }
        return Produced({PUBLISHED: ranked.items, **singles}, fitted=entity.plays)

    return fit_and_rank


def _inputs(
    world: OfflineWorld, snapshot: RegionSnapshot, models: SignalModels, rows: np.ndarray
) -> RankingInputs:
    entity, everyone = snapshot.entities[world.kind], slice(0, len(snapshot.user_ids))
    listening = listening_of(snapshot, entity).rows(rows)
    genres = genre_affinity(snapshot, everyone)[rows]
    popularity = np.log1p(np.asarray(entity.recent.sum(axis=0)).ravel()).astype(np.float32)
    inputs = replace(
        fitted_inputs(models, listening, entity.plays),
        blocked=union(entity.known[rows], world.suppressed[rows]),
        taste=_tastes(world, snapshot, everyone)[rows],
        item_vectors=world.vectors,
        popularity=popularity,
        trending=popularity,
        trending_in=trending_in(popularity, entity.genres),
        item_genres=entity.genres,
        user_genres=genres,
        clusters=world.clusters,
        home_clusters=home_clusters(listening.plays, world.clusters),
        rules=world.rules,
        user_keys=snapshot.user_keys[rows],
    )
    trending = trending_candidates(popularity, entity.genres, genres, PER_SOURCE)
    return replace(
        inputs, lists=fitted_candidates(inputs, PER_SOURCE) | {Source.TRENDING: trending}
    )


def _tastes(world: OfflineWorld, snapshot: RegionSnapshot, everyone: slice) -> np.ndarray:
    affinity = taste_affinity(snapshot, everyone)
    kinds = [kind for kind in affinity if kind in world.parts]
    together = sparse.hstack([affinity[kind] for kind in kinds], format="csr")
    return taste_vectors(together, np.concatenate([world.parts[kind] for kind in kinds]))


def _first(lists: CandidateLists, blocked: sparse.csr_matrix, k: int) -> np.ndarray:
    """A source's own first k, without what is blocked."""
    kept = np.full((lists.items.shape[0], k), -1, np.int32)
    ends = blocked.indptr
    for row, items in enumerate(lists.items):
        out = blocked.indices[ends[row] : ends[row + 1]]
        allowed = items[(items >= 0) & ~np.isin(items, out)][:k]
        kept[row, : allowed.size] = allowed
    return kept


def _offline_data(world: OfflineWorld) -> OfflineData:
    entity, friends = world.entity, world.snapshot.friends
    plays = sparse.csr_matrix(entity.plays)
    with_friends = np.diff(friends.indptr) > 0
    return OfflineData(
        plays=plays,
        user_keys=world.snapshot.user_keys,
        times=play_times(entity),
        blocked=union(_beside(entity.known, plays), world.suppressed),
        vectors=world.vectors.astype(np.float32),
        item_genres=entity.genres,
        cohorts={"with friends": with_friends, "without friends": ~with_friends},
    )


def play_times(entity: EntitySnapshot) -> np.ndarray | None:
    """Days, negative and rising towards now, of each stored play: float64 `(nnz,)`; None where
    the plays have no times.

    `recent` halves plays every 60 days, so its ratio to `plays` is their mean age.
    """
    shares = entity.recent.data.astype(np.float64) / np.maximum(entity.plays.data, 1e-9)
    if not shares.size or shares.min() > 0.999:
        return None
    return np.asarray(HALF_LIFE_DAYS * np.log2(np.maximum(shares, 1e-12)))


def _beside(known: sparse.csr_matrix, plays: sparse.csr_matrix) -> sparse.csr_matrix:
    """What is known of other reasons than plays."""
    pattern = known.copy()
    pattern.data = np.ones_like(pattern.data)
    played = plays.copy()
    played.data = np.ones_like(played.data)
    rest = (pattern - played).tocsr()
    rest.data = np.maximum(rest.data, 0)
    rest.eliminate_zeros()
    return rest


def _without_held_out(world: OfflineWorld, train: sparse.csr_matrix) -> RegionSnapshot:
    entity = world.entity
    kept = train.copy()
    kept.data = np.ones_like(kept.data)
    known = union(train, _beside(entity.known, entity.plays))
    fold = replace(entity, plays=train, recent=entity.recent.multiply(kept).tocsr(), known=known)
    return replace(world.snapshot, entities={**world.snapshot.entities, world.kind: fold})


def _drawn(snapshot: RegionSnapshot, most: int) -> np.ndarray:
    served = np.flatnonzero(snapshot.served)
    draws = hashed(snapshot.user_keys[served], np.zeros(served.size, np.int64), SEED)
    return np.sort(served[np.argsort(draws, kind="stable")[:most]])


def _of_people(snapshot: RegionSnapshot, people: np.ndarray) -> RegionSnapshot:
    entities = {
        kind: replace(
            entity,
            plays=entity.plays[people],
            recent=entity.recent[people],
            known=entity.known[people],
        )
        for kind, entity in snapshot.entities.items()
    }
    return replace(
        snapshot,
        user_ids=snapshot.user_ids[people],
        user_buckets=snapshot.user_buckets[people],
        served=snapshot.served[people],
        friends=snapshot.friends[people][:, people],
        chosen_genres=snapshot.chosen_genres[people],
        entities=entities,
    )
