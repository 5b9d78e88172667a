"""Suites run where the tables are, say what fails without saying of whom, and miss no table."""

import re
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from seda.database.regions import Databases, Region
from seda.privacy.datamap import PERSONAL, data_map
from seda.sandbox.seeding import seed_sandbox
from seda_assets.assets.sources import SOURCES
from seda_assets.checks.declarations import AtLeast, Check, NotNull, OneOf, Suite, Unique
from seda_assets.checks.suites import SUITES
from seda_assets.checks.validation import (
    Moment,
    UnevaluableRuleError,
    shown_columns,
    validator,
)
from seda_assets.definitions import build_definitions, definitions
from seda_assets.resources import Platform
from tests.checks.conftest import NOW, TINY

OBSERVED = dg.AssetKey(["seda", "artists"])


def test_every_table_that_an_asset_stands_for_is_checked() -> None:
    graph = definitions.resolve_asset_graph()
    checked = {key.asset_key for key in graph.asset_check_keys}
    tables = [
        key for key in graph.get_all_asset_keys()
        if graph.get(key).metadata.get("dagster/relation_identifier")
    ]  # fmt: skip
    assert len(tables) > len(SOURCES) + 5
    assert {key for key in tables if key not in checked} == set()


def test_what_blocks_is_an_error_and_every_check_says_what_it_asks() -> None:
    names = [(suite.asset_key, check.name) for suite in SUITES for check in suite.checks]
    assert len(names) == len(set(names))
    for suite in SUITES:
        for check in suite.checks:
            assert not (check.is_blocking and check.is_warning), check.name
            assert check.description.endswith("."), check.name
            assert check.rules, check.name


def test_no_personal_column_is_ever_shown() -> None:
    for suite in SUITES:
        shown = shown_columns(suite.relation)
        assert not any(data_map()[suite.relation][name] in PERSONAL for name in shown)


def observe(platform: Platform, instance: dg.DagsterInstance) -> dict[str, dg.AssetCheckEvaluation]:
    """The evaluations of one run over the sources, by asset and check."""
    job = build_definitions(platform).resolve_job_def("observe_sources")
    result = job.execute_in_process(instance=instance)
    return {
        f"{each.asset_key.path[-1]}.{each.check_name}": each
        for each in result.get_asset_check_evaluations()
    }


def test_a_seeded_world_is_sound_and_defects_in_it_are_told_without_people(
    databases: Databases,
) -> None:
    platform = Platform(databases.settings, now=NOW)
    seed_sandbox(databases, TINY, seed=7, now=NOW)
    with dg.DagsterInstance.ephemeral() as instance:
        first = observe(platform, instance)
        assert {name.split(".")[0] for name in first} >= set(SOURCES)
        assert {name for name, each in first.items() if not each.passed} == set()
        with databases[Region.EU].transaction() as connection:
            connection.execute(
                "update seda.artists set name = ' ' where id = (select id from seda.artists "
                "order by id limit 1)"
            )
            connection.execute(
                "delete from seda.friends where ctid = (select f.ctid from seda.friends f "
                "join seda.users u on u.id = f.friend_user_id limit 1)"
            )
            connection.execute("delete from seda.activity_counts")
            people = [str(row[0]) for row in connection.execute("select id from seda.users")]
        second = observe(platform, instance)
    failed = {name: each for name, each in second.items() if not each.passed}
    assert set(failed) == {
        "artists.contents", "friends.both_sides", "activity_counts.row_count",
    }  # fmt: skip
    artists = failed["artists.contents"].metadata
    assert (artists["failed"].value, artists["failed_rules"].value) == (1, 1)
    rules, rows = artists["what_failed"].value.split("Some of them (a name is not empty, eu):")
    assert "| a name is not empty | eu | 1 |" in rules
    assert rows.strip().splitlines()[0].startswith("| id | ")
    assert failed["friends.both_sides"].metadata["failed"].value == 1
    assert failed["activity_counts.row_count"].severity is dg.AssetCheckSeverity.WARN
    said = str([each.metadata for each in second.values()])
    assert not any(person in said for person in people)


def test_each_kind_of_rule_passes_and_fails_as_it_says(databases: Databases) -> None:
    database = databases[Region.GLOBAL]
    with database.transaction() as connection:
        connection.execute(
            "insert into seda.artists (id, name, language) values "
            "(gen_random_uuid(), 'Ada', 'en'), (gen_random_uuid(), 'Ada', null)"
        )
    rules = (
        NotNull("name"), NotNull("language"), Unique(("id",)), Unique(("name",)),
        OneOf("name", ("Ada",)), OneOf("language", ("de",)), AtLeast(2), AtLeast(3),
        Unique(("id", "name")), Unique(("name", "genres")),
    )  # fmt: skip
    suite = Suite("artists", (Check("all", "All.", rules),))
    moment = Moment(datetime.now(UTC))
    with validator(database) as validate:
        outcomes = validate.validate(suite, {"all"}, moment)
        assert [each.passed for each in outcomes] == [True, False] * 5
        assert [each.failed for each in outcomes if not each.passed] == [1, 2, 1, 1, 2]
        assert validate.validate(suite, set(), moment) == []
        broken = Suite("artists", (Check("all", "All.", (NotNull("nothing"),)),))
        with pytest.raises(UnevaluableRuleError, match="nothing has a value"):
            validate.validate(broken, {"all"}, moment)


def test_lists_of_a_shard_that_no_run_reaches_grow_old(databases: Databases) -> None:
    """The assets look fresh: it is the age of what is served that tells."""
    with databases[Region.EU].transaction() as connection:
        connection.execute(
            "with g as (insert into seda.generations (shard, model_version, created_at) "
            "values ('eu-00', 'linear-1', %s) returning generation) "
            "insert into seda.generation_pointer (shard, entity_type, generation) "
            "select 'eu-00', 'room', generation from g",
            [NOW - timedelta(hours=30)],
        )
    with dg.DagsterInstance.ephemeral() as instance:
        found = observe(Platform(databases.settings, now=NOW), instance)
    recent = found["recommendations.served_lists_are_recent"]
    assert not recent.passed
    assert recent.severity is dg.AssetCheckSeverity.WARN
    assert re.search(r"^\| shard \|.*\n\| --- \|.*\n\| eu-00 \|",
                     recent.metadata["what_failed"].value, re.MULTILINE)  # fmt: skip
    assert found["recommendations.served_lists_are_not_stale"].passed
