"""Suites validated by Great Expectations on a small frame, such as the counts of what is stored."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from seda_assets.checks.declarations import Suite
from seda_assets.checks.validation import (
    SAMPLE_ROWS,
    Moment,
    Outcome,
    UnevaluableRuleError,
    expectation_of,
    quiet_context,
    reason_of,
)

if TYPE_CHECKING:
    import pandas as pd

PLACE = ("place", "entity_type")
"""The columns that say what a row is about: a region or a shard, and a type; of nobody."""


def validate_frame(suite: Suite, names: Collection[str], frame: "pd.DataFrame") -> list[Outcome]:
    """The outcomes of the suite's checks with these names; each counts what the rows count.

    Raises:
        UnevaluableRuleError: the frame lacks a rule's column.
    """
    rules = [(check, rule) for check in suite.checks if check.name in names for rule in check.rules]
    if not rules:
        return []
    context = quiet_context()  # before the library is loaded: it then knows whom to tell
    import great_expectations as gx

    asset = context.data_sources.add_pandas(name="stored").add_dataframe_asset(name="rows")
    definition = asset.add_batch_definition_whole_dataframe("all")
    batch = definition.get_batch(batch_parameters={"dataframe": frame})
    moment = Moment(datetime.now(UTC))  # on which no rule of a frame depends
    # A rule that two checks share is asked once.
    asked = {str(rule): expectation_of(rule, suite.relation, moment) for _, rule in rules}
    results = batch.validate(
        gx.ExpectationSuite(name=suite.relation, expectations=list(asked.values())),
        result_format={
            "result_format": "COMPLETE", "unexpected_index_column_names": list(PLACE),
        },
    ).results  # fmt: skip
    by_rule = {result.expectation_config.meta["rule"]: result for result in results}
    return [_outcome(suite, check.name, str(rule), by_rule[str(rule)]) for check, rule in rules]


def _outcome(suite: Suite, check: str, rule: str, result: Any) -> Outcome:
    if result.success:
        return Outcome(check, rule, True, 0)
    if not result.result:
        raise UnevaluableRuleError(
            f"“{rule}” cannot be asked of {suite.relation}: {reason_of(result.exception_info)}"
        )
    found: list[Mapping[str, Any]] = result.result["unexpected_index_list"]
    counted = sum(int(value) for value in result.result["unexpected_list"])
    sample = sorted(found, key=lambda row: str(row["place"]))[:SAMPLE_ROWS]
    return Outcome(check, rule, False, counted, tuple(sample))
