"""The whole graph on the smoke world: everybody gets explained, new, allowed things."""

import dagster as dg
import numpy as np
import pytest

from seda.database.arrays import unpack
from seda.database.regions import Region
from seda.experiments.assignment import arm_of
from seda.experiments.canaries import promote_canary, serving_experiment, start_canary
from seda.privacy.files import unclassified_files
from seda.privacy.residency import scan
from seda.recommender.ranking import contributions_of, linear_weights, score_of
from seda.registry.models import BLEND, ModelVersion, get_active, register
from seda_assets.assets.sources import SOURCES
from seda_assets.automation.sensors import unserved_people, unserved_shards
from seda_assets.definitions import build_definitions
from seda_assets.materialize import materialize_graph
from tests.assets.conftest import World

_SERVED = """
    select r.* from seda.recommendations r
    join seda.generation_pointer p using (generation, entity_type)"""


def _rows(world: World, query: str, region: Region = Region.GLOBAL) -> list[tuple]:
    with world.platform.databases[region].transaction() as connection:
        return connection.execute(query).fetchall()


def test_everything_is_materialised_in_one_run(world: World) -> None:
    assert world.result.success
    keys = {key.path[-1] for key in world.instance.all_asset_keys()}
    assert {"recommendations", "mv_user_top_candidates", "taste_vectors"} <= keys
    partitions = world.instance.get_materialized_partitions(
        dg.AssetKey(["seda", "recommendations"])
    )
    assert partitions == set(world.platform.shards)


def test_every_source_is_observed_with_its_columns(world: World) -> None:
    for name in SOURCES:
        latest = world.instance.fetch_observations(dg.AssetKey(["seda", name]), limit=1).records
        assert latest, name
        metadata = latest[0].asset_observation.metadata
        assert metadata["dagster/row_count"].value >= 0
        assert len(metadata["dagster/column_schema"].value.columns) > 1


@pytest.mark.parametrize("region", list(Region))
def test_every_person_has_lists_of_all_three_types_in_their_own_region(
    world: World, region: Region
) -> None:
    without = _rows(
        world,
        "select u.id, t.kind from seda.users u cross join (values ('room'), ('playlist'), "
        "('artist')) t(kind) where u.deleted_at is null "
        "and coalesce((u.privacy_settings ->> 'recommendations')::boolean, true) "
        "and not exists (select from seda.mv_user_top_candidates c join seda.generation_pointer p "
        "using (generation, entity_type) where c.user_id = u.id and c.entity_type = t.kind)",
        region,
    )
    assert without == []


@pytest.mark.parametrize("region", list(Region))
def test_lists_are_ranked_without_gaps_and_explained(world: World, region: Region) -> None:
    (bad,) = _rows(
        world,
        f"select count(*) from ({_SERVED}) r where score not between 0 and 1 "
        "or jsonb_array_length(context -> 'reasons') = 0 or expires_at <= created_at",
        region,
    )[0]
    assert bad == 0
    gaps = _rows(
        world,
        f"select user_id, entity_type from ({_SERVED}) r group by 1, 2 "
        "having max(rank) <> count(*) or count(distinct entity_id) <> count(*)",
        region,
    )
    assert gaps == []


@pytest.mark.parametrize("region", list(Region))
def test_nothing_known_own_private_or_suppressed_is_recommended(
    world: World, region: Region
) -> None:
    for already in (
        "select user_id, entity_id from seda.activity_counts",
        "select user_id, room_id from seda.room_members",
        "select user_id, artist_id from seda.artist_follows",
        "select owner_user_id, id from seda.playlists where owner_user_id is not null",
        "select user_id, entity_id from seda.suppressions",
    ):
        (count,) = _rows(
            world,
            f"select count(*) from ({_SERVED}) r join ({already}) k(user_id, entity_id) "
            "on k.user_id = r.user_id and k.entity_id = r.entity_id",
            region,
        )[0]
        assert count == 0, already
    assert _rows(
        world,
        f"select count(*) from ({_SERVED}) r join seda.playlists p on p.id = r.entity_id "
        "where p.visibility = 'private'",
        region,
    ) == [(0,)]


