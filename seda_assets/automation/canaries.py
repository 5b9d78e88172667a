"""Canaries from the Dagster UI: the job that moves a model version, and the sensor of the gates.

The sensor asks for a look every ten minutes while a canary runs. Looking more often harms nothing:
the tests are made for it.
"""

from datetime import datetime
from typing import Any

import dagster as dg
import psycopg
from pydantic import Field

from seda.database.regions import Region
from seda.experiments.canaries import (
    experiments,
    move_aside,
    promote_canary,
    roll_back,
    start_canary,
)
from seda.registry.models import registered
from seda.registry.stages import Stage
from seda_assets.assets.canary_gate import running_canaries
from seda_assets.automation.under_way import under_way
from seda_assets.resources import Platform

MINUTES = 10
"""Between the looks that the sensor asks for."""

canary_gates = dg.define_asset_job(
    "canary_gates",
    selection=dg.AssetSelection.assets("canary_gate"),
    description="One look at every running canary; rolls back where its gates ask for it.",
    executor_def=dg.in_process_executor,
    tags={"dagster/max_runtime": "900", "seda/cadence": "on change", "dagster/priority": "5"},
)


class StageStep(dg.Config):
    """One step of a model version in one region."""

    step: str = Field(description="canary, promote, rollback, retire or shadow.")
    region: str = Field(default="global", description="global or eu.")
    version: str = Field(
        default="", description="Of canary, retire and shadow: which version it is about."
    )
    share: float = Field(default=0.1, description="Of canary: 0.05 to 0.10 of the people.")
    reason: str = Field(default="from the Dagster UI", description="Stands in the audit log.")


@dg.op(out=dg.Out(dg.Nothing))
def move_model(
    context: dg.OpExecutionContext, config: StageStep, platform: dg.ResourceParam[Platform]
) -> dg.Output[None]:
    """Start, promote or roll back a canary, retire a version or bring it back: one transaction,
    audited. The output says what stands where after it."""
    if config.region not in set(Region):
        raise dg.Failure(
            f"There is no region {config.region}: global and eu are.", allow_retries=False
        )
    with platform.databases[Region(config.region)].transaction() as connection:
        said = _step(connection, config, platform.now())
        rows = [
            f"| {each.version} | {each.stage} | {each.kind} |" for each in registered(connection)
        ]
        newest = experiments(connection, 1)
    context.log.info(said)
    table = "\n".join(["| version | stage | kind |", "| --- | --- | --- |", *rows])
    metadata: dict[str, Any] = {
        "result": said,
        "reason": config.reason,
        "versions": dg.MetadataValue.md(table),
    }
    if newest:
        metadata["experiment"] = f"{newest[0].name}: {newest[0].state}"
    return dg.Output(None, metadata=metadata)


def _step(connection: psycopg.Connection, config: StageStep, now: datetime) -> str:
    who: dict[str, Any] = {"actor": "Dagster", "now": now}
    if config.step == "canary":
        started = start_canary(connection, config.version, share=config.share, **who)
        return (
            f"{started.canary_version} is a canary for {started.share:.0%}; rank again to serve it"
        )
    if config.step == "promote":
        done = promote_canary(connection, reason=config.reason, **who)
        return f"{done.canary_version} is active, {done.control_version} is retired"
    if config.step == "rollback":
        done = roll_back(connection, reason=config.reason, **who)
        return f"{done.canary_version} is in shadow again, {done.control_version} serves everybody"
    if config.step in ("retire", "shadow"):
        stage = Stage.RETIRED if config.step == "retire" else Stage.SHADOW
        move_aside(connection, config.version, stage, reason=config.reason, **who)
        return f"{config.version} is {stage}"
    raise dg.Failure(
        f"There is no step {config.step}: canary, promote, rollback, retire and shadow are.",
        allow_retries=False,
    )


@dg.job(executor_def=dg.in_process_executor, tags={"dagster/max_runtime": "900"})
def model_stage() -> None:
    """Moves one model version: config `ops: {move_model: {config: {step, region, version}}}`."""
    move_model()


@dg.sensor(
    job=canary_gates,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def canaries(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.RunRequest | dg.SkipReason:
    """A canary runs: look at its gates every ten minutes, whoever restarts meanwhile."""
    if under_way(context, canary_gates.name):
        return dg.SkipReason("A look is under way.")
    running = running_canaries(platform)
    if not running:
        return dg.SkipReason("No canary runs.")
    now = platform.now()
    slot = now.replace(minute=now.minute - now.minute % MINUTES, second=0, microsecond=0)
    names = ",".join(f"{region}:{name}" for region, name in sorted(running.items()))
    return dg.RunRequest(run_key=f"{names}/{slot:%Y%m%dT%H%M}")
