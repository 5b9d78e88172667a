"""Exports and deletions that people asked for, and what is looked at though nobody asks."""

from typing import Any

import dagster as dg

from seda.privacy.audit import keep_head, trim, verify_chain
from seda.privacy.erasure import Places
from seda.privacy.notices import open_mailer
from seda.privacy.residency import Astray, scan
from seda.privacy.running import run_privacy_jobs
from seda_assets.automation.freshness import NIGHTLY
from seda_assets.resources import Platform


@dg.asset(
    group_name="privacy",
    owners=["team:data"],
    kinds={"python", "postgres"},
    tags={"seda/layer": "privacy"},
    freshness_policy=NIGHTLY,
    code_version="2",
)
def privacy_requests(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """What people have by law: exports made, deletions carried out, people whom a restored backup
    had brought back deleted again, small tables written anew so that no byte of them stays, the
    audit log trimmed. Counts and names of tables only."""
    places = Places(platform.databases, platform.storages)
    mailer = open_mailer(platform.settings, platform.now)
    report = run_privacy_jobs(places, mailer, platform.now)
    trimmed = 0
    for database in platform.databases:
        with database.transaction() as connection:
            trimmed += trim(connection, platform.now())
    waiting = [
        f"{region}: {name}" for region, each in report.rewritten.items() for name in each.waiting
    ]
    return dg.MaterializeResult(
        metadata={
            **{name.replace(" ", "_"): count for name, count in sorted(report.jobs.items())},
            "exports_taken_back": report.expired,
            "restored_people_deleted_again": report.restored,
            "files_to_be_remade": report.to_be_remade,
            "audit_rows_trimmed": trimmed,
            "tables_rewritten": sum(len(each.tables) for each in report.rewritten.values()),
            # Their rows are gone; bytes of them leave with the job `rewrite_tables`.
            "tables_to_be_rewritten": ", ".join(waiting),
        }
    )


@dg.asset(
    deps=["privacy_requests"],
    group_name="privacy",
    owners=["team:data"],
    kinds={"python", "postgres"},
    tags={"seda/layer": "privacy"},
    freshness_policy=NIGHTLY,
    code_version="1",
    check_specs=[
        dg.AssetCheckSpec(
            "audit_chain",
            asset="privacy_promises",
            description="No row of the audit log was changed, taken out or cut off.",
        ),
        dg.AssetCheckSpec(
            "residency",
            asset="privacy_promises",
            description="No row and no matrix of a person is in the region that they do not live "
            "in.",
        ),
    ],
)
def privacy_promises(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """Looked at every day: the chain of the audit log, whose head is then kept in the storage, and
    rows and files that are in the wrong region. `seda audit verify` and `seda privacy
    scan-residency` do the same by hand. Counts only."""
    broken: dict[str, str] = {}
    rows = 0
    for database in platform.databases:
        storage = platform.storages[database.region]
        with database.transaction() as connection:
            if first := verify_chain(connection, storage):
                broken[str(database.region)] = f"row {first.id}: {first.why}"
            keep_head(connection, storage)
            ((count,),) = connection.execute("select count(*) from seda.audit_log")
            rows += count
    astray = scan(platform.databases, platform.storages)
    return dg.MaterializeResult(
        metadata={"audit_rows": rows, "astray": sum(each.count for each in astray)},
        check_results=[
            _verdict("audit_chain", broken),
            _verdict("residency", {"where": _table(astray)} if astray else {}),
        ],
    )


def _verdict(name: str, found: dict[str, Any]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=name, passed=not found, severity=dg.AssetCheckSeverity.ERROR, metadata=found
    )


def _table(astray: list[Astray]) -> dg.MetadataValue:
    lines = ["| region | where | what | count |", "| --- " * 4 + "|"]
    lines += [f"| {e.region} | {e.where} | {e.what} | {e.count} |" for e in astray]
    return dg.MetadataValue.md("\n".join(lines))
