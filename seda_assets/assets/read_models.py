"""Publishing: rows and cards of a new generation are loaded beside, inspected, and flipped to.

What was loaded is inspected before any of it is served: where an invariant is broken nothing of the
run is, the blocking checks say what, and yesterday's lists stay.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import numpy as np

from seda.activity.snapshot import RegionSnapshot
from seda.catalogue.names import load_names
from seda.database.regions import Region, RegionalDatabase, Shard
from seda.experiments.assignment import CANARY
from seda.experiments.canaries import close_promoted, note_assignments, serving_experiment
from seda.publishing.cards import ENTITY_TYPES
from seda.publishing.generations import (
    ExperimentOverError,
    drop_unreferenced,
    load_cards,
    load_recommendations,
    open_generation,
    publish,
)
from seda.publishing.inspection import (
    Finding,
    LoadedGeneration,
    UnsoundGenerationError,
    inspect,
)
from seda.publishing.lists import ListNames, ListRenderer, main_genres
from seda.publishing.rows import CardRows, RecommendationRows
from seda.publishing.served import ranked_by
from seda.recommender.cores import one_ahead
from seda_assets.assets.canary_arm import CANARY_LISTS
from seda_assets.assets.column_schemas import columns
from seda_assets.assets.shard_facts import ShardFacts
from seda_assets.automation.freshness import NIGHTLY
from seda_assets.automation.partitions import LISTS, shard_runs, user_shards
from seda_assets.checks.published import published_specs, published_verdicts
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


@dataclass(frozen=True)
class CanaryGeneration:
    """A loaded generation of a canary's people, and the experiment that it was ranked for."""

    experiment: str
    loaded: LoadedGeneration
    served: dict[str, float | str]
    """What its shard says of it."""


