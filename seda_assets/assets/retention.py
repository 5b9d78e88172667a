"""Housekeeping: what was kept for long enough goes, and what went is told."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg

from seda.database.regions import RegionalDatabase
from seda.retention.day_partitions import drop_days, make_days_ahead
from seda.retention.lists import drop_unread_lists
from seda.retention.streams import streams
from seda.retention.sweeping import sweep
from seda_assets.assets.read_models import CURSOR_LIFETIME
from seda_assets.automation.freshness import NIGHTLY
from seda_assets.dagster_storage import prune
from seda_assets.resources import Platform

BY_DAY = "social_events"


@dg.asset(
    group_name="operations",
    owners=["team:platform"],
    kinds={"postgres"},
    tags={"seda/layer": "operations"},
    freshness_policy=NIGHTLY,
    code_version="1",
)
def retention(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
) -> dg.MaterializeResult:
    """Removes what was kept for as long as the settings say: events, receipts, pages, decisions,
    ledgers, lists that nobody can read any more, and Dagster's own log and runs; each in short
    transactions, and never what somebody still needs. Running it twice removes nothing twice."""
    lines: list[tuple[str, str, int, int, float, float]] = []
    for database in platform.databases:
        lines += [(str(database.region), *line) for line in _of_region(platform, database)]
    kept = timedelta(days=platform.settings.dagster_retention_days)
    lines += [
        ("dagster", each.table, each.rows, each.bytes, each.seconds, each.longest)
        for each in prune(context.instance, now=platform.now(), kept=kept)
    ]
    metadata: dict[str, Any] = {
        "rows_removed": sum(line[2] for line in lines),
        "bytes_removed": sum(line[3] for line in lines),
        "seconds": sum(line[4] for line in lines),
        "longest_transaction_seconds": max(line[5] for line in lines),
        "removed": dg.MetadataValue.md(_table(lines)),
    }
    return dg.MaterializeResult(metadata=metadata)


def _of_region(
    platform: Platform, database: RegionalDatabase
) -> Iterator[tuple[str, int, int, float, float]]:
    """(what, rows, bytes, seconds, longest transaction) of everything that a region keeps."""
    now = platform.now()
    for stream in streams(platform.settings):
        if stream.table == BY_DAY:
            make_days_ahead(database, BY_DAY, now=now)
            days = drop_days(database, stream, now=now)
            yield f"{BY_DAY}, whole days", days.rows, days.bytes, days.seconds, days.longest
        each = sweep(database, stream, now=now)
        yield each.table, each.rows, each.bytes, each.seconds, each.longest
    shards = [key for key, shard in platform.shards.items() if shard.region is database.region]
    dropped = drop_unread_lists(database, shards, now=now, cursor_lifetime=CURSOR_LIFETIME)
    gone = len(dropped.generations) + dropped.pointers
    yield "generations of lists", gone, dropped.bytes, dropped.seconds, 0.0


def _table(lines: list[tuple[str, str, int, int, float, float]]) -> str:
    head = ["| where | what | removed | bytes | seconds | longest transaction, s |"]
    head.append("| --- " * 6 + "|")
    return "\n".join(head + [
        f"| {where} | {what} | {rows:,} | {size:,} | {seconds:.2f} | {longest:.3f} |"
        for where, what, rows, size, seconds, longest in lines
    ])  # fmt: skip
