"""Linked accounts: what comes in from providers, who is told of new lists, and the tokens' keys.

Nothing of a person or a token is in a run's configuration, log or metadata: counts alone.
"""

from datetime import UTC, datetime
from functools import partial

import dagster as dg

from seda.database.regions import RegionalDatabase
from seda.links.apple import developer_token
from seda.links.changes import announce_lists
from seda.links.imports import apply_staged
from seda.links.opening import apple_key
from seda.links.standing import forget_attempts, renew_developer_token
from seda.links.syncing import sync_due
from seda.links.tastes import refresh_tastes
from seda.privacy.keys import ROTATE_AFTER
from seda.privacy.sealed_columns import rewrap_values, rotate_key
from seda.publishing.overlays import CHANNEL
from seda_assets.assets.column_schemas import columns
from seda_assets.automation.freshness import NIGHTLY
from seda_assets.resources import Platform

REWRAPPED_A_DAY = 2_000
"""Values of a region that one day's upkeep wraps again; what is used is wrapped as it is used."""

_IMPORTS = columns(
    user_id="uuid",
    provider="text",
    artists="integer: favourites that the provider named",
    matched_artists="integer: of those, found in the catalogue",
    playlists="integer",
    genres="text[]: that the catalogue knows",
    staged="jsonb: read and not mapped yet",
    imported_at="timestamptz",
)


@dg.asset(
    key_prefix=["seda"],
    deps=[dg.AssetKey(["seda", "artists"]), dg.AssetKey(["seda", "artist_genres"])],
    group_name="activity",
    owners=["team:data"],
    kinds={"python", "postgres"},
    tags={"seda/layer": "activity", "seda/lane": "durable"},
    metadata={
        "dagster/column_schema": _IMPORTS,
        "dagster/relation_identifier": "seda.provider_imports",
    },
    freshness_policy=NIGHTLY,
    code_version="1",
)
def provider_imports(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """Linked accounts whose time has come are read, what was read is mapped to the catalogue as
    plays and private playlists of that source, and the taste vectors of those people follow."""
    totals = dict.fromkeys(
        ("read", "failed", "imports", "changed", "artists", "matched", "tastes"), 0
    )
    troubles: dict[str, int] = {}
    for database in platform.databases:
        now = platform.now()
        _renew(platform, database, now)
        read = sync_due(database, platform.connectors, platform.vault, now=now)
        done = apply_staged(database, now=now)
        for trouble, accounts in read.troubles.items():
            troubles[f"trouble_{trouble}"] = troubles.get(f"trouble_{trouble}", 0) + accounts
        for name, count in {
            "read": read.read, "failed": sum(read.troubles.values()), "imports": done.imports,
            "changed": done.changed, "artists": done.artists, "matched": done.matched,
            "tastes": refresh_tastes(database, now=now),
        }.items():  # fmt: skip
            totals[name] += count
    return dg.MaterializeResult(
        metadata={**totals, **troubles, "dagster/row_count": totals["imports"]}
    )


@dg.asset(
    deps=[
        dg.AssetKey(["seda", "recommendations"]),
        dg.AssetKey(["seda", "mv_user_top_candidates"]),
        dg.AssetKey(["seda", "realtime_rankings"]),
    ],
    group_name="read_models",
    owners=["team:recommendations"],
    kinds={"python", "postgres"},
    tags={"seda/layer": "read_models"},
    freshness_policy=NIGHTLY,
    code_version="1",
)
def announced_imports(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
) -> dg.MaterializeResult:
    """People whose imports changed before this run read them, and whose lists it published, are
    told by `feed_updated`, once."""
    began = _began(context, platform.now())
    told = 0
    for database in platform.databases:
        told += announce_lists(
            database, channel=CHANNEL, shards=_shards(platform, database), began=began,
            now=platform.now(),
        )  # fmt: skip
    return dg.MaterializeResult(metadata={"people": told})


@dg.asset(
    group_name="operations",
    owners=["team:data"],
    kinds={"python", "postgres"},
    tags={"seda/layer": "operations"},
    freshness_policy=NIGHTLY,
    code_version="1",
    check_specs=[
        dg.AssetCheckSpec(
            "key_is_young",
            asset="sealed_tokens",
            description="The key that wraps tokens is at most 90 days old.",
        )
    ],
)
def sealed_tokens(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """A key that is 90 days old is rotated, what older keys wrap is wrapped again in part, Apple's
    developer token is renewed after 90 days, and attempts to link that are out of time go."""
    vault, now = platform.vault, platform.now()
    rotated = vault.keys.current().is_due(now)
    if rotated:
        rotate_key(list(platform.databases), vault, actor="token upkeep", now=now)
    current = vault.keys.current()
    counts = {
        "rotated": int(rotated),
        "rewrapped": 0,
        "unreadable": 0,
        "renewed": 0,
        "forgotten": 0,
    }
    for database in platform.databases:
        done = rewrap_values(database, vault, most=REWRAPPED_A_DAY)
        counts["rewrapped"] += done.values
        counts["unreadable"] += done.unreadable
        counts["renewed"] += _renew(platform, database, now)
        counts["forgotten"] += forget_attempts(database, now=now)
    age = (now - current.created_at).days
    return dg.MaterializeResult(
        metadata={**counts, "key_age_days": age},
        check_results=[
            dg.AssetCheckResult(
                check_name="key_is_young",
                passed=not current.is_due(now) and not counts["unreadable"],
                severity=dg.AssetCheckSeverity.ERROR,
                metadata={"key_age_days": age, "at_most": ROTATE_AFTER.days,
                          "unreadable": counts["unreadable"]},
            )
        ],
    )  # fmt: skip


def _renew(platform: Platform, database: RegionalDatabase, now: datetime) -> bool:
    key = apple_key(platform.settings)
    if key is None:
        return False
    return renew_developer_token(
        database, platform.vault, partial(developer_token, *key, now), now=now
    )


def _began(context: dg.AssetExecutionContext, now: datetime) -> datetime:
    """When this run started to read; now where nobody noted it, so that nobody is told early."""
    record = context.instance.get_run_record_by_id(context.run.run_id)
    if record is None or record.start_time is None:
        return now
    return datetime.fromtimestamp(record.start_time, UTC)


def _shards(platform: Platform, database: RegionalDatabase) -> int:
    return sum(shard.region is database.region for shard in platform.shards.values())
