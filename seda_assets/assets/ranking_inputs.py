"""What ranking reads for one region and type, loaded once for all of its shards."""

from dataclasses import replace

import numpy as np

from seda.activity.affinity import genre_affinity
from seda.activity.snapshot import (
    Presence,
    RegionSnapshot,
    load_popularity,
    load_recently_shown,
)
from seda.database.regions import RegionalDatabase, Shard
from seda.embeddings.spaces import EmbeddingSpace, InSpace
from seda.experiments.listening import listening_of, rules_of
from seda.feedback.impressions import load_responses, load_shown
from seda.recommender.candidates import CandidatePool
from seda.recommender.clusters import home_clusters
from seda.recommender.explain import trending_in
from seda.recommender.fatigue import ignored_impressions
from seda.recommender.fitting import SignalModels, fitted_inputs
from seda.recommender.inputs import RankingInputs
from seda.recommender.signals.response import smoothed_rates
from seda.vectorstore.aligned import AlignedVectors


class RankingData:
    """One region and type: fits, catalogue, and what was shown; `inputs` gives a shard's part."""

    def __init__(
        self, database: RegionalDatabase, snapshot: RegionSnapshot, kind: str, models: SignalModels,
        *, clusters: np.ndarray, space: EmbeddingSpace, day: int,
    ) -> None:  # fmt: skip
        entity = snapshot.entities[kind]
        self._snapshot, self._kind, self._models = snapshot, kind, models
        self._clusters, self._day = clusters, day
        self._listening = listening_of(snapshot, entity)
        self._vectors = AlignedVectors(database, kind, entity)
        self._popularity = load_popularity(database, snapshot, kind)
        self._recently_shown = load_recently_shown(database, snapshot, kind)
        self._shown = load_shown(database, snapshot, kind)
        responses = load_responses(database, snapshot, kind)
        self._rates = smoothed_rates(
            responses.items, responses.positions, responses.shown, responses.answered,
            count=len(entity.ids),
        )  # fmt: skip
        self._rules = rules_of(
            database, snapshot, kind, clusters=clusters, vectors=self._vectors.in_space(space)
        )
        self._trending_in = trending_in(self._popularity.trending, entity.genres)

    def inputs(
        self, shard: Shard, *, pool: CandidatePool, taste: InSpace, presence: Presence | None
    ) -> RankingInputs:
        """Everything that ranks the people of one shard."""
        snapshot, rows = self._snapshot, self._snapshot.rows_of(shard)
        entity = snapshot.entities[self._kind]
        listening, shown = self._listening.rows(rows), self._shown.rows(rows)
        touched = (entity.known[rows] + shown.answered).tocsr()
        return replace(
            fitted_inputs(self._models, listening, entity.plays),
            pool=pool,
            taste=taste.vectors,
            item_vectors=self._vectors.in_space(taste.space),
            presence=None if presence is None else presence.counts,
            presence_logs=None if presence is None else presence.logs,
            popularity=self._popularity.popularity,
            recency=self._popularity.recency,
            trending=self._popularity.trending,
            trending_in=self._trending_in,
            item_genres=entity.genres,
            user_genres=genre_affinity(snapshot, rows),
            clusters=self._clusters,
            home_clusters=home_clusters(listening.plays, self._clusters),
            shown_recently=self._recently_shown[rows],
            ignored=ignored_impressions(shown.counts, shown.ages.data, touched),
            response_rates=self._rates,
            rules=self._rules,
            user_keys=snapshot.user_keys[rows],
            day=self._day,
        )
