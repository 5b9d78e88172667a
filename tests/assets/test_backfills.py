"""A new model marks what it concerns, one backfill computes it, and a second repeats nothing; what
is killed on the way leaves nothing behind."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
from pydantic import SecretStr

from benchmarks.drills.nights import (
    Nights,
    differing,
    final_tables,
    kill_sessions,
    random_moments,
    reading,
    wrong_reads,
)
from benchmarks.drills.queued_nights import QueuedNights
from seda.cli.services import child_environment
from seda.database.embedded import EmbeddedServer
from seda.database.regions import Databases, Region
from seda.registry.models import BLEND, ModelVersion, get_active, promote, register
from seda.settings import REPOSITORY
from seda_assets.assets.registry import MODEL_REGISTRY
from seda_assets.automation.partitions import backfill_policy
from seda_assets.backfills import (
    MATRICES,
    PUBLISHED,
    RANKED,
    Backfill,
    InactiveModelError,
    UnknownShardError,
    outdated_shards,
    plan_backfill,
    runs_of,
)
from seda_assets.definitions import build_definitions
from seda_assets.run_backfill import plan, run_backfill
from seda_assets.staleness import stale_parts
from tests.assets.small_world import SmallWorld, small_world

RANKING = {RANKED, *PUBLISHED}
GLOBAL = tuple(f"global-{index:02d}" for index in range(8))
_GENERATIONS = (
    "select shard, count(*) from seda.generations where published_at is not null group by shard"
)
_REFUSED = """
    create function seda.refuse() returns trigger language plpgsql as
        $$ begin raise exception 'the disk is full'; end $$;
    create trigger refuse before insert or update on seda.generation_pointer for each row
        when (new.shard = '{}') execute function seda.refuse()"""
_ACCEPTED = "drop trigger refuse on seda.generation_pointer; drop function seda.refuse()"


@pytest.fixture(scope="module")
def world(server: EmbeddedServer, tmp_path_factory) -> Iterator[SmallWorld]:
    home = tmp_path_factory.mktemp("home")
    with small_world(server, home, f"backfills_{time.time_ns()}") as made:
        assert made.night().success
        yield made


def _activate(world: SmallWorld, version: str, region: Region = Region.GLOBAL) -> None:
    """Makes a copy of the active version active under another name."""
    with world.platform.databases[region].transaction() as connection:
        active = get_active(connection, BLEND)
        register(connection, ModelVersion(BLEND, version, active.kind, active.config), {})
        promote(connection, BLEND, version, now=world.platform.now())


def _observe(world: SmallWorld) -> None:
    job = build_definitions(world.platform).resolve_job_def("observe_sources")
    assert job.execute_in_process(instance=world.instance).success


def _stale(world: SmallWorld, graph=None) -> dict[str, str]:
    """Name of a stale asset → why, over the whole graph."""
    graph = graph or build_definitions(world.platform).resolve_asset_graph()
    keys = graph.materializable_asset_keys
    found = stale_parts(world.instance, graph, keys, list(world.platform.shards))
    return {
        key.path[-1]: "; ".join(sorted({why.said for why in parts.values()}))
        for key, parts in found.items()
    }


def _edited(world: SmallWorld, folder: Path, file: str, old: str, new: str) -> BaseAssetGraph:
    """The same graph over a copy of the code in which one file says something else."""
    for room in ("seda", "seda_assets"):
        shutil.copytree(
            REPOSITORY / room, folder / room,
            ignore=shutil.ignore_patterns("__pycache__", "migrations"),
        )  # fmt: skip
    path = folder / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    return build_definitions(world.platform, code=folder).resolve_asset_graph()


@pytest.fixture
def queued(
    world: SmallWorld, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[QueuedNights]:
    """A daemon and a code server over the world."""
    url = server.uri(f"queued_{time.time_ns()}")
    settings = world.platform.settings.model_copy(update={"dagster_database_url": SecretStr(url)})
    databases = Databases(settings)
    for name, value in child_environment(settings, databases).items():
        monkeypatch.setenv(name, value)  # whatever the instance sets is undone
    with tempfile.TemporaryDirectory(prefix="seda-") as folder:  # a socket's path must be short
        nights = QueuedNights(databases, Path(folder), every=0)
        yield nights
        nights.close()


def test_kills_show_nobody_a_part_of_a_night_and_the_next_one_repairs(
    world: SmallWorld, queued: QueuedNights
) -> None:
    """At full size, with the database itself killed: `python -m benchmarks.nightly_kills`."""
    databases = world.platform.databases
    before = final_tables(databases)
    night = "nightly-20260901T0215"
    nights = Nights(databases.settings)
    with reading(databases) as readings:
        assert nights.killed(day=1, seconds=random_moments(1, 8.0, seed=11)[0])
        nights.struck(2, random_moments(6, 12.0, seed=12), lambda: kill_sessions(databases))
        queued.ask(night)
        queued.until_at_work(night)
        for service in queued.services.values():
            service.kill()
        # It goes on without them, and whoever comes after them does not start it again.
        assert queued.ended(night).status is dg.DagsterRunStatus.SUCCESS
        assert queued.asked().keys == {night: 1}
        assert world.night(observed=False).success
    assert readings.count > 20
    assert readings.refused > 0  # it went on after its connections were cut
    assert wrong_reads(readings) == 0
    assert differing(before, final_tables(databases)) == {}


def test_a_new_version_is_computed_by_one_backfill_which_a_failure_only_interrupts(
    world: SmallWorld,
) -> None:
    assert _stale(world) == {}
    assert plan(world.platform, world.instance).is_empty
    _activate(world, "linear-2")
    _observe(world)
    # The UI says it of what reads the registry; what follows is marked once that has moved.
    assert set(_stale(world)) == {"ranked_recommendations"}
    assert MODEL_REGISTRY.path[-1] in _stale(world)["ranked_recommendations"]

    backfill = plan(world.platform, world.instance, model="linear-2", shards=GLOBAL)
    assert (backfill.shared, backfill.by_shard) == (frozenset(), RANKING)
    assert backfill.shards == GLOBAL
    before = dict(world.rows(_GENERATIONS))
    world.sql(_REFUSED.format("global-05"))
    told = run_backfill(world.platform, world.instance, backfill)
    assert not told.success
    assert "the disk is full" in told.failed[0][1]
    world.sql(_ACCEPTED)

    rest = plan(world.platform, world.instance)
    assert rest.shards == GLOBAL[5:]
    assert run_backfill(world.platform, world.instance, rest).success
    assert plan(world.platform, world.instance).is_empty
    made = {shard: count - before[shard] for shard, count in world.rows(_GENERATIONS)}
    assert made == dict.fromkeys(GLOBAL, 1)
    # A run that failed has not recorded what it had published; the rows have.
    assert "ranked_recommendations" not in _stale(world)


def test_on_a_cluster_each_shard_is_a_run_and_one_that_fails_stops_no_other(
    world: SmallWorld,
) -> None:
    _activate(world, "linear-3", Region.EU)
    with pytest.raises(InactiveModelError, match="global region ranks with"):
        plan(world.platform, world.instance, model="linear-3")
    with pytest.raises(UnknownShardError, match="global-99"):
        plan(world.platform, world.instance, shards=["global-99"])
    backfill = plan(world.platform, world.instance, shards=["eu-00", "eu-01"])
    world.sql(_REFUSED.format("eu-00"), Region.EU)
    cluster = type(world.platform)(
        world.platform.settings.model_copy(update={"runs": "per-shard"}), now=world.platform.now()
    )
    told = run_backfill(cluster, world.instance, backfill)
    world.sql(
        "drop trigger refuse on seda.generation_pointer; drop function seda.refuse()", Region.EU
    )
    assert [run.shards for run in told.done] == [("eu-01", "eu-01")]
    assert [run.shards for run, _ in told.failed] == [("eu-00", "eu-00")]
    assert set(outdated_shards(world.platform)) == {"eu-00"}
    assert plan(world.platform, world.instance).shards == ("eu-00",)


def test_changed_code_marks_what_computes_with_it_and_no_other(
    world: SmallWorld, tmp_path: Path
) -> None:
    function = "def trending_candidates("
    file = "seda/recommender/candidates.py"
    said = f"# Another comment.\nNOBODYS = 1\n\n\n{function}"
    same = _edited(world, tmp_path / "same", file, function, said)
    assert _stale(world, same) == _stale(world)
    changed = _edited(world, tmp_path / "changed", file, function, f"{function}_more=0, *")
    new_code = {name for name, why in _stale(world, changed).items() if "code" in why}
    assert new_code == {"trending_candidates"}

    job = build_definitions(world.platform).resolve_job_def("model_backfill")
    chain = job.asset_layer.selected_asset_keys
    backfill = plan_backfill(world.platform, world.instance, changed, chain)
    assert backfill.shards == tuple(world.platform.shards)
    assert {key.path[-1] for key in backfill.by_shard | backfill.shared} == {
        "trending_candidates", "candidate_sets", "ranked_recommendations", "recommendations",
        "mv_user_top_candidates",
    }  # fmt: skip


def test_where_people_came_since_the_night_positions_are_computed_again(world: SmallWorld) -> None:
    _activate(world, "linear-4")
    world.sql("insert into seda.users (display_name) values ('New')")
    job = build_definitions(world.platform).resolve_job_def("hourly")
    done = job.execute_in_process(
        instance=world.instance, asset_selection=[MATRICES], raise_on_error=True
    )
    assert done.success
    backfill = plan(world.platform, world.instance, shards=["global-00"])
    assert MATRICES in backfill.shared
    assert dg.AssetKey("collaborative_factors") in backfill.shared
    assert {dg.AssetKey("candidate_sets"), *RANKING} <= backfill.by_shard
    assert "people or catalogue changed" in " ".join(backfill.reasons)


def test_runs_are_contiguous_ranges_or_shards_after_what_they_share() -> None:
    shards = list("abcdef")
    shared, by_shard = frozenset({MATRICES}), frozenset({RANKED})
    backfill = Backfill(shared, by_shard, ("a", "b", "d"), ())
    one = runs_of(backfill, shards, one=True)
    assert [(run.assets, run.shards) for run in one] == [
        (shared | by_shard, ("a", "b")),
        (by_shard, ("d", "d")),
    ]
    many = runs_of(backfill, shards, one=False)
    assert [(run.assets, run.shards) for run in many] == [
        (shared, None), (by_shard, ("a", "a")), (by_shard, ("b", "b")), (by_shard, ("d", "d")),
    ]  # fmt: skip
    assert runs_of(Backfill(shared, frozenset(), (), ()), shards, one=False)[0].tags == {}
    assert runs_of(Backfill(frozenset(), frozenset(), (), ()), shards, one=True) == []


def test_a_setting_says_how_many_runs_the_ui_makes() -> None:
    from seda.settings import Settings

    one = Settings(_env_file=None, runs="one")
    assert backfill_policy(one) == dg.BackfillPolicy.single_run()
    many = one.model_copy(update={"runs": "per-shard"})
    assert backfill_policy(many) == dg.BackfillPolicy.multi_run(max_partitions_per_run=1)