@dg.multi_asset(
    specs=[
        _spec(RECOMMENDATIONS, "Top 50 per person and type, by generation.",
              _RECOMMENDATION_COLUMNS),
        _spec(TOP_CANDIDATES, "The feed's read model: one row per person and type with ready "
              "cards, published together with the recommendations.", _CARD_COLUMNS),
    ],
    ins={name: dg.AssetIn(name) for name in ("interaction_matrices", "ranked_recommendations")},
    check_specs=published_specs(),
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
    now, began = platform.now(), begun(context.instance, context.run)
    loaded: dict[Region, list[tuple[LoadedGeneration, CanaryGeneration | None]]] = {}
    findings: list[Finding] = []
    for region, shards in platform.shards_by_region(context.partition_keys).items():
        database, snapshot = platform.databases[region], interaction_matrices[region]
        publisher = _ShardPublisher(
            database, snapshot, ranked_recommendations, now, platform, context.run.run_id
        )
        # The processor renders a shard while the database takes in the one before.
        for rendered in one_ahead(publisher.render, shards):
            control, rows, cards = publisher.load(rendered)
            facts[RECOMMENDATIONS].add(rendered.shard, {}, rows=rows)
            facts[RECOMMENDATIONS].note(rendered.shard, **rendered.serves())
            facts[TOP_CANDIDATES].add(rendered.shard, {}, rows=cards)
            loaded.setdefault(region, []).append((control, publisher.load_canary(rendered)))
        findings += _inspected(database, loaded[region], began)
    yield from published_verdicts(findings)
    _refuse_unsound(findings)
    for region, generations in loaded.items():
        database = platform.databases[region]
        for control, canary in generations:
            report = publish(database, control.generation, entity_types=ENTITY_TYPES, now=now)
            for fact in facts.values():
                fact.note(control.shard, generation=control.generation, flip_seconds=report.seconds)
            context.log.info("%s serves generation %d", control.shard.key, control.generation)
            if served := _serve_canary(database, control, canary, now=now, log=context.log):
                own = canary is not None and served == canary.loaded.generation
                serves = canary.served if canary and own else {}
                facts[RECOMMENDATIONS].note(control.shard, canary_generation=served, **serves)
        with database.transaction() as connection:
            close_promoted(connection, now=now)
        drop_unreferenced(database, now=now, cursor_lifetime=CURSOR_LIFETIME)
    for key, each_fact in facts.items():
        each_fact.record(context, key)
        yield dg.MaterializeResult(asset_key=key)


def begun(instance: dg.DagsterInstance, run: dg.DagsterRun) -> datetime:
    """When the run began; a run that goes on where another failed began with that one."""
    record = instance.get_run_record_by_id(run.run_id)
    while record and (parent := record.dagster_run.parent_run_id) and _goes_on(record.dagster_run):
        record = instance.get_run_record_by_id(parent)
    if record is None:
        return datetime.now(UTC)
    started = record.start_time or record.create_timestamp.timestamp()
    return datetime.fromtimestamp(started, UTC)


def _goes_on(run: dg.DagsterRun) -> bool:
    """Whether the run takes what another one made; one that repeats everything makes it anew."""
    return run.tags.get("dagster/resume_retry") == "true"


def _refuse_unsound(findings: list[Finding]) -> None:
    if findings:
        broken = sorted({str(each.invariant) for each in findings})
        raise UnsoundGenerationError(
            f"Nothing was published, and what was served is still served: {'; '.join(broken)} "
            f"does not hold ({findings[0]}{', …' if len(findings) > 1 else ''}). See the checks "
            "of this asset and docs/checks.md."
        )


def _inspected(
    database: RegionalDatabase,
    loaded: Sequence[tuple[LoadedGeneration, CanaryGeneration | None]],
    begun: datetime,
) -> list[Finding]:
    controls = [control for control, _ in loaded]
    canaries = [canary.loaded for _, canary in loaded if canary]
    with database.transaction() as connection:
        return [
            *inspect(connection, controls, begun=begun),
            *inspect(connection, canaries, begun=begun, arm=CANARY),
        ]


def _serve_canary(
    database: RegionalDatabase, control: LoadedGeneration, canary: CanaryGeneration | None, *,
    now: datetime, log: logging.Logger,
) -> int | None:  # fmt: skip
    """Serve the canary's people its lists, or the control's where it was not ranked; after its
    promotion everybody's lists, once it is the version that ranked them.

    The generation that they get; None where no experiment is served (any more), or they keep what
    they have.
    """
    with database.transaction() as connection:
        serving = serving_experiment(connection)
        version = ranked_by(connection, control.generation)
    if serving is None:
        return None
    chosen = canary.loaded if canary and canary.experiment == serving.name else control
    if chosen is control and not serving.running and version != serving.canary_version:
        return None  # promoted while the control's lists were on their way
    try:
        report = publish(
            database, chosen.generation,
            entity_types=ENTITY_TYPES, arm=CANARY, experiment=serving.name, now=now,
            allow_empty=True,
        )  # fmt: skip
    except ExperimentOverError as problem:
        log.info(str(problem))
        return None
    return report.generation


@dataclass(frozen=True, eq=False)
class _RenderedShard:
    shard: Shard
    model_version: str
    lists: list[tuple[RecommendationRows, CardRows]]
    experiment: str | None = None
    """Of the canary whose lists these are."""
    canary: "_RenderedShard | None" = None

    def serves(self, arm: str = "") -> dict[str, float | str]:
        """Which version ranked the lists of how many people; `arm` is put before the names."""
        people = np.unique(np.concatenate([cards.user_ids for _, cards in self.lists]), axis=0)
        return {f"{arm}model_version": self.model_version, f"{arm}people": len(people)}


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

    def render(self, shard: Shard) -> _RenderedShard:
        """The shard's rows and cards, by type; the canary's too where it was ranked."""
        ranked = self._snapshot.checked(self._ranked[shard.key], "ranked_recommendations")
        canary = ranked.get(CANARY_LISTS)
        return self._rendered(shard, ranked, self._rendered(shard, canary) if canary else None)

    def load_canary(self, rendered: _RenderedShard) -> CanaryGeneration | None:
        """The lists of the canary's people, loaded beside; None where nothing was ranked for the
        experiment that is under way."""
        with self._database.transaction() as connection:
            serving = serving_experiment(connection)
        ours = rendered.canary
        if not ours or not serving or ours.experiment != serving.name:
            return None
        loaded, *_ = self.load(ours)
        with self._database.transaction() as connection:
            note_assignments(connection, serving, rendered.shard.buckets, now=self._now)
        return CanaryGeneration(serving.name, loaded, ours.serves("canary_"))

    def _rendered(
        self, shard: Shard, ranked: Any, canary: _RenderedShard | None = None
    ) -> _RenderedShard:
        model_version = str(ranked["model_version"])
        people = self._snapshot.user_ids[self._snapshot.rows_of(shard)]
        lists = [
            self._renderer(kind, model_version).render(
                people, ranked[kind], created_at=self._now, expires_at=self._expires
            )
            for kind in self._snapshot.entities
        ]
        return _RenderedShard(shard, model_version, lists, ranked.get("experiment"), canary)

    def load(self, rendered: _RenderedShard) -> tuple[LoadedGeneration, int, int]:
        """One generation of the shard, all types together, loaded beside; rows and lists of it."""
        generation = open_generation(
            self._database, shard=rendered.shard.key, model_version=rendered.model_version,
            run_id=self._run_id, data_versions={"snapshot": self._snapshot.version}, now=self._now,
            experiment=rendered.experiment,
        )  # fmt: skip
        rows = [rows for rows, _ in rendered.lists]
        cards = [cards for _, cards in rendered.lists]
        return (
            LoadedGeneration(generation, rendered.shard),
            load_recommendations(self._database, generation, rows),
            load_cards(self._database, generation, cards),
        )

    def _renderer(self, kind: str, model_version: str) -> ListRenderer:
        key = (kind, model_version)
        if key not in self._renderers:
            entity, genres = self._snapshot.entities[kind], np.asarray(self._snapshot.genre_names)
            names = ListNames(self._names[kind], genres, main_genres(entity.genres, genres))
            ids = entity.ids
            self._renderers[key] = ListRenderer(kind, ids, names, model_version)
        return self._renderers[key]
