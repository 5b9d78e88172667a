"""Exports and deletions that people asked for, and retention of the log of them."""

import dagster as dg

from seda.privacy.audit import trim
from seda.privacy.erasure import Places
from seda.privacy.notices import open_mailer
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