def test_each_partition_tells_of_itself(world: World) -> None:
    served = dict(
        _rows(
            world,
            "select g.shard, count(*) from seda.recommendations r "
            "join seda.generations g using (generation) "
            "join seda.generation_pointer p using (generation, entity_type) group by 1",
        )
    )
    told = {}
    for record in world.instance.fetch_materializations(
        dg.AssetKey(["seda", "recommendations"]), limit=100
    ).records:
        told[record.partition_key] = record.asset_materialization.metadata["dagster/row_count"]
    assert served == {key: value.value for key, value in told.items() if key in served}


def test_the_novelty_quota_holds_at_every_prefix(world: World) -> None:
    violations = _rows(
        world,
        "select user_id, entity_type, rank from (select user_id, entity_type, rank, "
        "count(*) filter (where (context ->> 'is_new')::boolean) over (partition by user_id, "
        f"entity_type order by rank) as fresh from ({_SERVED}) r) each "
        "where fresh < floor(0.3 * rank)",
    )
    ranked = world.instance.fetch_materializations(
        dg.AssetKey("ranked_recommendations"), limit=100
    ).records
    shortfall = sum(
        value.value
        for record in ranked
        for name, value in record.asset_materialization.metadata.items()
        if name.endswith("_novelty_shortfall")
    )
    assert shortfall > 0 or violations == []


def test_stored_contributions_give_the_stored_score(world: World) -> None:
    (worst,) = _rows(
        world,
        "select max(abs(score - 1 / (1 + exp(-(select sum(v::float8) from "
        f"unnest(contributions) v))))) from ({_SERVED}) r",
    )[0]
    assert worst < 1e-6  # contributions are for reading: single precision


def test_stored_signals_and_the_model_give_the_stored_score(world: World) -> None:
    with world.platform.databases[Region.GLOBAL].transaction() as connection:
        model = get_active(connection, BLEND)
    storage = world.platform.storages[Region.GLOBAL]
    learned = unpack(storage.get_arrays("learned_rankers/global")).value
    design = linear_weights(model.kind, model.config)
    for kind, found in learned.items():
        rows = _rows(
            world,
            f"select score, signals, model_version from ({_SERVED}) r where entity_type = '{kind}'",
        )
        scores, signals, versions = zip(*rows, strict=True)
        assert set(versions) == {model.version}
        ranker = found.ranker(model.kind, design)
        again = score_of(contributions_of(ranker, np.array(signals, np.float32)))
        np.testing.assert_allclose(again, scores, atol=1e-9)


def test_one_place_explores_outside_the_first_ten_and_logs_its_chance(world: World) -> None:
    rows = _rows(
        world,
        "select rank, (context -> 'exploration' ->> 'propensity')::float8, "
        "context -> 'exploration' ->> 'instead_of', entity_id::text "
        f"from ({_SERVED}) r where context ? 'exploration'",
    )
    assert rows
    assert {rank for rank, *_ in rows} == {15}
    assert all(0 < propensity <= 1 for _, propensity, *_ in rows)
    assert all(instead != shown for *_, instead, shown in rows)


def test_a_second_run_publishes_a_new_generation_of_the_same_lists(world: World) -> None:
    lists = f"select md5(string_agg(id::text || rank, ',' order by user_id, id)) from ({_SERVED}) r"
    before = _rows(world, lists)
    generations = _rows(world, "select max(generation) from seda.generation_pointer")
    vectors = _rows(world, "select count(*) from seda.embeddings_audit")
    assert materialize_graph(world.platform, world.instance).success
    assert _rows(world, lists) == before
    assert _rows(world, "select max(generation) from seda.generation_pointer") > generations
    assert _rows(world, "select count(*) from seda.embeddings_audit") == vectors


