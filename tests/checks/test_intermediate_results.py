"""What is planted in intermediate results is found by a check that blocks, and nothing else is."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import dagster as dg
import numpy as np
import pytest

from seda.database.regions import Region
from seda.recommender.candidates import CandidateLists, CandidatePool
from seda_assets.assets.candidates import PER_SOURCE
from seda_assets.backfills import RANKED
from seda_assets.checks import intermediates
from seda_assets.checks.counting import Stored
from seda_assets.checks.intermediates import COUNTED, INTERMEDIATES, run_shards, validate_stored
from seda_assets.definitions import build_definitions
from tests.checks.conftest import PUBLISHED, Night
from tests.checks.planting import SHARD, evaluations, put, someone, stored

Failed = dict[tuple[str, str], str]
"""(asset, check) → what the rules say that do not hold."""


def failed_checks(night: Night, only: str | None = None) -> Failed:
    """What fails of every intermediate result, or of one, then of the shard alone."""
    suites = [suite for suite in INTERMEDIATES if only in (None, suite.relation)]
    keys = [SHARD] if only else list(night.platform.shards)
    asked = {
        dg.AssetKey(suite.asset_key): {check.name for check in suite.checks} for suite in suites
    }
    found = validate_stored(night.platform, suites, asked, keys)
    return {
        (key.path[-1], check): "; ".join(each.rule for _, each in outcomes if not each.passed)
        for (key, check), outcomes in found.items()
        if not all(each.passed for _, each in outcomes)
    }


def test_a_good_night_is_sound_and_every_count_is_asked_for(night: Night) -> None:
    assert failed_checks(night) == {}
    for region, shards in night.platform.shards_by_region(list(night.platform.shards)).items():
        there = Stored.of(night.platform, region, shards)
        for suite in INTERMEDIATES:
            rows = list(COUNTED[suite.relation](there))
            counted = {name for row in rows for name in row}
            columns = set(intermediates._columns(suite))
            assert counted <= columns, suite.relation
            assert columns <= counted | {"other_snapshot"}, suite.relation
    assert all(check.is_blocking for suite in INTERMEDIATES for check in suite.checks)


def changed(array: np.ndarray, at: Any, value: Any) -> np.ndarray:
    copy = array.copy()
    copy[at] = value
    return copy


def of_type(change: Callable[[Any], Any], kind: str = "artist") -> Callable[[Any], Any]:
    """The same change of what a stored mapping has for a type."""
    return lambda found: replace(found, value={**found.value, kind: change(found.value[kind])})


def als(**fields: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return of_type(lambda models: replace(models, als=replace(
        models.als, **{name: change(getattr(models.als, name)) for name, change in fields.items()}
    )))  # fmt: skip


def wild_weights(models: Any) -> Any:
    weights = models.ease.weights.copy()
    weights.indices = changed(weights.indices, 0, weights.shape[1])
    return replace(models, ease=replace(models.ease, weights=weights))


def pool(**fields: Callable[[CandidatePool], np.ndarray]) -> Callable[[Any], Any]:
    return of_type(
        lambda found: replace(found, **{name: make(found) for name, make in fields.items()})
    )


def crowded(found: CandidatePool) -> CandidatePool:
    """The first person has more candidates than all sources together may give."""
    more = np.arange(4 * PER_SOURCE + 1 - found.indptr[1], dtype=np.int32)
    return CandidatePool(
        changed(found.indptr, slice(1, None), found.indptr[1:] + len(more)),
        np.concatenate([more, found.items]),
        np.concatenate([np.ones(len(more), np.uint8), found.sources]),
    )


def lists(change: Callable[[CandidateLists], CandidateLists]) -> Callable[[Any], Any]:
    return of_type(change)


def wider(found: CandidateLists) -> CandidateLists:
    return CandidateLists(*(np.pad(each, ((0, 0), (0, 1)), constant_values=-1)
                            for each in (found.items, found.scores)))  # fmt: skip


def entity(**fields: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A change of what the snapshot has of artists."""

    def change(snapshot: Any) -> Any:
        found = snapshot.entities["artist"]
        made = {name: make(getattr(found, name)) for name, make in fields.items()}
        return replace(snapshot, entities={**snapshot.entities, "artist": replace(found, **made)})

    return change


def with_data(value: float) -> Callable[[Any], Any]:
    def change(matrix: Any) -> Any:
        copy = matrix.copy()
        copy.data = changed(copy.data, 0, value)
        return copy

    return change


def of_another_night(found: Any) -> Any:
    return replace(found, version="another")


