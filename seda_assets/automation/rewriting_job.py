"""Once a week, in its quietest hour: no byte of who was erased stays on disk.

A job of one operation and no asset, because it computes nothing: tables are the same afterwards.
"""

import dagster as dg
from pydantic import Field

from seda.privacy.rewriting import rewrite_regions
from seda_assets.resources import Platform


class Rewriting(dg.Config):
    """What else is renewed beside tables."""

    renew_log: bool = Field(default=True, description="The write-ahead log, where it is ours.")


@dg.op
def write_tables_anew(
    context: dg.OpExecutionContext, config: Rewriting, platform: dg.ResourceParam[Platform]
) -> None:
    """Of each region in which somebody was erased since the last time."""
    done = rewrite_regions(
        platform.databases,
        platform.now,
        wanted=lambda standing: standing.is_due,
        renew=config.renew_log,
    )
    for region, each in done.items():
        context.log.info(f"{region}: {len(each.tables)} tables, {len(each.locked)} stayed locked")
    if not done:
        context.log.info("no byte of anybody who was erased is left in any table")


@dg.job(executor_def=dg.in_process_executor, tags={"seda/cadence": "weekly"})
def rewrite_tables() -> None:
    """Tables that hold people are written anew where somebody was erased."""
    write_tables_anew()


rewrite_tables_schedule = dg.ScheduleDefinition(
    job=rewrite_tables,
    cron_schedule="45 4 * * 0",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
