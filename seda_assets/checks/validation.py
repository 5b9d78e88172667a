"""Suites validated by Great Expectations, in SQL where the table lives; no frame is loaded.

The library takes seconds to import, so it is imported when something is validated. Rows that break
a rule are shown by the columns that are about nobody, by the data map; the others are not selected.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import singledispatch
from typing import Any

from seda.database.regions import RegionalDatabase
from seda.errors import SedaError
from seda.privacy.datamap import PERSONAL, data_map
from seda_assets.checks.declarations import (
    AtLeast,
    Between,
    Check,
    LikeBefore,
    Never,
    NotNull,
    OneOf,
    Recent,
    Suite,
    Unique,
    Zero,
)

SAMPLE_ROWS = 5
# Asked with rows that break them, of which the library fetches 200; of the others it would give all
# values.
_SELECTED = (Never, Recent)
_COUNTED = (NotNull, Unique, Between, OneOf, AtLeast, LikeBefore)
# Large, and unreadable in a table.
_UNREADABLE = frozenset({"embedding", "sketch", "cards", "row_counts", "data_versions"})


class UnevaluableRuleError(SedaError):
    """A rule could not be evaluated: neither passed nor failed."""


@dataclass(frozen=True)
class Moment:
    """What a rule may depend on beside the table: the time, and how many rows there were."""

    now: datetime
    rows_before: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What one rule of a check found: rows that fail, and some of them without personal columns."""

    check: str
    rule: str
    passed: bool
    failed: int
    sample: tuple[Mapping[str, Any], ...] = ()


@contextmanager
def validator(database: RegionalDatabase) -> Iterator["Validator"]:
    """A validator on one region's database; its connections are closed at the end."""
    # Before any table with vectors is looked at: their type is unknown without it.
    import pgvector.sqlalchemy  # noqa: F401

    context = quiet_context()
    named = database.url_for("psycopg").update_query_dict({"options": "-csearch_path=seda,public"})
    url = named.render_as_string(hide_password=False)
    source = context.data_sources.add_sql(name="region", connection_string=url.replace("$", r"\$"))
    try:
        yield Validator(source)
    finally:
        source.get_engine().dispose()


def quiet_context() -> Any:
    """The library's context, which writes no files, draws no progress and tells nobody."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    return context


class Validator:
    """Validates suites against the tables of one region."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._batches: dict[str, Any] = {}

    def validate(self, suite: Suite, names: Collection[str], moment: Moment) -> list[Outcome]:
        """The outcomes of the suite's checks with these names, rule by rule.

        Raises:
            UnevaluableRuleError: a rule cannot be asked of the table as it is.
        """
        import great_expectations as gx

        checks = [check for check in suite.checks if check.name in names]
        asked = [
            (check, rule, expectation)
            for check in checks
            for rule in check.rules
            if (expectation := expectation_of(rule, suite.relation, moment)) is not None
        ]
        if not asked:
            return []
        batch = self._batch(suite.relation)
        results = []
        for result_format, rules in (("SUMMARY", _COUNTED), ("COMPLETE", _SELECTED)):
            expectations = [each for _, rule, each in asked if isinstance(rule, rules)]
            if expectations:
                named = gx.ExpectationSuite(name=suite.relation, expectations=expectations)
                found = batch.validate(named, result_format={"result_format": result_format})
                results += found.results
        return _outcomes(suite, asked, results)

    def _batch(self, relation: str) -> Any:
        if relation not in self._batches:
            asset = self._source.add_table_asset(name=relation, table_name=relation)
            self._batches[relation] = asset.add_batch_definition_whole_table("all").get_batch()
        return self._batches[relation]


def _outcomes(suite: Suite, asked: Sequence[tuple[Check, Any, Any]], results: Any) -> list[Outcome]:
    by_id = {result.expectation_config.meta["rule"]: result for result in results}
    outcomes = []
    for number, (check, rule, _) in enumerate(asked):
        result = by_id[str(rule)]
        if not result.success and not result.result:
            raise UnevaluableRuleError(
                f"“{rule}” cannot be asked of seda.{suite.relation} (rule {number + 1} of "
                f"{check.name}): {reason_of(result.exception_info)}"
            )
        sample = () if result.success else tuple(_sample(suite.relation, result))
        outcomes.append(
            Outcome(check.name, str(rule), bool(result.success), _failed(result), sample)
        )
    return outcomes


def reason_of(exception_info: Mapping[str, Any]) -> str:
    """Why the library could not ask, in one line."""
    found = exception_info.get("exception_message")
    nested = (each for each in exception_info.values() if isinstance(each, Mapping))
    for each in nested:
        found = found or each.get("exception_message")
    return str(found).splitlines()[0] if found else "no reason was given"


