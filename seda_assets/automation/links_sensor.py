"""The sensors of linked accounts: read what is due, and make new lists of what came in.

What waits stands in the databases and is taken off in the transaction that did it: whatever is
killed when, nothing is lost, and what is done twice is the same as once. One run at a time; what
comes meanwhile waits for the next one, together.
"""

from datetime import datetime, timedelta

import dagster as dg

from seda.links.changes import waiting_shards
from seda.links.imports import staged_imports
from seda.links.opening import apple_key
from seda.links.standing import developer_token_due
from seda.links.syncing import due_accounts
from seda_assets.automation.jobs import links, nightly
from seda_assets.automation.under_way import under_way
from seda_assets.resources import Platform

LISTS_EVERY = timedelta(minutes=5)
"""At most how often imports set off new lists."""
_TASTES = "select count(*) from seda.import_changes where taste_at is null"


def waiting_links(platform: Platform) -> int:
    """Accounts to read, imports to map, tastes to compute and our own token to renew."""
    waiting, now = 0, platform.now()
    for database in platform.databases:
        waiting += due_accounts(database, platform.connectors, now)
        with database.transaction() as connection:
            waiting += staged_imports(connection)
            ((tastes,),) = connection.execute(_TASTES).fetchall()
            waiting += tastes
            if apple_key(platform.settings) is not None:
                waiting += developer_token_due(connection, now=now)
    return waiting


@dg.sensor(job=links, minimum_interval_seconds=5, default_status=dg.DefaultSensorStatus.RUNNING)
def provider_links(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.RunRequest | dg.SkipReason:
    """Somebody linked or unlinked, or it is time to look again: read, map, recompute tastes."""
    if under_way(context, links.name):
        return dg.SkipReason("A look at linked accounts is under way.")
    waiting = waiting_links(platform)
    if not waiting:
        return dg.SkipReason("No linked account is due, and nothing waits to be mapped.")
    # A run that failed is asked for again once in ten seconds; done work is no longer waiting.
    moment = f"{platform.now():%Y%m%dT%H%M%S}"[:-1]
    return dg.RunRequest(run_key=f"links-{moment}")


def changed_shards(platform: Platform) -> dict[str, datetime]:
    """Shards with people whose imports their lists do not know, and the newest change of each."""
    changed: dict[str, datetime] = {}
    for database in platform.databases:
        shards = sum(shard.region is database.region for shard in platform.shards.values())
        with database.transaction() as connection:
            changed |= waiting_shards(connection, shards)
    return changed


@dg.sensor(job=nightly, minimum_interval_seconds=10, default_status=dg.DefaultSensorStatus.RUNNING)
def imported_lists(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.SensorResult | dg.SkipReason:
    """Imports changed what people like: make the lists of their shards anew, rather than tonight.

    The same changes are asked for once: what a failed run leaves, the night makes good.
    """
    now = platform.now()
    if context.cursor and now - datetime.fromisoformat(context.cursor) < LISTS_EVERY:
        return dg.SkipReason("New lists were asked for within the last five minutes.")
    if under_way(context, nightly.name) or under_way(context, links.name):
        return dg.SkipReason("A run of the graph is under way, or imports still come in.")
    changed = changed_shards(platform)
    if not changed:
        return dg.SkipReason("Everybody's lists know their imports.")
    first, last = min(changed), max(changed)
    newest = max(changed.values())
    request = dg.RunRequest(
        run_key=f"imports-{first}-{last}-{newest:%Y%m%dT%H%M%S%f}",
        tags={
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last,
        },
    )
    return dg.SensorResult(run_requests=[request], cursor=now.isoformat())
