"""Suites as Dagster asset checks: which of them run together, and how an outcome reads."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from seda.database.regions import Region
from seda_assets.automation.partitions import LISTS
from seda_assets.checks.declarations import Check, LikeBefore, Suite
from seda_assets.checks.intermediates import (
    CLUSTERS,
    FACTORS,
    MATRICES,
    POOLS,
    RANKED,
    TASTES,
    run_shards,
    validate_stored,
)
from seda_assets.checks.intermediates import SOURCES as CANDIDATE_LISTS
from seda_assets.checks.lists import SERVED
from seda_assets.checks.sources import SOURCES
from seda_assets.checks.summaries import SUMMARIES
from seda_assets.checks.validation import Moment, Outcome, validator
from seda_assets.checks.vectors import ENTITY_VECTORS, TASTE_VECTORS
from seda_assets.resources import Platform

_A_DAY_AGO = timedelta(hours=20)
Found = dict[tuple[dg.AssetKey, str], list[tuple[Region, Outcome]]]
Asked = Mapping[dg.AssetKey, set[str]]
Validated = Callable[[dg.AssetCheckExecutionContext, Platform, Sequence[Suite], Asked], Found]


def _checks(
    name: str, suites: Sequence[Suite], validated: Validated, pool: str | None = None
) -> dg.AssetChecksDefinition:
    """One op for all these suites, of which a run may ask for some checks."""
    specs = [
        dg.AssetCheckSpec(
            check.name, asset=dg.AssetKey(suite.asset_key), description=check.description,
            blocking=check.is_blocking,
        )
        for suite in suites
        for check in suite.checks
    ]  # fmt: skip

    @dg.multi_asset_check(name=name, specs=specs, can_subset=True, pool=pool)
    def checks(
        context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> Iterator[dg.AssetCheckResult]:
        asked = defaultdict(set)
        for selected in context.op_execution_context.selected_asset_check_keys:
            asked[selected.asset_key].add(selected.name)
        found = validated(context, platform, suites, asked)
        for suite in suites:
            key = dg.AssetKey(suite.asset_key)
            for check in suite.checks:
                if check.name in asked[key]:
                    yield _result(key, check, found[key, check.name])

    return checks


def _tables(name: str, suites: Sequence[Suite]) -> dg.AssetChecksDefinition:
    """Checks of tables, in the databases."""
    return _checks(name, suites, _validated)


def _files(name: str, *suites: Suite) -> dg.AssetChecksDefinition:
    """Checks of intermediate results, of the run's shards; nobody writes them meanwhile."""
    return _checks(name, suites, _stored, pool=LISTS)


def _stored(
    context: dg.AssetCheckExecutionContext, platform: Platform, suites: Sequence[Suite],
    asked: Asked,
) -> Found:  # fmt: skip
    return validate_stored(platform, suites, asked, run_shards(context.run.tags))


def _validated(
    context: dg.AssetCheckExecutionContext, platform: Platform, suites: Sequence[Suite],
    asked: Asked,
) -> Found:  # fmt: skip
    found: Found = defaultdict(list)
    now = platform.now()
    for database in platform.databases:
        with validator(database) as validate:
            for suite in suites:
                key = dg.AssetKey(suite.asset_key)
                before = None
                if _compares(suite, asked[key]):
                    before = rows_before(context.instance, key, database.region, now)
                for outcome in validate.validate(suite, asked[key], Moment(now, before)):
                    found[key, outcome.check].append((database.region, outcome))
    return found


def _compares(suite: Suite, names: set[str]) -> bool:
    rules = [rule for check in suite.checks if check.name in names for rule in check.rules]
    return any(isinstance(rule, LikeBefore) for rule in rules)


def rows_before(
    instance: dg.DagsterInstance, key: dg.AssetKey, region: Region, now: datetime
) -> int | None:
    """Rows of the asset in the region as its last run of a day ago said, or, where there was none,
    its first one; None where nothing was said before the latest."""
    earlier = dg.AssetRecordsFilter(key, before_timestamp=(now - _A_DAY_AGO).timestamp())
    asked: list[tuple[dg.AssetRecordsFilter, bool]] = [
        (earlier, False), (dg.AssetRecordsFilter(key), True),
    ]  # fmt: skip
    for chosen, ascending in asked:
        for fetch, event in (
            (instance.fetch_observations, "asset_observation"),
            (instance.fetch_materializations, "asset_materialization"),
        ):
            records = fetch(chosen, limit=2, ascending=ascending).records
            if records and (len(records) == 2 or not ascending):
                rows = getattr(records[0], event).metadata.get(f"rows_{region}")
                return None if rows is None else int(rows.value)
    return None


def _result(
    key: dg.AssetKey, check: Check, outcomes: Sequence[tuple[Region, Outcome]]
) -> dg.AssetCheckResult:
    failures = [(region, each) for region, each in outcomes if not each.passed]
    metadata: dict[str, Any] = {
        "rules": len({each.rule for _, each in outcomes}),
        "failed_rules": len({each.rule for _, each in failures}),
        "failed": sum(each.failed for _, each in failures),
    }
    if failures:
        metadata["what_failed"] = dg.MetadataValue.md(_table(failures))
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=check.name,
        passed=not failures,
        severity=dg.AssetCheckSeverity.WARN if check.is_warning else dg.AssetCheckSeverity.ERROR,
        metadata=metadata,
    )


def _table(failures: Sequence[tuple[Region, Outcome]]) -> str:
    """The rules that fail, and some rows of each in a table of its own: the UI drops HTML, so that
    rows cannot share a cell."""
    lines = ["| rule that does not hold | region | rows |", "| --- " * 3 + "|"]
    lines += [f"| {each.rule} | {region} | {each.failed:,} |" for region, each in failures]
    for region, each in failures:
        if each.sample:
            columns = list(each.sample[0])
            lines += [f"\nSome of them ({each.rule}, {region}):\n", _row(columns)]
            lines += [_row(["---"] * len(columns))]
            lines += [_row(_cell(row.get(name)) for name in columns) for row in each.sample]
    lines.append("\nColumns that are about people are not shown.")
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: object) -> str:
    text = str(value).replace("|", "\\|").replace("\n", " ")
    return text if len(text) <= 40 else f"{text[:39]}…"


served_age = dg.AssetSelection.checks(
    *(dg.AssetCheckKey(dg.AssetKey(suite.asset_key), check.name)
      for suite in SERVED if suite.relation == "generation_pointer" for check in suite.checks)
)  # fmt: skip
"""The checks to run each hour: they fail when nothing runs at all."""

SUITES = (*SOURCES, *SUMMARIES, *ENTITY_VECTORS, TASTE_VECTORS, *SERVED)
source_checks = _tables("check_sources", SOURCES)
# No asset of one op may stand downstream of another one of it whose check blocks.
suite_checks = [
    source_checks,
    _tables("check_summaries", SUMMARIES),
    _tables("check_vectors", ENTITY_VECTORS),
    _tables("check_taste", (TASTE_VECTORS,)),
    _tables("check_lists", SERVED),
    _files("check_matrices", MATRICES),
    _files("check_fits", TASTES, FACTORS, CLUSTERS),
    _files("check_candidates", *CANDIDATE_LISTS),
    _files("check_candidate_sets", POOLS),
    _files("check_ranked", RANKED),
]