def test_one_partition_can_be_run_alone_and_moves_no_other(world: World) -> None:
    pointers = "select shard, max(generation) from seda.generation_pointer group by shard"
    before = dict(_rows(world, pointers))
    job = build_definitions(world.platform).resolve_job_def("nightly")
    done = job.execute_in_process(
        instance=world.instance,
        partition_key="global-03",
        asset_selection=[
            dg.AssetKey("ranked_recommendations"),
            dg.AssetKey(["seda", "recommendations"]),
            dg.AssetKey(["seda", "mv_user_top_candidates"]),
        ],
    )
    assert done.success
    after = dict(_rows(world, pointers))
    assert {shard for shard in after if after[shard] != before[shard]} == {"global-03"}


def test_people_without_lists_set_off_one_run(world: World) -> None:
    assert unserved_shards(world.platform) == {}
    context = dg.build_sensor_context(
        instance=world.instance, resources={"platform": world.platform}
    )
    assert isinstance(unserved_people(context), dg.SkipReason)
    with world.platform.databases[Region.EU].transaction() as connection:
        connection.execute("delete from seda.generation_pointer where shard = 'eu-00'")
    first, second = unserved_people(context), unserved_people(context)
    assert isinstance(first, dg.RunRequest)
    assert first.run_key == second.run_key


def test_metadata_holds_counts_but_no_row_of_a_person(world: World) -> None:
    people = {str(row[0]) for row in _rows(world, "select id from seda.users")}
    people |= {row[0] for row in _rows(world, "select display_name from seda.users")}
    for event in world.result.results[0].get_asset_materialization_events():
        text = str(event.materialization.metadata)
        assert not any(person in text for person in people if len(person) > 8)


def test_the_evaluation_of_every_region_and_type_is_shown_with_its_plots(world: World) -> None:
    latest = world.instance.get_latest_materialization_event(dg.AssetKey("offline_evaluation"))
    metadata = latest.asset_materialization.metadata
    for region in Region:
        for kind in ("artist", "playlist", "room"):
            name = f"{kind}_{region}"
            assert metadata[f"{name}_leaks"].value == 0
            assert metadata[f"{name}_ndcg"].value > 0
            assert "| published |" in metadata[f"{name}_table"].value
            assert "| popularity |" in metadata[f"{name}_table"].value
            assert metadata[f"{name}_methods"].value.startswith("![figure](data:image/png;base64,")


def test_a_canarys_people_are_ranked_by_both_versions_and_the_others_by_one(world: World) -> None:
    database = world.platform.databases[Region.GLOBAL]
    config = {"content": 0.1, "collaborative": 0.2, "social": 0.1, "popularity": 0.9}
    with database.transaction() as connection:
        register(connection, ModelVersion(BLEND, "popular-1", "linear", config), {})
        experiment = start_canary(
            connection, "popular-1", share=0.1, actor="test", now=world.platform.now()
        )
        control = get_active(connection, BLEND).version
    only = ["ranked_recommendations", "recommendations", "mv_user_top_candidates", "canary_gate"]
    assert materialize_graph(world.platform, world.instance, only=only).success
    lists = _rows(
        world,
        "select p.arm, c.user_id, c.entity_type, c.model_version, c.entity_ids "
        "from seda.mv_user_top_candidates c "
        "join seda.generation_pointer p using (generation, entity_type)",
    )
    of_arm = {
        arm: {(user, kind): (version, ids) for each, user, kind, version, ids in lists
              if each == arm}
        for arm in ("control", "canary")
    }  # fmt: skip
    people = {user for user, _ in of_arm["control"]}
    drawn = {user for user in people if arm_of(experiment.name, user, 0.1) == "canary"}
    assert {user for user, _ in of_arm["canary"]} == drawn
    assert 0 < len(drawn) < len(people) / 4
    assert {version for version, _ in of_arm["control"].values()} == {control}
    assert {version for version, _ in of_arm["canary"].values()} == {"popular-1"}
    # The same people and candidates in another order, and the control's lists are there to go back.
    assert set(of_arm["canary"]) <= set(of_arm["control"])
    same = sum(of_arm["control"][key][1] == ids for key, (_, ids) in of_arm["canary"].items())
    assert same < len(of_arm["canary"]) / 2
    noted = _rows(world, "select count(*) from seda.experiment_assignments where arm = 'canary'")
    assert noted[0][0] >= len(drawn)
    # The page of what is published says which model ranked for how many, shard by shard.
    told = [_served(world, shard) for shard in world.platform.shards if shard.startswith("global")]
    assert {each["model_version"] for each in told} == {control}
    assert sum(each["people"] for each in told) == len(people)
    assert {each["canary_model_version"] for each in told} == {"popular-1"}
    assert sum(each["canary_people"] for each in told) == len(drawn)
    assert "canary_people" not in _served(world, "eu-00")
    gate = world.instance.get_latest_materialization_event(dg.AssetKey("canary_gate"))
    metadata = gate.asset_materialization.metadata
    assert metadata["global_verdict"].value == "not enough data"
    assert metadata["global_serves"].value.splitlines()[2:] == [
        f"| control | {control} | 8 | {len(people) - len(drawn)} |",
        f"| canary | popular-1 | {_shards_of(world, drawn)} | {len(drawn)} |",
    ]
    assert "| privacy | pass |" in metadata["global_gates"].value
    assert metadata["eu_verdict"].value == "no canary runs"


