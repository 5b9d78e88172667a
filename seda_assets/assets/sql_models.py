"""The models of `dbt_like_sql/` as assets: dependencies, checks and lineage come from the SQL."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from seda.database.regions import Region
from seda.database.sql_models import (
    MergeResult,
    ModelCheckFailed,
    SqlModel,
    load_models,
    materialise,
)
from seda.privacy.datamap import data_map, holds_people
from seda.settings import REPOSITORY
from seda_assets.assets.column_schemas import stored_columns
from seda_assets.assets.listening import MERGED_LISTENS
from seda_assets.assets.samples import sample_rows
from seda_assets.automation.freshness import HOURLY, NIGHTLY
from seda_assets.resources import Platform

KPIS = "kpis"
"""The layer that is counted once a night; the others are refreshed every hour."""

MODELS = load_models(REPOSITORY / "dbt_like_sql", {f"seda.{name}" for name in data_map()})


def _key(relation: str) -> dg.AssetKey:
    return dg.AssetKey(relation.split("."))


def _checks(model: SqlModel) -> dict[str, str]:
    """Name → description of each check of the model's header."""
    header = model.header
    checks = {"unique": f"({', '.join(header.unique)}) names one row."}
    if header.not_null:
        checks["not_null"] = f"{', '.join(header.not_null)} always have a value."
    if header.accepted_values:
        accepted = header.accepted_values.items()
        checks["accepted_values"] = "; ".join(
            f"{column} is one of {', '.join(values)}" for column, values in accepted
        )
    return checks


def _deps(model: SqlModel) -> list[dg.AssetKey]:
    deps = [_key(relation) for relation in sorted(model.dependencies)]
    return [*deps, MERGED_LISTENS] if "seda.activity_counts" in model.dependencies else deps


def _lineage(model: SqlModel) -> dg.TableColumnLineage:
    return dg.TableColumnLineage(
        {
            column: [
                dg.TableColumnDep(asset_key=_key(table), column_name=source)
                for table, source in sources
            ]
            for column, sources in model.column_lineage.items()
        }
    )


def _asset(model: SqlModel) -> dg.AssetsDefinition:
    key, checks = _key(model.relation), _checks(model)

    @dg.multi_asset(
        name=model.name,
        specs=[
            dg.AssetSpec(
                key,
                deps=_deps(model),
                description=model.header.description,
                group_name=model.header.group,
                owners=[model.header.owner],
                kinds={"sql", "postgres"},
                tags={"seda/layer": model.layer},
                code_version=model.code_version,
                freshness_policy=NIGHTLY if model.layer == KPIS else HOURLY,
                metadata={
                    "dagster/relation_identifier": model.relation,
                    "dagster/column_lineage": _lineage(model),
                },
            )
        ],
        check_specs=[
            dg.AssetCheckSpec(name, asset=key, description=text, blocking=True)
            for name, text in checks.items()
        ],
    )
    def sql_model(
        platform: dg.ResourceParam[Platform],
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        try:
            merged = {
                str(database.region): _materialise(platform, database.region, model)
                for database in platform.databases
            }
        except ModelCheckFailed as failure:
            yield dg.AssetCheckResult(
                passed=False,
                asset_key=key,
                check_name=next(
                    (name for name in checks if failure.check.startswith(name)), "unique"
                ),
                metadata={"problem": str(failure), "rows": failure.count},
            )
            raise
        yield dg.MaterializeResult(asset_key=key, metadata=_metadata(platform, model, merged))
        for name in checks:
            yield dg.AssetCheckResult(passed=True, asset_key=key, check_name=name)

    return sql_model


def _materialise(platform: Platform, region: Region, model: SqlModel) -> MergeResult:
    with platform.databases[region].transaction() as connection:
        return materialise(connection, model, now=platform.now())


def _metadata(
    platform: Platform, model: SqlModel, merged: dict[str, MergeResult]
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"dagster/row_count": sum(result.rows for result in merged.values())}
    metadata["dagster/column_schema"] = stored_columns(platform, model.relation)
    # The UI draws the lineage of columns from the newest materialisation, not from the definition.
    metadata["dagster/column_lineage"] = _lineage(model)
    for region, result in merged.items():
        for name in ("rows", "inserted", "updated", "deleted", "seconds"):
            metadata[f"{name}_{region}"] = getattr(result, name)
    if not holds_people(model.name):  # no row of a person leaves its region's database
        metadata["sample"] = sample_rows(platform, model.relation)
    return metadata


sql_model_assets = [_asset(model) for model in MODELS.values()]
