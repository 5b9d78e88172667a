"""Publishing: rows and cards of a new generation are loaded beside, then one flip serves them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import numpy as np

from seda.activity.snapshot import RegionSnapshot
from seda.catalogue.names import load_names
from seda.database.regions import RegionalDatabase, Shard
from seda.publishing.generations import (
    PublishReport,
    drop_unreferenced,
    load_cards,
    load_recommendations,
    open_generation,
    publish,
)
from seda.publishing.lists import ListNames, ListRenderer, main_genres
from seda.publishing.rows import CardRows, RecommendationRows
from seda.recommender.cores import one_ahead
from seda_assets.assets.column_schemas import columns
from seda_assets.assets.shard_facts import ShardFacts
from seda_assets.automation.freshness import NIGHTLY
from seda_assets.automation.partitions import LISTS, shard_runs, user_shards
from seda_assets.regional_files import StoredValues
from seda_assets.resources import Platform

RECOMMENDATIONS = dg.AssetKey(["seda", "recommendations"])
TOP_CANDIDATES = dg.AssetKey(["seda", "mv_user_top_candidates"])
# A cursor lives one hour; its generation outlives it.
CURSOR_LIFETIME = timedelta(hours=2)

_RECOMMENDATION_COLUMNS = columns(
    id="uuid: UUIDv5 of user, type and entity; the same in every generation",
    generation="bigint: partition key",
    user_id="uuid",
    entity_type="text: room, playlist or artist",
    entity_id="uuid",
    rank="integer: authoritative, from 1",
    score="double precision: in [0, 1]",
    model_version="text",
    source="text: batch or real-time",
    created_at="timestamptz",
    expires_at="timestamptz",
    context="jsonb: reasons, features, is_new, as at computation",
    signals="real[]: what the ranker read, calibrated within the person",
    contributions="real[]: what each term gave to the score, signed",
)
_CARD_COLUMNS = columns(
    generation="bigint: partition key",
    user_id="uuid",
    entity_type="text: room, playlist or artist",
    recommendation_ids="uuid[]: best first",
    entity_ids="uuid[]",
    scores="real[]",
    cards="text[]: the feed's JSON, without what is live",
    is_new="boolean[]: what the novelty quota counts",
    genres="text[]: the main genre of each, by which a listen lifts others",
)


def _spec(key: dg.AssetKey, description: str, schema: dg.TableSchema) -> dg.AssetSpec:
    return dg.AssetSpec(
        key,
        deps=["ranked_recommendations", "interaction_matrices"],
        description=description,
        group_name="read_models",
        owners=["team:recommendations"],
        kinds={"python", "postgres"},
        tags={"seda/layer": "read_models"},
        freshness_policy=NIGHTLY,
        metadata={
            "dagster/column_schema": schema,
            "dagster/relation_identifier": ".".join(key.path),
        },
        code_version="3",
    )


@dg.multi_asset(
    specs=[
        _spec(RECOMMENDATIONS, "Top 50 per person and type, by generation.",
              _RECOMMENDATION_COLUMNS),
        _spec(TOP_CANDIDATES, "The feed's read model: one row per person and type with ready "
              "cards, published together with the recommendations.", _CARD_COLUMNS),
    ],
    ins={name: dg.AssetIn(name) for name in ("interaction_matrices", "ranked_recommendations")},
    partitions_def=user_shards,
    backfill_policy=shard_runs,
    pool=LISTS,
)  # fmt: skip
def published_lists(
    context: dg.AssetExecutionContext,
    platform: dg.ResourceParam[Platform],
    interaction_matrices: StoredValues,
    ranked_recommendations: StoredValues,
) -> Any:
    facts = {RECOMMENDATIONS: ShardFacts(), TOP_CANDIDATES: ShardFacts()}
    now = platform.now()
    for region, shards in platform.shards_by_region(context.partition_keys).items():
        database, snapshot = platform.databases[region], interaction_matrices[region]
        publisher = _ShardPublisher(
            database, snapshot, ranked_recommendations, now, platform, context.run.run_id
        )
        # The processor renders a shard while the database takes in the one before.
        for rendered in one_ahead(publisher.render, shards):
            shard, (report, rows, cards) = rendered.shard, publisher.publish(rendered)
            facts[RECOMMENDATIONS].add(shard, {}, rows=rows)
            facts[TOP_CANDIDATES].add(shard, {}, rows=cards)
            for each in facts.values():
                each.note(shard, generation=report.generation, flip_seconds=report.seconds)
            context.log.info("%s serves generation %d: %d rows", shard.key, report.generation, rows)
        drop_unreferenced(database, now=now, cursor_lifetime=CURSOR_LIFETIME)
    for key, each in facts.items():
        each.record(context, key)
        yield dg.MaterializeResult(asset_key=key)


@dataclass(frozen=True, eq=False)
class _RenderedShard:
    shard: Shard
    model_version: str
    lists: list[tuple[RecommendationRows, CardRows]]


class _ShardPublisher:
    """Renders and publishes the shards of one region; entities are rendered once for all."""

    def __init__(
        self,
        database: RegionalDatabase,
        snapshot: RegionSnapshot,
        ranked: StoredValues,
        now: datetime,
        platform: Platform,
        run_id: str,
    ) -> None:
        self._database, self._snapshot, self._ranked = database, snapshot, ranked
        self._now, self._run_id = now, run_id
        self._expires = now + timedelta(hours=platform.settings.recommendation_ttl_hours)
        self._renderers: dict[tuple[str, str], ListRenderer] = {}
        with database.transaction() as connection:
            self._names = {
                kind: load_names(connection, kind, entity.ids)
                for kind, entity in snapshot.entities.items()
            }

    def render(self, shard: Shard) -> "_RenderedShard":
        """The shard's rows and cards, by type."""
        ranked = self._snapshot.checked(self._ranked[shard.key], "ranked_recommendations")
        model_version = str(ranked["model_version"])
        people = self._snapshot.user_ids[self._snapshot.rows_of(shard)]
        lists = [
            self._renderer(kind, model_version).render(
                people, ranked[kind], created_at=self._now, expires_at=self._expires
            )
            for kind in self._snapshot.entities
        ]
        return _RenderedShard(shard, model_version, lists)

    def publish(self, rendered: "_RenderedShard") -> tuple[PublishReport, int, int]:
        """One generation of the shard, all types together: loaded beside, then flipped."""
        generation = open_generation(
            self._database, shard=rendered.shard.key, model_version=rendered.model_version,
            run_id=self._run_id, data_versions={"snapshot": self._snapshot.version}, now=self._now,
        )  # fmt: skip
        rows = [rows for rows, _ in rendered.lists]
        cards = [cards for _, cards in rendered.lists]
        counts = (
            load_recommendations(self._database, generation, rows),
            load_cards(self._database, generation, cards),
        )
        types = tuple(self._snapshot.entities)
        return publish(self._database, generation, entity_types=types, now=self._now), *counts

    def _renderer(self, kind: str, model_version: str) -> ListRenderer:
        key = (kind, model_version)
        if key not in self._renderers:
            entity, genres = self._snapshot.entities[kind], np.asarray(self._snapshot.genre_names)
            names = ListNames(self._names[kind], genres, main_genres(entity.genres, genres))
            ids = entity.ids
            self._renderers[key] = ListRenderer(kind, ids, names, model_version)
        return self._renderers[key]