def _served(world: World, shard: str) -> dict:
    """What the newest publication of a shard's recommendations says of itself."""
    newest = world.instance.fetch_materializations(
        dg.AssetRecordsFilter(
            asset_key=dg.AssetKey(["seda", "recommendations"]), asset_partitions=[shard]
        ),
        limit=1,
    ).records[0]
    return {name: each.value for name, each in newest.asset_materialization.metadata.items()}


def _shards_of(world: World, people: set) -> int:
    """How many shards these people of the global region are in."""
    buckets = dict(_rows(world, "select id, bucket from seda.users"))
    return len({(buckets[each] + 1) * 8 - 1 >> 6 for each in people})


def test_a_promotion_during_the_night_takes_no_list_from_anybody(world: World) -> None:
    database = world.platform.databases[Region.GLOBAL]
    with database.transaction() as connection:
        if serving_experiment(connection) is None:
            register(connection, ModelVersion(BLEND, "popular-1", "linear", {"popularity": 1}), {})
            start_canary(connection, "popular-1", share=0.1, actor="test",
                         now=world.platform.now())  # fmt: skip
    assert materialize_graph(
        world.platform, world.instance, only=["ranked_recommendations"]
    ).success
    with database.transaction() as connection:
        promote_canary(connection, actor="test", reason="x", now=world.platform.now())
    published = ["recommendations", "mv_user_top_candidates"]
    assert materialize_graph(world.platform, world.instance, only=published).success
    # What the night had ranked is served, to both arms; the canary's people keep their version.
    arms = (
        "select distinct p.arm, g.model_version from seda.generation_pointer p "
        "join seda.generations g using (generation) order by 1"
    )
    (_, canary), (_, before) = _rows(world, arms)
    assert canary == "popular-1"
    assert before != "popular-1"
    assert materialize_graph(
        world.platform, world.instance, only=["ranked_recommendations", *published]
    ).success
    assert _rows(world, arms) == [("control", "popular-1")]
    with database.transaction() as connection:
        assert serving_experiment(connection) is None


def test_every_file_that_the_graph_writes_has_a_privacy_class(world: World) -> None:
    home = world.platform.settings.home_directory()
    written = [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]
    assert len(written) > 10
    assert unclassified_files(written) == []


def test_nobody_of_one_region_is_in_the_other_ones_rows_or_matrices(world: World) -> None:
    found = scan(world.platform.databases, world.platform.storages)
    assert [each for each in found if each.what != "people of a country of the EEA"] == []