POOLS, FITS, SNAPSHOT = f"candidate_sets/{SHARD}", "collaborative_factors", "interaction_matrices"
SOURCE, LISTED = f"content_candidates/{SHARD}", f"ranked_recommendations/{SHARD}"
FINITE = "every number is finite"
CATALOGUE = "nothing points outside of the catalogue or the people"
PEOPLE, TWICE = "there is one row for each person, and for nobody else", "nobody has an item twice"
MOVED = "positions are those of the snapshot that is stored"
DEFECTS: list[tuple[str, Callable[[Any], Any], str, str]] = [
    (f"{FITS}/global", als(items=lambda each: changed(each, (0, 0), np.nan)), "numbers", FINITE),
    (f"{FITS}/global", als(users=lambda each: changed(each, (1, 1), np.inf)), "numbers", FINITE),
    (f"{FITS}/global", als(users=lambda each: each[1:]), "positions", PEOPLE),
    (f"{FITS}/global", of_type(wild_weights), "positions", CATALOGUE),
    (f"{FITS}/global", of_another_night, "positions", MOVED),
    (POOLS, pool(indptr=lambda each: np.append(each.indptr, each.indptr[-1])), "positions", PEOPLE),
    (POOLS, pool(items=lambda each: changed(each.items, -1, 10_000)), "positions", CATALOGUE),
    (POOLS, of_another_night, "positions", MOVED),
    (POOLS, pool(items=lambda each: changed(each.items, 1, each.items[0])), "contents", TWICE),
    (POOLS, of_type(crowded), "contents", f"largest_pool is in [0, {4 * PER_SOURCE}]"),
    (POOLS, pool(indptr=lambda each: 0 * each.indptr, items=lambda each: each.items[:0],
                 sources=lambda each: each.sources[:0]), "contents",
     "a shard in which somebody listens has candidates"),
    (POOLS, pool(sources=lambda each: changed(each.sources, 0, 0)), "contents",
     "every candidate has a source"),
    (SOURCE, lists(lambda each: replace(each, items=changed(each.items, (0, 0), 10_000))),
     "positions", CATALOGUE),
    (SOURCE, lists(lambda each: replace(each, scores=changed(each.scores, (0, 0), np.nan))),
     "contents", FINITE),
    (SOURCE, lists(wider), "contents", f"largest_pool is in [0, {PER_SOURCE}]"),
    (LISTED, of_type(lambda each: replace(each, items=changed(
        each.items, (0, 1), each.items[0, 0]))), "contents", TWICE),
    (LISTED, of_type(lambda each: replace(each, scores=changed(each.scores, (0, 0), np.nan))),
     "contents", FINITE),
    (f"taste_vectors/{SHARD}", lambda each: replace(each, value=replace(
        each.value, vectors=changed(each.value.vectors, (0, 0), np.nan))), "numbers", FINITE),
    ("entity_clusters/global", of_type(lambda each: each[1:]), "positions",
     "there is one row for each item of the catalogue"),
    (f"{SNAPSHOT}/global", lambda each: replace(each, user_ids=changed(
        each.user_ids, 0, each.user_ids[1])), "positions", "an id has one position"),
    (f"{SNAPSHOT}/global", entity(ids=lambda each: changed(each, 0, each[1])), "positions",
     "an id has one position"),
    (f"{SNAPSHOT}/global", entity(plays=with_data(np.nan)), "numbers", FINITE),
    (f"{SNAPSHOT}/global", entity(recent=with_data(-1)), "numbers",
     "nothing was played less than never"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "change", "check", "rule"), DEFECTS)
def test_a_planted_defect_fails_the_check_that_blocks_it(
    night: Night, path: str, change: Callable[[Any], Any], check: str, rule: str
) -> None:
    asset = path.split("/")[0]
    with stored(night, path) as good:
        put(night, path, change(good))
        failed = failed_checks(night, asset)
    # A pool that is too large for the catalogue points outside of it, too.
    also = {(asset, "positions")} if rule.endswith(f"{4 * PER_SOURCE}]") else set()
    assert set(failed) == {(asset, check)} | also
    assert rule in failed[asset, check]


def test_who_opted_out_and_has_candidates_stops_the_night(night: Night) -> None:
    with stored(night, f"{SNAPSHOT}/global") as snapshot:
        put(night, f"{SNAPSHOT}/global", replace(snapshot, served=~snapshot.served))
        failed = failed_checks(night, "candidate_sets")
    assert set(failed) == {("candidate_sets", "contents")}
    assert "who opted out has no candidates" in failed["candidate_sets", "contents"]


def test_nothing_is_ranked_or_published_from_candidates_that_are_not_sound(night: Night) -> None:
    _, subject = someone(night)
    pointers, before = night.pointers(), night.feed(subject)
    checked = dg.AssetSelection.checks_for_assets(dg.AssetKey("candidate_sets"))
    again = dg.define_asset_job(
        "again", checked | dg.AssetSelection.assets(RANKED, *PUBLISHED),
        executor_def=dg.in_process_executor,
    )  # fmt: skip
    made = dg.Definitions.merge(build_definitions(night.platform), dg.Definitions(jobs=[again]))
    with stored(night, POOLS) as good:
        put(night, POOLS, pool(items=lambda each: changed(each.items, 1, each.items[0]))(good))
        result = made.resolve_job_def("again").execute_in_process(
            instance=night.instance, raise_on_error=False,
            tags={"dagster/partition": SHARD},
        )  # fmt: skip
        served = night.pointers(), night.feed(subject)
    assert not result.success
    failed = evaluations(result)
    assert set(failed) == {"contents"}
    said = failed["contents"].metadata
    assert said["failed"].value == 1
    for row in (f"| {TWICE} | global | 1 |", f"| 1 | {SHARD} | artist |"):
        assert row in said["what_failed"].value
    started = {event.step_key for event in result.all_events if event.is_step_start}
    assert started == {"check_candidate_sets"}
    assert served == (pointers, before)
    people = [str(row[0]) for region in Region for row in night.sql(
        "select id from seda.users", region=region)]  # fmt: skip
    assert not any(person in str(said) for person in people)


def test_a_run_is_checked_for_its_own_shards() -> None:
    assert run_shards({"dagster/partition": SHARD}) == [SHARD]
    assert len(run_shards({})) > 8
    bounds = {
        "dagster/asset_partition_range_start": "global-02",
        "dagster/asset_partition_range_end": SHARD,
    }
    assert run_shards(bounds) == ["global-02", SHARD]