def _failed(result: Any) -> int:
    """Rows that break the rule; 1 where a whole table does."""
    if result.success:
        return 0
    counted = result.result.get("unexpected_count")
    if counted is None and result.expectation_config.type == "unexpected_rows_expectation":
        counted = result.result["observed_value"]
    return int(counted) if counted is not None else 1


def _sample(relation: str, result: Any) -> Iterator[Mapping[str, Any]]:
    rows = result.result.get("details", {}).get("unexpected_rows")
    if rows is not None:
        for row in list(rows)[:SAMPLE_ROWS]:
            yield dict(row)
        return
    column = result.expectation_config.kwargs.get("column")
    if column in shown_columns(relation):
        for value in (result.result.get("partial_unexpected_list") or [])[:SAMPLE_ROWS]:
            yield {column: value}
    elif "observed_value" in result.result and column is None:
        yield {"rows": result.result["observed_value"]}


def shown_columns(relation: str) -> list[str]:
    """The columns of a table that may be shown outside of its region: about nobody, and short."""
    return [
        name
        for name, kind in data_map()[relation].items()
        if kind not in PERSONAL and name not in _UNREADABLE
    ]


# --- Rules as expectations ------------------------------------------------------------------------


@singledispatch
def expectation_of(rule: Any, relation: str, moment: Moment) -> Any:
    """The expectation that asks for the rule, or None where there is nothing to ask."""
    raise TypeError(f"{type(rule).__name__} is no rule")


def _expect(kind: str, rule: Any, **arguments: Any) -> Any:
    import great_expectations.expectations as expectations

    return getattr(expectations, kind)(meta={"rule": str(rule)}, **arguments)


@expectation_of.register
def _(rule: NotNull, relation: str, moment: Moment) -> Any:
    return _expect("ExpectColumnValuesToNotBeNull", rule, column=rule.column)


@expectation_of.register
def _(rule: Unique, relation: str, moment: Moment) -> Any:
    if len(rule.columns) == 1:
        return _expect("ExpectColumnValuesToBeUnique", rule, column=rule.columns[0])
    return _expect("ExpectCompoundColumnsToBeUnique", rule, column_list=list(rule.columns))


@expectation_of.register
def _(rule: Between, relation: str, moment: Moment) -> Any:
    return _expect(
        "ExpectColumnValuesToBeBetween", rule,
        column=rule.column, min_value=rule.low, max_value=rule.high,
    )  # fmt: skip


@expectation_of.register
def _(rule: Zero, relation: str, moment: Moment) -> Any:
    return _expect(
        "ExpectColumnValuesToBeBetween", rule, column=rule.column, min_value=0, max_value=0
    )


@expectation_of.register
def _(rule: OneOf, relation: str, moment: Moment) -> Any:
    return _expect(
        "ExpectColumnValuesToBeInSet", rule, column=rule.column, value_set=list(rule.values)
    )


@expectation_of.register
def _(rule: AtLeast, relation: str, moment: Moment) -> Any:
    return _expect("ExpectTableRowCountToBeBetween", rule, min_value=rule.rows)


@expectation_of.register
def _(rule: LikeBefore, relation: str, moment: Moment) -> Any:
    if moment.rows_before is None:
        return None
    before = moment.rows_before
    return _expect(
        "ExpectTableRowCountToBeBetween", rule,
        min_value=max(0, min(int(before / rule.factor), before - rule.slack)),
        max_value=max(int(before * rule.factor), before + rule.slack),
    )  # fmt: skip


@expectation_of.register
def _(rule: Never, relation: str, moment: Moment) -> Any:
    columns = ", ".join(f't."{name}"' for name in shown_columns(relation)) or "1 as row"
    condition = rule.condition.replace("{now}", f"timestamptz '{moment.now.isoformat()}'")
    # The library names the table in a query without a join, and leaves it to us in one with a join.
    table = "{batch} as t" if rule.joined else "(select * from {batch}) as t"
    query = f"select {columns} from {table} {rule.joined} where {condition}"  # noqa: S608
    return _expect("UnexpectedRowsExpectation", rule, unexpected_rows_query=query)


@expectation_of.register
def _(rule: Recent, relation: str, moment: Moment) -> Any:
    oldest = f"timestamptz '{(moment.now - rule.within).isoformat()}'"
    query = (
        f"select max({rule.column}) as newest from {{batch}} "  # noqa: S608
        f"having max({rule.column}) < {oldest}"
    )
    return _expect("UnexpectedRowsExpectation", rule, unexpected_rows_query=query)
